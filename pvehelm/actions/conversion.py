"""Conversion: a chart of Helm's own syntax into one of Jinja2's, with the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.actions.charts import prepare, rendered, shown_values
from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.convert_proof import Proof
    from pvehelm.chart.render import Rendered


@dataclass(frozen=True)
class Converted:
    """``files`` of the new chart by path, what is left to a person, what to look at, a proof for each values file."""

    files: Mapping[str, bytes]
    templates: tuple[str, ...]
    by_hand: tuple[Problem, ...]
    notes: tuple[Problem, ...]
    proofs: tuple[Proof, ...]

    @property
    def proven(self) -> bool:
        return not self.by_hand and all(proof.same for proof in self.proofs)

    def as_dict(self) -> dict[str, Any]:
        def shown(found: tuple[Problem, ...]) -> list[dict[str, str]]:
            return [{"where": one.where, "what": one.what, "hint": one.hint} for one in found]

        return {
            "templates": list(self.templates),
            "byHand": shown(self.by_hand),
            "notes": shown(self.notes),
            "proofs": [proof.as_dict() for proof in self.proofs],
            "proven": self.proven,
        }


@action("local")
def convert(
    chart: Chart, files: Mapping[str, bytes], *, release: str = "release-name", pve_version: str = ""
) -> Converted:
    """Rewrite a chart of Helm's own template syntax in Jinja2, and compare what both render.

    ``files`` are all of the chart's folder; both are rendered with values.yaml alone and with each file under ``ci/``.
    Raises InvalidError for a chart that is not in Helm's syntax, or whose templates cannot be read.
    """
    from pvehelm.chart.chart import from_files
    from pvehelm.chart.convert import convert as rewritten

    sets = _value_files(files)
    seen = [one for path in sets if (one := _seen(chart, files, path)) is not None]
    made = rewritten(chart, files, seen)
    new = from_files(made.files, name=chart.path)
    proofs = tuple(_proof(chart, files, new, made.files, path, release, pve_version) for path in sets)
    return Converted(made.files, made.templates, made.by_hand, made.notes, proofs)


def _value_files(files: Mapping[str, bytes]) -> list[str]:
    """``values.yaml`` and the files under ci/."""
    found = [path for path in sorted(files) if path.startswith("ci/") and path.endswith((".yaml", ".yml"))]
    return ["values.yaml", *found]


def _flags(files: Mapping[str, bytes], path: str) -> list[Any]:
    from pvehelm.chart.values import ValueFlag

    if path == "values.yaml":
        return []
    return [ValueFlag("file", path, files[path].decode("utf-8-sig", "replace"))]


def _seen(chart: Chart, files: Mapping[str, bytes], path: str) -> Mapping[str, Any] | None:
    try:
        return prepare(_jinja2(chart), _flags(files, path), skip_schema=True).values
    except InvalidError:
        return None  # The proof will say so.


def _jinja2(chart: Chart) -> Chart:
    """The chart as its values will be read once it is converted: with its nulls."""
    below = tuple(_jinja2(sub) for sub in chart.dependencies)
    return chart._replace(metadata=chart.metadata._replace(engine="jinja2"), dependencies=below)


def _proof(
    old: Chart,
    old_files: Mapping[str, bytes],
    new: Chart,
    new_files: Mapping[str, bytes],
    path: str,
    release: str,
    pve_version: str,
) -> Proof:
    from pvehelm.chart.convert_proof import compare, failed

    keep = _Kept()
    before = _attempted(old, _flags(old_files, path), release, pve_version, keep)
    after = _attempted(new, _flags(new_files, path), release, pve_version, keep)
    if isinstance(before, InvalidError) or isinstance(after, InvalidError):
        errors = [one if isinstance(one, InvalidError) else None for one in (before, after)]
        return failed(path, *errors)
    return compare(path, before.files, after.files, (before.notes, after.notes))


class _Kept:
    """Answers for random values: what the first of two renderings has made (keys, certificates) the second is given."""

    def __init__(self) -> None:
        from pvehelm.release.generated import Placeholders

        self.ask = Placeholders()
        self.made: dict[str, Any] = {}

    def __call__(self, question: Any) -> Any:
        if question[0] == "keep":
            self.made[question[2]] = question[3]
        if question[0] == "once" and question[2] in self.made:
            return {"value": self.made[question[2]]}
        return self.ask(question)


def _attempted(chart: Chart, flags: list[Any], release: str, pve_version: str, keep: _Kept) -> Rendered | InvalidError:
    try:
        return _rendered(chart, flags, release, pve_version, keep)
    except InvalidError as error:
        return error


def _rendered(chart: Chart, flags: list[Any], release: str, pve_version: str, keep: _Kept) -> Rendered:
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.chart.render import ReleaseInfo

    schema = Schema.load(pve_version)
    prepared = shown_values(prepare(chart, flags))
    if chart.metadata.type == "library":
        # Nobody installs one, but what it holds can be rendered.
        chart = chart._replace(metadata=chart.metadata._replace(type="application"))
        prepared = prepared._replace(chart=chart)
    # Release.Service is the one thing that differs on purpose.
    info = ReleaseInfo(release, "default", service="Helm")
    kinds = Kinds.load(schema).names()
    return rendered(prepared, info, pve_version or schema.release, kinds, keep=keep, foreign=True)
