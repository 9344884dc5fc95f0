"""The post-renderer: a program of the user's that has the last word on what templates made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from pvehelm.chart.manifest import Resource, check_unique, parse, to_text
from pvehelm.errors import InvalidError, Problem


class PostRenderer(NamedTuple):
    """``run`` takes the manifests as one text and gives them back; ``name`` stands for it in messages."""

    name: str
    run: Callable[[str], str]

    def text(self, manifests: str) -> str:
        """What it makes of a text of manifests. Raises InvalidError for one that is empty now."""
        made = self.run(manifests)
        if manifests.strip() and not made.strip():
            raise InvalidError(
                f"{self.name} printed nothing",
                [Problem(self.name, "manifests went in and none came out")],
                hint="a post-renderer prints all manifests, changed or not",
            )
        return made

    def resources(self, before: Sequence[Resource]) -> tuple[Resource, ...]:
        """What it makes of resources. Those that it left alone keep their places in the templates.

        Raises InvalidError, which names the line of the output, for what is no manifest.
        """
        file = f"output of {self.name}"
        made = parse(self.text(to_text(before)), file=file)
        check_unique(made)
        known = {one.ref: one for one in before}
        return tuple(old if (old := known.get(one.ref)) == one and old is not None else one for one in made)
