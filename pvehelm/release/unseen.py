"""What a plan can't tell: references that mean nothing here, and secrets that the server told to somebody else.

A field whose reference is the one that was applied last is left as it is, and that is said. One whose reference is
another is not: it was asked for, and would count as done without having been.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.change import Change, Op
from pvehelm.release.desire import back_to, last_deployed
from pvehelm.release.secrets import Secrets, has_secret, secret_key, texts

if TYPE_CHECKING:
    from pvehelm.release.compare import Desired, Observed
    from pvehelm.release.context import Context
    from pvehelm.release.inventory import Inventory
    from pvehelm.release.release import ReleaseKey

OWN = "secret://release/"
# What says anew how a release shall be; all else goes back to what was said.
SAYING = ("install", "upgrade", "apply")


class Unseen(NamedTuple):
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def unseen(
    ctx: Context,
    key: ReleaseKey,
    action: str,
    desired: Sequence[Desired],
    inventory: Inventory,
    observed: Observed,
    changes: Sequence[Change],
) -> Unseen:
    """What can't be told of those objects that are there and stay."""
    staying = {change.ref for change in changes if change.op in (Op.keep, Op.update)}
    there = [one for one in desired if one.ref in staying and inventory.get(one.ref) and observed.live.get(one.ref)]
    spots = [(one, leaf, value) for one in there for leaf, value in _spots(one, inventory, observed)]
    notes = [*_told_once(ctx, key, there)]
    problems: list[Problem] = []
    known = _applied(ctx, key) if spots else set()
    secrets = ctx.secrets(key)
    for one, leaf, value in spots:
        why = _why(secrets, value)
        if action in SAYING and secret_key(value) not in known:
            problems.append(Problem(one.where(leaf), f"{one.ref}: {leaf}: {why}", why.hint))
        else:
            notes.append(f"{one.ref}: {leaf} can't be compared, and stays as it is: {why}")
    return Unseen(tuple(problems), tuple(notes))


def _spots(one: Desired, inventory: Inventory, observed: Observed) -> Iterator[tuple[str, Any]]:
    """The leaves that were written once and whose references mean nothing now."""
    owned = inventory.entries[one.ref].fields
    for leaf, value in one.leaves.items():
        if leaf in owned and has_secret(value) and observed.hashes.get(secret_key(value)) is None:
            yield leaf, value


def _applied(ctx: Context, key: ReleaseKey) -> set[str]:
    """The texts with references that the release was deployed with last."""
    deployed = last_deployed(ctx, key)
    resources = back_to(deployed).resources if deployed else ()
    return {text for resource in resources for text in texts(dict(resource.spec))}


def _why(secrets: Secrets, value: Any) -> PvehelmError:
    try:
        secrets.resolve(secret_key(value))
    except PvehelmError as error:
        return error
    return PvehelmError("the key of the store is not here")


def _told_once(ctx: Context, key: ReleaseKey, there: Sequence[Desired]) -> Iterator[str]:
    """Objects of ours whose secret the server told when they were made, and which is not kept here."""
    have: set[str] | None = None
    for one in there:
        for reference in one.kind.kept(one.wanted).values():
            if reference.startswith(OWN):
                have = set(ctx.store.secret_names(key)) if have is None else have
                if reference.removeprefix(OWN) not in have:
                    yield f"{one.ref}: its secret was told once, and not here: --replace {one.ref} makes it anew"
