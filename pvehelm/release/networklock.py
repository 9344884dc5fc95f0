"""The network lock: the server's own, around the virtual networks of a cluster, whose token is told once.

Nobody is told whose it is. So it is known to be free, and what the networks are, before it is asked for; where the
answer was lost, it counts as ours if nobody has changed anything since and nobody gives it back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.api.exchange import maybe_executed
from pvehelm.errors import ApiError, TransportError

if TYPE_CHECKING:
    from pvehelm.api.client import Client

HELD = (
    "somebody else has the lock of the virtual networks: try again once they are done; "
    "`pvehelm api delete /cluster/sdn/lock force=1` takes it from whoever forgot it"
)
# Seconds between looks whether a lock that may be somebody's is given back.
_LOOKS = (1.0, 2.0, 4.0, 8.0)
# What a server says of a lock whose token it was not given: somebody has it.
_LOCKED = re.compile(r"invalid lock token", re.IGNORECASE)
# A token that is nobody's: to give a lock back with it does nothing, and is refused only while there is a lock.
_NOBODY = "pvehelm-asks"
_LISTS = ("zones", "vnets", "controllers")


def is_locked(error: ApiError) -> bool:
    """Whether a lock was not given because somebody has it; of anything else a 500 tells as well."""
    return error.status == 500 and _LOCKED.search(str(error)) is not None


async def while_free(client: Client, path: str) -> str:
    """A digest of what the networks are, and what of them waits, while nobody has the lock at ``path``.

    Raises ApiError where somebody has it (its hint is HELD), TransportError; nothing was done then.
    """
    before = await _networks(client, path)
    try:
        await client.delete(path, {"lock-token": _NOBODY})
    except (ApiError, TransportError) as error:
        if maybe_executed(error):
            raise TransportError(f"{error}: nothing was done yet", sent=False, hint=error.hint) from error
        if isinstance(error, ApiError) and is_locked(error):
            error.hint = HELD
        raise
    return before


async def retaken(client: Client, path: str, params: Mapping[str, Any], before: str) -> str:
    """The token of a lock that we may hold already, by a call whose answer was never heard; ``before`` is what
    ``while_free`` gave then. Somebody else gives it back after a while, or has changed something; ours nobody does, so
    that it is taken by force at last.

    Raises ApiError (HELD is its hint where it is not ours), TransportError.
    """
    ours = bool(before)
    for pause in (*_LOOKS, 0.0):
        try:
            return str(await client.post(path, params))
        except ApiError as error:
            if not is_locked(error):
                raise
            ours = ours and await _networks(client, path) == before
            if not pause and not ours:
                error.hint = HELD
                raise
        if pause:
            await client.sleep(pause)
    await client.delete(path, {"force": 1})
    return str(await client.post(path, params))


async def _networks(client: Client, path: str) -> str:
    under = path.removesuffix("/lock")
    rows = [await client.get(f"{under}/{name}", {"pending": 1}) or [] for name in _LISTS]
    # Lists and keys come in any order.
    told = [sorted(json.dumps(row, sort_keys=True) for row in one) for one in rows]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
