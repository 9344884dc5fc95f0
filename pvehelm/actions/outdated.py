"""Outdated: releases for whose chart there is a newer version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, RefusedError

if TYPE_CHECKING:
    from pvehelm.chart.origin import Origin
    from pvehelm.release.context import Context
    from pvehelm.release.release import Release


class Standing(NamedTuple):
    """How a release's chart stands: ``wanted`` and ``newest`` are versions or "", ``note`` why nothing is known."""

    release: Release
    wanted: str
    newest: str
    note: str

    @property
    def outdated(self) -> bool:
        from pvehelm.chart.origin import newer

        return newer(self.newest, self.release.current.chart_version)


@action("read")
def outdated(ctx: Context, *, all_namespaces: bool = False, refresh: bool = True) -> list[Standing]:
    """Compare releases with the repositories their charts came from; without ``refresh`` with what is cached."""
    from pvehelm.actions.looking import list_

    return standings(list_(ctx, all_namespaces=all_namespaces, limit=0), refresh=refresh)


def standings(releases: Sequence[Release], *, refresh: bool) -> list[Standing]:
    """How the charts of some releases stand; each origin is asked once."""
    from pvehelm.chart.origin import Offer, Origin, offered

    known: dict[str, Offer] = {}
    found = []
    for release in releases:
        text = release.current.chart_origin
        if not release.current.chart_name:
            continue
        if text not in known:
            known[text] = offered(Origin.parse(text), refresh=refresh) if text else Offer(note="nothing is recorded")
        found.append(Standing(release, *known[text]))
    return found


def no_set(release: Release) -> None:
    """Raise RefusedError for a set of manifests, where a chart's release is wanted."""
    if not release.current.chart_name:
        name = release.key.name
        raise RefusedError(
            f"{name!r} is a set of manifests, not a chart's release",
            hint=f"pvehelm apply -f FILE --set-name {name} changes it; install the chart under another name",
        )


def recorded_origin(ctx: Context, name: str) -> Origin:
    """Where the chart of a release's last revision came from. Raises NotFoundError where that is not recorded,
    RefusedError for a set."""
    from pvehelm.chart.origin import Origin

    release = ctx.store.get(ctx.key(name))
    no_set(release)
    if not release.current.chart_origin:
        raise NotFoundError(
            f"release {name} does not say where its chart came from", hint=f"pvehelm upgrade {name} CHART"
        )
    return Origin.parse(release.current.chart_origin)
