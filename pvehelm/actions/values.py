"""Values: what a chart will see, who says so, what nobody uses, and the schema that they imply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.layers import Said
    from pvehelm.chart.values import ValueFlag
    from pvehelm.release.context import Context


@action("local")
def values(chart: Chart, flags: Sequence[ValueFlag] = (), *, skip_schema: bool = False) -> Mapping[str, Any]:
    """Compute the values a chart would see, with what is sensitive hidden."""
    from pvehelm.actions.charts import prepare
    from pvehelm.chart.schema import redact_all

    prepared = prepare(chart, flags, skip_schema=skip_schema)
    shown: Mapping[str, Any] = redact_all(prepared.chart, prepared.values)
    return shown


@action("local")
def explain_values(chart: Chart, path: str, flags: Sequence[ValueFlag] = ()) -> list[Said]:
    """Say which file, line or flag sets a value: all layers of one value, or the last word on each below a map."""
    from pvehelm.chart.layers import explain

    return explain(chart, path, flags)


@action("read")
def explain_recorded(ctx: Context, name: str, path: str, revision: int = 0) -> list[Said]:
    """Say which revision a release's value was given in, or that it is the chart's."""
    from pvehelm.actions.looking import revision_of
    from pvehelm.chart.expression import steps_of
    from pvehelm.chart.layers import Said, leaves
    from pvehelm.chart.plain import at
    from pvehelm.chart.yaml import dotted

    key = ctx.key(name)
    shown = revision_of(ctx, key, revision)
    steps = steps_of(path)
    given = {r.number: ctx.store.revision(key, r.number).user_values for r in ctx.store.revisions(key)}
    found = []
    for leaf in leaves(shown.values, steps):
        value = at(shown.values, leaf)
        source = f"chart {shown.chart_name} {shown.chart_version}"
        if at(shown.user_values, leaf) is not None:
            number = shown.number
            while number - 1 in given and at(given[number - 1], leaf) == at(shown.user_values, leaf):
                number -= 1
            source = f"given with revision {number}"
        elif value is None:
            continue
        found.append(Said(dotted(leaf), value, source, True))
    if not found:
        raise NotFoundError(f"release {name} has no value {path}", hint=f"pvehelm get values {name} -a shows them all")
    return found


@action("local")
def unused_values(
    chart: Chart, flags: Sequence[ValueFlag] = (), *, defaults: bool = False, pve_version: str = ""
) -> list[Problem]:
    """Find values that no template used: the user's, with ``defaults`` the chart's own as well."""
    from pvehelm.actions.charts import prepare, rendered, shown_values
    from pvehelm.api.releases import best_release, kind_names
    from pvehelm.chart.layers import layers, placed
    from pvehelm.chart.render import ReleaseInfo
    from pvehelm.chart.usage import unused
    from pvehelm.chart.values import overlay
    from pvehelm.release.generated import Placeholders

    prepared = prepare(chart, flags, skip_schema=True)
    info = ReleaseInfo("release-name", "default")
    release = best_release(pve_version)
    kinds = kind_names(release)
    made = rendered(
        shown_values(prepared), info, pve_version or release, kinds, keep=Placeholders(keys=False), watch=True
    )
    looked_at = overlay(chart.values, prepared.user) if defaults else prepared.user
    return unused(prepared.chart, looked_at, made.used or ((), ()), placed(layers(chart, flags)))


@action("local")
def schema_values(chart: Chart) -> tuple[str, list[Problem]]:
    """Infer values.schema.json from a commented values.yaml: its text, and what in it no value stands for."""
    from pvehelm.chart.inference import infer

    return infer(chart)
