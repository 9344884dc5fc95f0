"""A chart's life on a simulator: installed, upgraded, rolled back, removed, and looked at after each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from pvehelm.errors import PvehelmError

if TYPE_CHECKING:
    from pvehelm.actions.suites import Previous
    from pvehelm.chart.asserts import Assertion
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.suites import Case, Life
    from pvehelm.chart.values import ValueFlag
    from pvehelm.chart.views import Shown
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options


class Cluster(Protocol):
    """A simulator of one's own: a Context to work with, and everything that is configured, as data."""

    context: Context

    def world(self) -> Mapping[str, Any]: ...


#: Opens a fresh one of a Proxmox VE version ('' is the newest).
Stage = Callable[[str], AbstractContextManager[Cluster]]
_SHOWN = 12


class Skipped(Exception):
    """There is nothing to live through; the message says why."""


class Wrong(Exception):
    """What a step came to is not what it must."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__(messages[0])
        self.messages = list(messages)


async def live(
    chart: Chart,
    case: Case,
    stage: Stage,
    previous: Previous | None,
    snapshot: Callable[[int, str], str],
    pve_version: str = "",
) -> list[str]:
    """Live through a case on a fresh simulator; what went wrong, by the step it went wrong in.

    After every step the second plan must be empty. A rollback must bring back exactly what was there, and nothing of
    the release may be left when it is removed. Raises Skipped.
    """
    life = case.life
    assert life is not None
    old = None
    if life.origin:
        old = previous(life.origin) if previous is not None else None
        if old is None:
            raise Skipped(f"there is no {chart.name} at {life.origin}")
    with stage(str(case.capabilities.get("pveVersion", pve_version))) as cluster:
        one = _Life(chart, case, life, cluster, snapshot)
        try:
            await one.go(old)
        except Wrong as wrong:
            return [f"{one.step}: {message}" for message in wrong.messages]
        except PvehelmError as error:
            from pvehelm.chart.views import explained

            return [f"{one.step}: {error.message}", *(explained(error) if error.problems else ())]
        finally:
            await cluster.context.aclose()
    return []


class _Life:
    def __init__(
        self, chart: Chart, case: Case, life: Life, cluster: Cluster, snapshot: Callable[[int, str], str]
    ) -> None:
        self.chart = chart
        self.case = case
        self.life = life
        self.cluster = cluster
        self.ctx = cluster.context
        self.snapshot = snapshot
        self.name = str(case.release.get("name", "release-name"))
        self.ctx.namespace = str(case.release.get("namespace", self.ctx.namespace))
        self.step = "before"

    async def go(self, old: Chart | None) -> None:
        await self._before()
        empty = self.cluster.world()
        first = old or self.chart
        self.step = f"install {first.version}" if old else "install"
        await self._change("install", first, self.case.values)
        if old is None:
            await self._settled(first, self.case.asserts)
        start, owned = self.cluster.world(), self._owned()
        if old is not None:
            self.step = f"upgrade from {old.version}"
            await self._change("upgrade", self.chart, ())
            await self._settled(self.chart, self.case.asserts)
        for index, upgrade in enumerate(self.life.upgrades):
            self.step = f"upgrade {index + 1}"
            await self._change("upgrade", self.chart, upgrade.values)
            await self._settled(self.chart, upgrade.asserts)
        if self.life.rollback and (old is not None or self.life.upgrades):
            await self._back(start, owned)
        if self.life.uninstall:
            await self._remove(empty)

    # -- steps -------------------------------------------------------------------------------------------------

    async def _before(self) -> None:
        """What has to be there first, as a set of its own."""
        if not self.life.before:
            return
        from pvehelm.actions.manifests import File, apply, read
        from pvehelm.chart.yaml import dump

        text = "---\n".join(dump(dict(one)) for one in self.life.before)
        options = self._options(privileged=frozenset({"all"}))
        await apply(self.ctx, "before", read([File(self.case.where, text)]), options)

    async def _change(self, verb: str, chart: Chart, flags: Sequence[ValueFlag]) -> None:
        from pvehelm.actions import releases

        act = releases.install if verb == "install" else releases.upgrade
        await act(self.ctx, self._request(chart, flags), self._options(create_namespace=True))

    async def _settled(self, chart: Chart, asserts: Sequence[Assertion]) -> None:
        """The server is as the release says, the same again changes nothing, the release's tests pass."""
        from pvehelm.actions import releases

        await self._same("the second plan is not empty")
        again = await releases.upgrade(self.ctx, self._request(chart, ()), self._options())
        if again.changed:
            raise Wrong(["the same upgrade again writes a revision", *_rows(again.plan)])
        if self.life.tests:
            from pvehelm.actions import tests

            tested = await tests.run(self.ctx, self.name, self._options())
            failed = [report for report in tested.reports if report["phase"] == "Failed"]
            if failed:
                raise Wrong([f"test {report['name']} failed: {report['error']}" for report in failed])
        if asserts:
            await self._assert(asserts)

    async def _assert(self, asserts: Sequence[Assertion]) -> None:
        from pvehelm.chart.views import View

        shown = await self._documents()
        release = self.ctx.store.get(self.ctx.key(self.name))
        revision = self.ctx.store.revision(release.key, release.current.number)
        view = View(shown, {"templates/NOTES.txt": revision.notes}, snapshot=self.snapshot)
        messages = [
            f"{assertion.rule.name}: {message}" for assertion in asserts for message in assertion.failures(view)
        ]
        if messages:
            raise Wrong(messages)

    async def _documents(self) -> tuple[Shown, ...]:
        """The release's objects as they are on the server: manifests, with where they are and how as ``status``."""
        from pvehelm.api.raising import manifest
        from pvehelm.chart.views import Shown
        from pvehelm.release.live import Reader

        reader = Reader(await self.ctx.connect())
        found: list[Shown] = []
        for ref, owned in sorted(self.ctx.store.inventory(self.ctx.key(self.name)).entries.items()):
            kind = self.ctx.kinds.get(owned.kind)
            there = await kind.read(owned.identifier, reader)
            if there is None:
                raise Wrong([f"{ref} is not on the server"])
            data = manifest(kind, there, owned.name, owned.namespace or "default")
            labels = owned.metadata.get("labels")
            data["metadata"] |= {"labels": dict(labels)} if labels else {}
            how = {"status": there.extra["status"]} if there.extra.get("status") else {}
            found.append(Shown("", len(found), {**data, "status": {**owned.identifier, **how}}))
        return tuple(found)

    async def _back(self, start: Mapping[str, Any], owned: Mapping[str, Any]) -> None:
        from pvehelm.actions import releases

        self.step = "rollback"
        await releases.rollback(self.ctx, self.name, 1, self._options(destroy=self._all()))
        await self._same("the plan after it is not empty")
        _alike(start, self.cluster.world(), "the cluster is not what it was")
        _alike(owned, self._owned(), "the release does not own what it owned")

    async def _remove(self, empty: Mapping[str, Any]) -> None:
        from pvehelm.actions import releases

        self.step = "uninstall"
        entries = self.ctx.store.inventory(self.ctx.key(self.name)).entries
        kept = any(owned.metadata.get("lifecycle") == "keep" for owned in entries.values())
        await releases.uninstall(self.ctx, self.name, self._options(destroy=self._all()))
        if not kept:
            _alike(empty, self.cluster.world(), "something is left of it")

    # -- looking -----------------------------------------------------------------------------------------------

    async def _same(self, what: str) -> None:
        from pvehelm.actions import releases

        plan = (await releases.diff_live(self.ctx, self.name, self._options())).plan
        if not plan.empty:
            raise Wrong([what, *_rows(plan)])

    def _owned(self) -> dict[str, Any]:
        entries = self.ctx.store.inventory(self.ctx.key(self.name)).entries
        return {ref: dict(owned.fields) for ref, owned in entries.items()}

    def _all(self) -> frozenset[str]:
        """Protected or not: it is only a simulator, and what is asked is whether it can be done."""
        return frozenset(self.ctx.store.inventory(self.ctx.key(self.name)).entries)

    def _request(self, chart: Chart, flags: Sequence[ValueFlag]) -> Any:
        from pvehelm.actions.releases import Request

        return Request(self.name, chart, flags)

    def _options(
        self, *, destroy: frozenset[str] = frozenset(), privileged: frozenset[str] | None = None, **more: Any
    ) -> Options:
        from pvehelm.release.desire import Options
        from pvehelm.release.plan import Allowed

        allowed = Allowed(
            destroy=destroy | frozenset(self.life.allow_destroy),
            privileged=frozenset(self.life.allow_privileged) if privileged is None else privileged,
        )
        return replace(Options(allowed=allowed), **more)


def _rows(plan: Any) -> list[str]:
    """What a plan would change, in a few lines."""
    rows = []
    for change in plan.changes:
        if change.acts:
            fields = ", ".join(f"{row.leaf}: {row.before!r} -> {row.after!r}" for row in change.fields[:4])
            rows.append(f"  {change.op} {change.ref}" + (f" ({fields})" if fields else ""))
    return rows[:_SHOWN]


def _alike(before: Mapping[str, Any], after: Mapping[str, Any], what: str) -> None:
    """Raises Wrong with what differs."""
    rows = []
    for place in sorted(before.keys() | after.keys()):
        one, two = before.get(place), after.get(place)
        if one == two:
            continue
        if isinstance(one, Mapping) and isinstance(two, Mapping):
            keys = [key for key in sorted(one.keys() | two.keys()) if one.get(key) != two.get(key)]
            rows += [f"  ~ {place} {key}: {one.get(key)!r} -> {two.get(key)!r}" for key in keys]
        else:
            rows.append(f"  - {place}" if two is None else f"  + {place}")
    if rows:
        raise Wrong([what, *rows[:_SHOWN]])
