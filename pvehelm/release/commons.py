"""What several releases change together, and so one after the other: the cluster's virtual networks, and the interfaces
of a node. Their changes wait on the server until one call makes all of them count, whoever made them.

A server from 9.0 on has a lock for virtual networks, which keeps out who does not know this store; one of 8.4 has none,
and none has one for interfaces.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from pvehelm.errors import LeaseHeldError, NotFoundError
from pvehelm.release.release import ReleaseKey

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Desire

# Seconds to wait for somebody else's plan, which is soon made; what is being applied takes longer than that.
PATIENCE = 30.0
_PAUSE = 0.2


def scopes(ctx: Context, key: ReleaseKey, desire: Desire) -> list[str]:
    """The leases that a release needs for what it has, or shall have, of them."""
    specs = [(one.kind, one.spec.get("node")) for one in desire.resources]
    owned = [(one.kind, one.identifier.get("node")) for one in ctx.store.inventory(key)]
    return sorted({scope for kind, node in (*specs, *owned) for scope in _scopes(ctx, kind, node)})


def _scopes(ctx: Context, kind: str, node: object) -> Iterable[str]:
    try:
        commit = ctx.kinds.get(kind).commit
    except NotFoundError:
        return  # which is said where manifests are checked
    if commit:
        name = f"network/{node}" if "{node}" in commit else "sdn/networks"
        yield ReleaseKey(ctx.cluster, "", name).scope


@asynccontextmanager
async def shared(ctx: Context, key: ReleaseKey, desire: Desire) -> AsyncIterator[ExitStack]:
    """Those leases, which end with the block, or sooner by ``close()``. Raises LeaseHeldError naming who has one for
    longer than ``PATIENCE``."""
    ends = time.monotonic() + PATIENCE
    with ExitStack() as stack:
        for scope in scopes(ctx, key, desire):
            while True:
                try:
                    stack.enter_context(ctx.store.hold(scope, purpose=f"{desire.action} of {key.name}"))
                    break
                except LeaseHeldError:
                    if time.monotonic() >= ends:
                        raise
                await asyncio.sleep(_PAUSE)
        yield stack
