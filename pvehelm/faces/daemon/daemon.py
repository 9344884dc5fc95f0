"""The daemon: what is due is looked at, several releases at a time, until it is told to stop.

What is due is written in the release store, so a restarted daemon goes on where the last one was, and several that
share a PostgreSQL store agree (``queue``). Whatever two of them should begin at once, the release's lease lets one do.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pvehelm import __version__
from pvehelm.actions.reconcile import GOOD, News, Outcome, Pace, reconcile, remember
from pvehelm.errors import NotFoundError, PvehelmError
from pvehelm.faces.daemon.metrics import Metrics
from pvehelm.faces.daemon.server import Server, health, metrics
from pvehelm.faces.daemon.settings import Settings, Webhook, address
from pvehelm.faces.daemon.webhooks import Webhooks
from pvehelm.release.policy import Memory, Policy
from pvehelm.release.release import ReleaseKey, Status

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.live import Reader
    from pvehelm.release.sync import Sync

# Seconds between looks at what is due, and without one of which something is wrong.
TICK, STUCK = 1.0, 60.0
Log = Callable[[str, Mapping[str, Any]], None]


class Daemon:
    """The reconciler of one context. ``only`` limits it to a namespace; ``log`` gets a line with its facts for whatever
    happens that is worth one."""

    def __init__(
        self,
        ctx: Context,
        settings: Settings,
        syncs: Sequence[Sync] = (),
        *,
        only: str = "",
        log: Log = lambda text, facts: None,
        resolve: Callable[[str], str] = lambda text: text,
        tick: float = TICK,
    ) -> None:
        self.ctx = ctx
        self.settings = settings
        self.syncs = {ReleaseKey(ctx.cluster, one.namespace, one.release): one for one in syncs}
        self.only = only
        self.log = log
        self.tick = tick
        self.memory = Memory(ctx.store)
        self.metrics = Metrics()
        self.metrics.set("pvehelm_build_info", 1, version=__version__)
        self.webhooks = Webhooks(settings.webhooks, resolve, ctx.clock, self._told)
        self.stopping = asyncio.Event()
        ctx.stop = self.stopping
        self.looked = time.monotonic()
        self.trouble: dict[str, str] = {}
        self.port = 0
        self._running: dict[ReleaseKey, asyncio.Task[list[Outcome]]] = {}
        # How many releases are being looked at.
        self._busy = 0

    # -- what is due -------------------------------------------------------------------------------------------

    def due(self, *, everything: bool = False) -> list[tuple[float, ReleaseKey]]:
        """When each release is to be looked at (unix seconds), earliest first; those whose time has come, or all."""
        self.ctx.store.stay()
        now, found = self.ctx.clock(), dict.fromkeys(self.syncs, 0.0)
        found = {key: self.memory.synced(key).due for key in found}
        states = self.memory.states()
        for release in self.ctx.store.list(self.ctx.cluster, self.only or None):
            if release.current.status is not Status.uninstalled:
                state = states.get(release.uid)
                found[release.key] = min(found.get(release.key, float("inf")), state.due if state else 0.0)
        self.metrics.set("pvehelm_releases", len(found))
        return sorted((at, key) for key, at in found.items() if everything or at <= now)

    def is_due(self, key: ReleaseKey) -> bool:
        """Whether a release's time has come, by what the store says now."""
        uid = self.ctx.store.uid(key)
        times = [self.memory.state(uid).due] if uid else []
        times += [self.memory.synced(key).due] if not uid or self.memory.synced(key).checked else []
        return min(times, default=0.0) <= self.ctx.clock()

    def policy(self, key: ReleaseKey, uid: str) -> Policy:
        """What counts for a release: what was set for it, over its sync's or the default."""
        sync = self.syncs.get(key)
        return (sync.policy if sync else self.settings.policy).changed(**self.memory.policy(uid))

    # -- one release -------------------------------------------------------------------------------------------

    async def work(self, key: ReleaseKey, reader: Reader | None = None) -> list[Outcome]:
        """Look at a release, and at its sync's repository first; write down and tell what came of it."""
        begun = time.monotonic()
        outcomes: list[Outcome] = []
        sync = self.syncs.get(key)
        self._busy += 1
        try:
            if sync is not None:
                outcomes.append(await self._synced(key, sync))
            if not outcomes or outcomes[0].result not in ("interrupted", "held"):
                with suppress(NotFoundError):  # uninstalled meanwhile
                    outcomes += await self._looked(
                        key, reader if not outcomes or outcomes[0].result == "in-sync" else None
                    )
        except PvehelmError as error:
            # The store itself: nothing can be written down.
            self.trouble["store"] = str(error)
            self.log(f"{key}: {error}", {"result": "failed"})
            await asyncio.sleep(min(self.tick, 1.0))
        else:
            self.trouble.pop("store", None)
        finally:
            self.metrics.add("pvehelm_reconcile_seconds_total", time.monotonic() - begun)
            self._busy -= 1
            if not self._busy:
                _dismiss()
        return outcomes

    async def _synced(self, key: ReleaseKey, sync: Sync) -> Outcome:
        from pvehelm.actions.syncing import sync as follow

        policy = self.policy(key, self.ctx.store.uid(key))
        sync = replace(sync, policy=policy)
        outcome, state = await _guarded(key, follow(self.ctx, sync, self.memory.synced(key)), self.memory.synced(key))
        state, news = remember(self.ctx, state, outcome, policy, self._pace())
        self.memory.set_synced(key, state)
        labels = {"namespace": key.namespace, "sync": sync.name}
        self.metrics.set("pvehelm_sync_bad", float(outcome.broken), **labels)
        # What the look at the release says is enough where the commit is no news.
        self._tell(outcome, news, quiet=outcome.result == "in-sync")
        return outcome

    async def _looked(self, key: ReleaseKey, reader: Reader | None) -> list[Outcome]:
        release = self.ctx.store.find(key, bodies=False)
        if release is None or release.current.status is Status.uninstalled:
            return []
        policy = self.policy(key, release.uid)
        outcome, _ = await _guarded(key, _paired(reconcile(self.ctx, key, policy, reader)), None)
        before = self.memory.state(release.uid)
        state, news = remember(self.ctx, before, outcome, policy, self._pace())
        self.memory.set_state(release.uid, state)
        self._tell(outcome, news, quiet=outcome.result == "in-sync" and before.result in GOOD)
        return [outcome]

    def _pace(self) -> Pace:
        jitter = self.settings.jitter
        return Pace(self.settings.longest, lambda: 1.0 + random.uniform(-jitter, jitter))

    def _tell(self, outcome: Outcome, news: Sequence[News], *, quiet: bool = False) -> None:
        self.metrics.add("pvehelm_reconcile_total", result=outcome.result)
        for one in news:
            self.webhooks.tell(one.event, {"context": self.ctx.name, "cluster": self.ctx.cluster, **outcome.as_dict()})
        if not quiet:
            text = f"{outcome.key}: {outcome.result}"
            text += f", revision {outcome.revision}" if outcome.result in ("repaired", "synced") else ""
            self.log(text + (f" ({outcome.message})" if outcome.message else ""), outcome.as_dict())

    def _told(self, hook: Webhook, event: str, why: str) -> None:
        self.metrics.add("pvehelm_webhooks_total", event=event, outcome="failed" if why else "delivered")
        if why:
            self.log(f"webhook {event}: not delivered ({why})", {"result": "webhook-failed"})

    # -- all of them -------------------------------------------------------------------------------------------

    async def once(self) -> list[Outcome]:
        """Look at every release once, due or not."""
        from pvehelm.release.live import Reader

        reader = Reader(await self.ctx.connect())
        slots = asyncio.Semaphore(self.settings.concurrency)

        async def one(key: ReleaseKey) -> list[Outcome]:
            async with slots:
                return [] if self.stopping.is_set() else await self.work(key, reader)

        keys = [key for _, key in self.due(everything=True)]
        try:
            found = await asyncio.gather(*(one(key) for key in sorted(keys)))
        finally:
            await self.webhooks.close()
        return [outcome for outcomes in found for outcome in outcomes]

    async def serve(self) -> Server | None:
        """Begin to answer ``/healthz`` and ``/metrics``, where an address is set."""
        place = address(self.settings.listen)
        if place is None:
            return None
        server = Server({"/healthz": self.health, "/metrics": self._metrics})
        self.port = await server.start(*place)
        return server

    async def run(self) -> None:
        """Until ``stop``: what is due. What is under way then is finished, or stopped where it can be taken up."""
        try:
            while not self.stopping.is_set():
                self._begin()
                waiting = [asyncio.ensure_future(self.stopping.wait()), *self._running.values()]
                await asyncio.wait(waiting, timeout=self.tick, return_when=asyncio.FIRST_COMPLETED)
                waiting[0].cancel()
                self._running = {key: task for key, task in self._running.items() if not task.done()}
        finally:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            await self.webhooks.close()

    def _begin(self) -> None:
        from pvehelm.release.live import Reader

        free = self.settings.concurrency - len(self._running)
        chosen = [key for key in self.look() if key not in self._running][: max(free, 0)]
        client = self.ctx._client
        # What those that begin together have in common is read once.
        reader = Reader(client) if client is not None and len(chosen) > 1 else None
        for key in chosen:
            self._running[key] = asyncio.get_running_loop().create_task(self.work(key, reader))

    def look(self) -> list[ReleaseKey]:
        """Whose time has come; nothing while the store cannot be read."""
        self.looked = time.monotonic()
        self.metrics.set("pvehelm_loop_timestamp_seconds", self.ctx.clock())
        try:
            found = [key for _, key in self.due()]
        except PvehelmError as error:
            if "store" not in self.trouble:
                self.log(str(error), {"result": "failed"})
            self.trouble["store"] = str(error)
            return []
        self.trouble.pop("store", None)
        return found

    def stop(self) -> None:
        """Begin nothing more. What runs starts no further step, waits for its tasks, and is written down."""
        self.stopping.set()

    # -- the pages ---------------------------------------------------------------------------------------------

    def health(self) -> tuple[int, str, str]:
        quiet = time.monotonic() - self.looked
        problems = dict(self.trouble)
        if quiet > max(STUCK, 5 * self.tick):
            problems["loop"] = f"nothing was looked at for {quiet:.0f} s"
        return health(problems, {"version": __version__, "releases": self._count(), "running": len(self._running)})

    def _count(self) -> int:
        return int(next(iter(self.metrics._values["pvehelm_releases"].values()), 0))

    def _metrics(self) -> tuple[int, str, str]:
        with suppress(PvehelmError):
            self._measure()
        return metrics(self.metrics.text())

    def _measure(self) -> None:
        """What the store knows of the releases, whichever worker looked at them."""
        states = self.memory.states()
        releases = [r for r in self.ctx.store.list(self.ctx.cluster, self.only or None) if r.uid in states]
        rows = [({"namespace": r.key.namespace, "release": r.key.name}, states[r.uid]) for r in releases]
        gauges = {
            "drifted": [(labels, float(state.differences > 0)) for labels, state in rows],
            "differences": [(labels, float(state.differences)) for labels, state in rows],
            "failures": [(labels, float(state.failures)) for labels, state in rows],
            "checked_timestamp_seconds": [(labels, state.checked) for labels, state in rows],
        }
        for name, found in gauges.items():
            self.metrics.replace(f"pvehelm_release_{name}", found)
        commits = [
            ({"namespace": key.namespace, "sync": sync.name, "commit": state.commit}, 1.0)
            for key, sync in self.syncs.items()
            if (state := self.memory.synced(key)).commit
        ]
        self.metrics.replace("pvehelm_sync_commit_info", commits)


def _dismiss() -> None:
    """End the children that have rendered charts and wait for more: the next round may be hours away."""
    sandbox = sys.modules.get("pvehelm.chart.sandbox")
    if sandbox is not None:
        sandbox.dismiss()


async def _paired(work: Any) -> tuple[Outcome, None]:
    return await work, None


async def _guarded(key: ReleaseKey, work: Any, state: Any) -> tuple[Outcome, Any]:
    """A defect of ours must not end the daemon: it is one release's failure."""
    try:
        found: tuple[Outcome, Any] = await work
        return found
    except PvehelmError:
        raise
    except Exception as error:
        what = f"an unexpected {type(error).__name__}: {error}; this is a defect of pvehelm"
        return Outcome(key, "failed", what), state
