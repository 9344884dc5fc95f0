"""A template that stands alone, of the user's own and not of a chart: ``--name-template``, ``-o go-template=``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pvehelm.chart.gotpl import runtime
from pvehelm.chart.gotpl.templates import Templates
from pvehelm.chart.gotpl.trouble import Trouble
from pvehelm.errors import Problem, UsageError


def printer(source: str, name: str) -> Callable[[Any], str]:
    """What prints data by a template. Raises UsageError that begins with ``name``, and so does what is returned."""
    templates = Templates({name: source})
    trouble = Trouble(templates, [])
    for error in templates.errors.values():
        trouble.parse_error(error)
    if trouble.problems:
        raise UsageError(f"{name}: that is no template", trouble.problems)
    code = templates.main(name)

    def printed(data: Any) -> str:
        pieces: list[str] = []
        run = runtime.Run(templates.prepare, templates.read_text, lambda question: None)
        try:
            with runtime.deep():
                code(run, data, pieces)
        except (Exception, RecursionError) as error:
            trouble.explain(error, name)
            problems = trouble.problems or [Problem(name, str(error))]
            raise UsageError(f"{name}: the template failed", problems) from None
        return "".join(map(str, pieces))

    return printed


def printed(source: str, name: str) -> str:
    """What the template prints, without any data. Raises UsageError that begins with ``name``."""
    return printer(source, name)(None).replace("<no value>", "")
