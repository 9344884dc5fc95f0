"""What several releases change together, and so one after the other: the cluster's virtual networks, and the interfaces
of a node. Their changes wait on the server until one call makes all of them count, whoever made them.

A server from 9.0 on has a lock for virtual networks, which keeps out who does not know this store; one of 8.4 has none,
and none has one for interfaces. So each call is checked against the number of its lease, as it is against that of the
release: who slept while somebody else took over changes nothing any more.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pvehelm.api.scopes import fill
from pvehelm.errors import FencedError, LeaseHeldError, NotFoundError
from pvehelm.release.commits import KIND as COMMIT
from pvehelm.release.commits import due
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Desire
    from pvehelm.release.lease import Lease

# Seconds to wait for somebody else's plan, which is soon made; what is being applied takes longer than that.
PATIENCE = 30.0
_PAUSE = 0.2


@dataclass
class Commons:
    """What a run has for itself of them: leases by the path that all calls to them are under (``/cluster/sdn``)."""

    stack: ExitStack
    leases: dict[str, Lease] = field(default_factory=dict)

    def check(self, path: str) -> None:
        """Raise FencedError where a call to ``path`` changes what somebody else works on by now."""
        for under, lease in self.leases.items():
            if path == under or path.startswith(f"{under}/"):
                lease.check()

    @property
    def lost(self) -> bool:
        """Whether somebody else has one of them by now."""
        try:
            for lease in self.leases.values():
                lease.check()
        except FencedError:
            return True
        return False

    def close(self) -> None:
        """Give them all back."""
        self.leases.clear()
        self.stack.close()


def scopes(ctx: Context, key: ReleaseKey, desire: Desire) -> dict[str, str]:
    """The leases that a release needs, by path: for what it has of them, shall have, or has begun to change."""
    specs = [(one.kind, one.spec) for one in desire.resources]
    specs += [(one.kind, one.identifier) for one in ctx.store.inventory(key)]
    found: set[str] = set()
    for entry in ctx.store.open_entries(key):
        specs.append((str(entry.intent.get("kind", "")), entry.intent.get("key", {})))
        found |= {str(entry.intent["path"]).removesuffix("/lock")} if entry.ref.startswith(f"{COMMIT}/") else set()
    if due(ctx, key):
        specs.append(("Zone", {}))
    for kind, where in specs:
        try:
            commit = ctx.kinds.get(kind).commit
        except NotFoundError:
            continue  # which is said where manifests are checked
        if commit and ("{node}" not in commit or where.get("node")):
            found.add(fill(commit.partition(" ")[2], where))
    return {path: ReleaseKey(ctx.cluster, "", _name(path)).scope for path in sorted(found)}


def _name(path: str) -> str:
    node = re.fullmatch(r"/nodes/([^/]+)/network", path)
    return f"network/{node[1]}" if node else "sdn/networks"


@asynccontextmanager
async def shared(ctx: Context, key: ReleaseKey, desire: Desire) -> AsyncIterator[Commons]:
    """Those leases, which end with the block, or sooner by ``close()``. Raises LeaseHeldError naming who has one for
    longer than ``PATIENCE``."""
    ends = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        common = Commons(stack)
        for path, scope in scopes(ctx, key, desire).items():
            while True:
                try:
                    held = ctx.store.hold(scope, purpose=f"{desire.action} of {key.name}")
                    common.leases[path] = stack.enter_context(held)
                    break
                except LeaseHeldError:
                    if time.monotonic() >= ends:
                        raise
                await asyncio.sleep(_PAUSE)
        yield common
