"""Looking at releases: the store alone answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import UsageError
from pvehelm.release.release import Status

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.journal import Entry
    from pvehelm.release.release import Release, ReleaseKey, Revision


@action("read", "list")
def list_(
    ctx: Context,
    *,
    all_namespaces: bool = False,
    pattern: str = "",
    selector: str = "",
    statuses: Sequence[str] = (),
    limit: int = 256,
    offset: int = 0,
    reverse: bool = False,
    by_date: bool = False,
) -> list[Release]:
    """List releases that have one of ``statuses`` (``pending`` is any that is being worked on).

    As with Helm, ``superseded`` alone lists every revision that was deployed before.
    """
    releases = ctx.store.list(ctx.cluster, None if all_namespaces else ctx.namespace)
    if pattern:
        try:
            wanted = re.compile(pattern)
        except re.error as error:
            raise UsageError(f"--filter {pattern!r} is no regular expression: {error}") from None
        releases = [r for r in releases if wanted.search(r.key.name)]
    if selector:
        test = parse_selector(selector)
        releases = [r for r in releases if test(r.current.labels)]
    if list(statuses) == [Status.superseded]:
        releases = [r._replace(current=one, working="") for r in releases for one in _superseded(ctx, r.key)]
    elif statuses:
        pending = "pending" in statuses
        releases = [r for r in releases if r.current.status in statuses or (pending and r.status.pending)]
    else:
        releases = [r for r in releases if r.current.status is not Status.uninstalled]
    releases.sort(key=lambda r: r.current.updated if by_date else (r.key.name, r.key.namespace), reverse=reverse)
    return releases[offset : offset + limit if limit else None]


def _superseded(ctx: Context, key: ReleaseKey) -> list[Revision]:
    return [one for one in ctx.store.revisions(key, limit=0) if one.status is Status.superseded]


def parse_selector(text: str) -> Any:
    """kubectl's label selector: ``a=b,c!=d,e in (f, g),h notin (i),j,!k``. Raises UsageError."""
    tests: list[Any] = []
    rest = text.strip()
    term = re.compile(
        r"\s*(?:(?P<key>[\w./-]+)\s+(?P<set>in|notin)\s*\((?P<values>[^)]*)\)"
        r"|(?P<left>[\w./-]+)\s*(?P<op>==|=|!=)\s*(?P<right>[\w./-]*)|(?P<not>!)?\s*(?P<has>[\w./-]+))\s*(?:,|\Z)"
    )
    while rest:
        found = term.match(rest)
        if not found:
            raise UsageError(f"-l {text!r} is no label selector", hint="for example env=prod,tier!=db,zone in (a, b)")
        tests.append(_selector_test(found))
        rest = rest[found.end() :]
    return lambda labels: all(test(labels) for test in tests)


def _selector_test(found: re.Match[str]) -> Any:
    if found["set"]:
        values = {value.strip() for value in found["values"].split(",")}
        key, inside = found["key"], found["set"] == "in"
        return lambda labels: (labels.get(key) in values) == inside
    if found["op"]:
        left, right, equal = found["left"], found["right"], found["op"] != "!="
        return lambda labels: (labels.get(left) == right) == equal
    has, negated = found["has"], bool(found["not"])
    return lambda labels: (has in labels) != negated


@action("read")
def status(ctx: Context, name: str, revision: int = 0) -> tuple[Release, Revision]:
    """A release and one of its revisions."""
    key = ctx.key(name)
    return ctx.store.get(key), revision_of(ctx, key, revision)


@action("read")
def history(ctx: Context, name: str, limit: int = 256) -> list[Revision]:
    """The revisions of a release, oldest first."""
    key = ctx.key(name)
    ctx.store.get(key, bodies=False)
    return ctx.store.revisions(key, limit=limit)


@action("read")
async def power(ctx: Context, name: str) -> dict[str, str]:
    """The power state of a release's guests, in one request: ref -> running, stopped..., or missing."""
    from pvehelm.release.inventory import GUEST_KINDS

    entries = ctx.store.inventory(ctx.store.get(ctx.key(name), bodies=False).key).entries
    guests = {ref: owned for ref, owned in entries.items() if owned.kind in GUEST_KINDS}
    if not guests:
        return {}
    client = await ctx.connect()
    rows = await client.get("/cluster/resources", {"type": "vm"})
    states = {int(row["vmid"]): str(row.get("status") or "unknown") for row in rows or []}
    return {ref: states.get(int(owned.identifier.get("vmid") or 0), "missing") for ref, owned in guests.items()}


@action("read")
def events(ctx: Context, name: str, revision: int = 0) -> list[Entry]:
    """What was done for a revision (0: the newest), call by call, oldest first; it is known even where the process
    that did it was killed."""
    key = ctx.key(name)
    return ctx.store.entries(key, revision_of(ctx, key, revision).number)


def revision_of(ctx: Context, key: ReleaseKey, number: int = 0) -> Revision:
    """One revision of a release, the current one for 0. Raises NotFoundError."""
    return ctx.store.revision(key, number) if number else ctx.store.get(key).current
