"""Guests by name: power, migration, clones, what they use, waiting for them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, RefusedError, UsageError

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.direct import Report
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import Object

TAKEN = re.compile(r"already exists|already used", re.IGNORECASE)


@dataclass(frozen=True)
class Choice:
    """Which guests: by name (``web``, ``vm/web``, ``vm web db``), number, selector, or all of a kind."""

    words: Sequence[str] = ()
    vmids: Sequence[int] = ()
    selector: str = ""
    everything: bool = False
    all_namespaces: bool = False


async def chosen(ctx: Context, choice: Choice, reader: Reader) -> list[Object]:
    """The guests that are meant; templates only by name. Raises UsageError where none is said, NotFoundError."""
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects

    await ctx.connect()
    words = list(choice.words)
    namespace = None if choice.all_namespaces else ctx.namespace
    bulk = bool(choice.selector) or choice.everything
    if bulk and (len(words) > 1 or (words and not objects.is_kind(ctx.kinds, words[0].split(",")[0]))):
        raise UsageError("names and -l or --all can't be combined", hint="give a kind alone: vms -l app=web")
    if not bulk and not choice.vmids and (not words or (len(words) == 1 and objects.is_kind(ctx.kinds, words[0]))):
        raise UsageError("which guest?", hint="NAME, vm/NAME, a VMID, or -l SELECTOR, or --all")
    if not bulk:
        return await objects.guests(ctx, words, reader, namespace=namespace, vmids=choice.vmids)
    test = label_test(choice.selector)
    wanted = objects.wishes(ctx.kinds, words or ["guests"])
    for wish in wanted:
        objects.check_guest(wish.kind)
    made = await objects.catalogue(ctx, wanted, reader, namespace=namespace)
    return [one for one in made.objects if test(one.labels) and not one.found.row.get("template")]


@action("write", "guests-power")
async def power(
    ctx: Context,
    verb: str,
    choice: Choice,
    options: Mapping[str, Any] | None = None,
    *,
    timeout: float | None = None,
    wait: bool = False,
) -> Report:
    """Start, stop, shut down, reboot, reset, suspend or resume guests, several at a time.

    ``options`` are the call's own (``forceStop``, ``todisk``, ``timeout``). ``wait`` waits for the state that the verb
    leads to, which matters where high availability does the work. Raises what went wrong, for every guest at once.
    """
    from pvehelm.api.power import VERBS, power_steps, state_of
    from pvehelm.release.direct import Job, Report, carry_out
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest

    client = await ctx.connect()
    found = await chosen(ctx, choice, Reader(client))
    if not found:
        return Report()

    async def current(one: Object) -> Mapping[str, Any]:
        kind = check_guest(one.kind)
        answer = await client.get(f"/nodes/{one.found.key['node']}/{kind.flavour}/{one.vmid}/status/current")
        return answer if isinstance(answer, Mapping) else {}

    async def arrived(one: Object, ends: str) -> None:
        while state_of(await current(one)) != ends:
            await client.sleep(1.0)

    async def job(one: Object) -> Job:
        kind = check_guest(one.kind)
        steps = power_steps(kind, one.found.key, verb, await current(one), options or {})
        ends = "suspended" if verb == "suspend" and (options or {}).get("todisk") else VERBS[verb].ends
        done = VERBS[verb].done if steps else f"{ends} already"
        return Job(one, steps, done, (lambda: arrived(one, ends)) if wait else None)

    return await carry_out(ctx, verb, found, job, timeout=timeout)


@action("write")
async def migrate(
    ctx: Context,
    choice: Choice,
    target: str,
    options: Mapping[str, Any] | None = None,
    *,
    offline: bool = False,
    timeout: float | None = None,
) -> Report:
    """Move guests to another node; running machines go on running, running containers are restarted there."""
    from pvehelm.api.power import migrate_step
    from pvehelm.release.direct import Job, Report, carry_out
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest

    client = await ctx.connect()
    reader = Reader(client)
    found, nodes = await asyncio.gather(chosen(ctx, choice, reader), reader("/nodes"))
    names = sorted(str(row["node"]) for row in nodes or [])
    if target not in names:
        raise NotFoundError(f"there is no node {target!r}", hint=f"nodes: {', '.join(names)}")
    if not found:
        return Report()

    async def job(one: Object) -> Job:
        kind = check_guest(one.kind)
        node = str(one.found.key["node"])
        if node == target:
            return Job(one, done=f"on {target} already")
        row = await client.get(f"/nodes/{node}/{kind.flavour}/{one.vmid}/status/current") or {}
        step = migrate_step(
            kind, one.found.key, target, running=row.get("status") == "running", offline=offline, options=options
        )
        return Job(one, [step], f"migrated to {target}")

    return await carry_out(ctx, "migrate", found, job, timeout=timeout)


@action("write")
async def clone(
    ctx: Context,
    choice: Choice,
    name: str,
    *,
    vmid: int | None = None,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> tuple[Object, int, Report]:
    """Copy a guest under a new name; the copy belongs to no release. Its source, its VMID, and what ran.

    Raises RefusedError where the name or the number is taken.
    """
    from pvehelm.api.power import clone_steps
    from pvehelm.release import objects
    from pvehelm.release.direct import Job, carry_out
    from pvehelm.release.live import Reader

    check_guest_name(name)
    client = await ctx.connect()
    reader = Reader(client)
    found = await chosen(ctx, choice, reader)
    if len(found) != 1:
        raise UsageError("clone takes one guest", hint="pvehelm clone vm/web web-copy")
    source = found[0]
    given = dict(options or {})
    namespace = str(given.get("pool") or "default")
    everything = await objects.catalogue(ctx, objects.wishes(ctx.kinds, ["guests"]), reader)
    for other in everything.objects:
        if vmid and other.vmid == vmid:
            raise RefusedError(f"VMID {vmid} is taken by {other.ref}", hint="leave --vmid out and a free one is found")
        if other.name == name and other.namespace == namespace:
            raise RefusedError(f"there is a guest {name!r} already: {other}", hint="choose another name")
    taken = {other.vmid for other in everything.objects} | ctx.store.reserved(ctx.cluster)
    kind = objects.check_guest(source.kind)
    made: list[int] = []

    async def job(one: Object) -> Job:
        config = await client.get(f"/nodes/{one.found.key['node']}/{kind.flavour}/{one.vmid}/config") or {}
        number = vmid or int(await client.get("/cluster/nextid"))
        while not vmid and number in taken:
            number += 1
        made[:] = [number]
        return Job(one, clone_steps(kind, one.found.key, number, name, config, given), f"cloned to {name}")

    while True:
        try:
            report = await carry_out(ctx, "clone", [source], job, timeout=timeout)
            return source, made[0], report
        except PvehelmError as error:
            # Somebody was faster: the number after it.
            if vmid or not TAKEN.search(str(error)) or not made:
                raise
            taken.add(made[0])


def check_guest_name(name: str) -> None:
    """Raise InvalidError for a name that no guest can have."""
    from pvehelm.api.formats import check_value

    problems = check_value({"type": "string", "format": "dns-name"}, name, name="name")
    if problems:
        raise InvalidError(f"{name!r} is no name for a guest", hint="a DNS name: letters, digits and hyphens")


# -- looking -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Usage:
    """What something uses of what it has: ``cpu`` as a part of its cores, memory and disk in bytes."""

    name: str
    node: str
    status: str
    cpu: float
    cpus: float
    memory: int
    memory_of: int
    disk: int
    disk_of: int
    uptime: int
    vmid: int = 0


@action("read")
async def top(ctx: Context, what: str = "nodes", *, selector: str = "", all_namespaces: bool = False) -> list[Usage]:
    """What nodes or guests use, the busiest first. One request."""
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    client = await ctx.connect()
    wanted = objects.wishes(ctx.kinds, [what])
    for wish in wanted:
        if wish.kind.name != "Node":
            objects.check_guest(wish.kind)
    namespace = None if all_namespaces else ctx.namespace
    made = await objects.catalogue(ctx, wanted, Reader(client), namespace=namespace)
    test = label_test(selector)
    rows = [_usage(one) for one in made.objects if test(one.labels) and not one.found.row.get("template")]
    return sorted(rows, key=lambda row: (-row.cpu * row.cpus, row.name))


def _usage(one: Object) -> Usage:
    row = one.found.row
    memory, memory_of, disk, disk_of, uptime = (
        int(row.get(name) or 0) for name in ("mem", "maxmem", "disk", "maxdisk", "uptime")
    )
    return Usage(
        name=one.ref if one.vmid else one.name,
        node=str(row.get("node", "")),
        status=str(row.get("status", "")),
        cpu=float(row.get("cpu") or 0),
        cpus=float(row.get("maxcpu") or 0),
        memory=memory,
        memory_of=memory_of,
        disk=disk,
        disk_of=disk_of,
        uptime=uptime,
        vmid=one.vmid,
    )


@action("read", "wait")
async def wait_for(
    ctx: Context,
    words: Sequence[str],
    condition: str,
    *,
    timeout: float = 30.0,
    interval: float = 1.0,
    all_namespaces: bool = False,
) -> list[str]:
    """Wait until objects are as ``condition`` says: ``status=running``, ``delete``, ``create``, ``FIELD=VALUE`` or
    ``jsonpath=PATH=VALUE``. The refs of what came to be so.

    Raises PvehelmError after ``timeout`` seconds, naming what is not so yet, and UsageError.
    """
    from pvehelm.actions.objects import Query, document, get

    test = condition_test(condition)
    query = Query(full=True, all_namespaces=all_namespaces)
    client = await ctx.connect()
    named = " ".join(words)
    met: dict[str, None] = {}
    left: list[str] = []
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    objects = (await get(ctx, words, query)).objects
                except NotFoundError:
                    if condition == "delete":
                        return list(met) or [named]
                    if condition != "create":
                        raise
                    objects = []
                left = [one.ref for one in objects if not test(document(one))]
                met |= {one.ref: None for one in objects if one.ref not in left or condition == "delete"}
                if (condition == "delete" and not objects) or (objects and not left):
                    return list(met) or [named]
                await client.sleep(interval)
    except TimeoutError:
        raise PvehelmError(
            f"not {condition} after {timeout:g} s: {', '.join(left) or named}", hint="--timeout waits longer"
        ) from None


def condition_test(condition: str) -> Any:
    """Whether a document is as a condition of ``--for`` says. Raises UsageError."""
    from pvehelm.actions.objects import field_test
    from pvehelm.chart.jsonpath import path, printed

    if condition == "delete":
        return lambda document: False
    if condition == "create":
        return lambda document: True
    head, _, rest = condition.partition("=")
    if head == "jsonpath":
        found = re.fullmatch(r"(\{.*\}|'\{.*\}'|[^={}]+)(?:==?(.*))?", rest, re.DOTALL)
        if not found:
            raise UsageError(f"--for {condition!r}: expected jsonpath={{.path}}=VALUE")
        find, wanted = path(found[1].strip("'")), found[2]
        if wanted is None:
            return lambda document: bool(find(document))
        wanted = wanted.strip("'\"")
        return lambda document: any(printed(value) == wanted for value in find(document))
    if "=" not in condition:
        raise UsageError(
            f"--for {condition!r} is no condition",
            hint="status=running, delete, create, FIELD=VALUE or jsonpath={.path}=VALUE",
        )
    return field_test(condition)
