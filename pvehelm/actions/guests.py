"""Guests by name: power, migration, clones, what they use."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, RefusedError, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.change import Change
    from pvehelm.release.context import Context
    from pvehelm.release.direct import Report, Settled
    from pvehelm.release.inventory import Owned
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import Object
    from pvehelm.release.release import ReleaseKey


@dataclass(frozen=True)
class Choice:
    """Which guests: by name (``web``, ``vm/web``, ``vm web db``), number, selector, all of a kind, or those of the
    manifests ``resources``, whose other objects do not count."""

    words: Sequence[str] = ()
    vmids: Sequence[int] = ()
    selector: str = ""
    everything: bool = False
    all_namespaces: bool = False
    resources: Sequence[Resource] = ()


async def chosen(ctx: Context, choice: Choice, reader: Reader) -> list[Object]:
    """The guests that are meant; templates only by name. Raises UsageError where none is said, NotFoundError."""
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects

    await ctx.connect()
    words = list(choice.words)
    namespace = None if choice.all_namespaces else ctx.namespace
    bulk = bool(choice.selector) or choice.everything
    if choice.resources:
        if bulk or words or choice.vmids:
            raise UsageError("guests are named or chosen, or those of manifests", hint="-f alone")
        of_files = objects.of_manifests(ctx.kinds, choice.resources, ctx.namespace)
        of_files = [wish for wish in of_files if wish.kind.name in objects.GUESTS]
        if not of_files:
            raise UsageError("there is no guest in these manifests")
        return objects.one_each(of_files, (await objects.catalogue(ctx, of_files, reader)).objects)
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
    from pvehelm.api.power import VERBS, leaves_no_trace, power_steps, state_of
    from pvehelm.release import direct
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest
    from pvehelm.release.silence import newest_task

    client = await ctx.connect()
    found = await chosen(ctx, choice, Reader(client))
    report = direct.Report()
    if not found:
        return report

    async def arrived(one: Object, ends: str) -> None:
        while state_of(await _current(ctx, one)) != ends:
            await client.sleep(1.0)

    async def job(subject: direct.Subject) -> direct.Job:
        one = await _placed(ctx, subject.found) if subject.ref in report.settled else subject.found
        kind, key = check_guest(one.kind), one.found.key
        task = leaves_no_trace(kind, verb)
        before = await newest_task(client, key["node"], one.vmid, task) if task else ""
        steps = power_steps(kind, key, verb, await _current(ctx, one), options or {}, before=before)
        ends = "suspended" if verb == "suspend" and (options or {}).get("todisk") else VERBS[verb].ends
        done = VERBS[verb].done if steps else f"{ends} already"
        changes = [direct.change(one, steps, verb)] if steps else []
        return direct.Job(changes, done, (lambda: arrived(one, ends)) if wait else None)

    subjects = [direct.subject(ctx, one) for one in found]
    return await direct.carry_out(ctx, verb, subjects, job, timeout=timeout, report=report)


async def _current(ctx: Context, one: Object) -> Mapping[str, Any]:
    """The state of a guest, where the lists say that it is."""
    from pvehelm.release.objects import check_guest

    node, flavour = one.found.key["node"], check_guest(one.kind).flavour
    answer = await (await ctx.connect()).get(f"/nodes/{node}/{flavour}/{one.vmid}/status/current")
    return answer if isinstance(answer, Mapping) else {}


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
    from pvehelm.release import direct
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest

    client = await ctx.connect()
    reader = Reader(client)
    found, nodes = await asyncio.gather(chosen(ctx, choice, reader), reader("/nodes"))
    names = sorted(str(row["node"]) for row in nodes or [])
    if target not in names:
        raise NotFoundError(f"there is no node {target!r}", hint=f"nodes: {', '.join(names)}")
    report = direct.Report()
    if not found:
        return report

    async def job(subject: direct.Subject) -> direct.Job:
        one = await _placed(ctx, subject.found) if subject.ref in report.settled else subject.found
        if one.found.key["node"] == target:
            return direct.Job(done=f"on {target} already")
        running = (await _current(ctx, one)).get("status") == "running"
        kind = check_guest(one.kind)
        step = migrate_step(kind, one.found.key, target, running=running, offline=offline, options=options)
        return direct.Job([direct.change(one, [step], "migrate")], f"migrated to {target}")

    subjects = [direct.subject(ctx, one) for one in found]
    return await direct.carry_out(ctx, "migrate", subjects, job, timeout=timeout, report=report)


async def _placed(ctx: Context, one: Object) -> Object:
    """A guest that an interrupted command may have moved, where it is now. Raises NotFoundError when it is gone."""
    from pvehelm.release.live import Reader

    rows = await Reader(await ctx.connect())("/cluster/resources") or []
    row = next((row for row in rows if str(row.get("vmid")) == str(one.vmid)), None)
    if row is None:
        raise NotFoundError(f"{one} is gone")
    return replace(one, found=replace(one.found, key={**one.found.key, "node": row["node"]}))


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

    The number is reserved in the store with the intent, and the copy bears a mark until it is complete: a copy that was
    interrupted is completed by the same call, or by ``recover``. Raises RefusedError where the name or the number is
    taken.
    """
    from pvehelm.release import direct
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest
    from pvehelm.release.release import ReleaseKey

    check_guest_name(name)
    reader = Reader(await ctx.connect())
    try:
        found = await chosen(ctx, choice, reader)
    except NotFoundError:
        # Templates serve every namespace.
        found = await _templates(ctx, choice, reader)
        if not found:
            raise
    if len(found) != 1:
        raise UsageError("clone takes one guest", hint="pvehelm clone vm/web web-copy")
    source = found[0]
    kind = check_guest(source.kind)
    pool = (options or {}).get("pool")
    key = ReleaseKey(ctx.cluster, "", f"clone/{pool or 'default'}/{name}")
    # The name is leased, not the source: a template may be copied by many at once.
    owner = source.owner.scope if source.owner is not None else ""
    subject = direct.Subject(f"{kind.name}/{name}", key, (key.scope, *([owner] if owner else [])), source)
    report = direct.Report()
    given = {**(options or {}), "newid": vmid}
    asked = {option: value for option, value in given.items() if value is not None}

    async def job(subject: direct.Subject) -> direct.Job:
        finished = report.made.get(subject.ref)
        if finished is not None and finished.metadata.get("source") == source.vmid:
            _check_alike(name, finished, asked)
            return direct.Job(done=f"cloned to {name} by the command that was interrupted")
        await _not_taken(ctx, name, str(pool or "default"), vmid)
        change = await _copy(ctx, source, subject.ref, key, name, asked)
        return direct.Job([change], f"cloned to {name}")

    await direct.carry_out(ctx, "clone", [subject], job, timeout=timeout, report=report)
    return source, int(report.made[subject.ref].identifier["vmid"]), report


async def _templates(ctx: Context, choice: Choice, reader: Reader) -> list[Object]:
    """The templates that are meant, wherever they are."""
    try:
        found = await chosen(ctx, replace(choice, all_namespaces=True), reader)
    except NotFoundError:
        return []
    return [one for one in found if one.found.row.get("template")]


async def _not_taken(ctx: Context, name: str, namespace: str, vmid: int | None) -> None:
    """Raises RefusedError where a guest has the name or the number."""
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    everything = await objects.catalogue(ctx, objects.wishes(ctx.kinds, ["guests"]), Reader(await ctx.connect()))
    for other in everything.objects:
        if vmid and other.vmid == vmid:
            raise RefusedError(f"VMID {vmid} is taken by {other.ref}", hint="leave --vmid out and a free one is found")
        if other.name == name and other.namespace == namespace:
            raise RefusedError(f"there is a guest {name!r} already: {other}", hint="choose another name")


def _check_alike(name: str, made: Owned, asked: Mapping[str, Any]) -> None:
    """Raise RefusedError where the copy that was interrupted, and is complete now, was asked for in another way."""
    before = made.metadata.get("options")
    if before is None or before == dict(asked):
        return

    def told(options: Mapping[str, Any]) -> str:
        words = [f"{'vmid' if option == 'newid' else option}={value}" for option, value in sorted(options.items())]
        return ", ".join(words) or "no options"

    copy = f"{name} (VMID {made.identifier['vmid']})"
    raise RefusedError(
        f"{copy} was being copied with {told(before)}, and is complete now; this asks for {told(asked)}",
        hint=f"keep it as it is, or delete it (pvehelm delete guest/{name}) and run the command again",
    )


async def _copy(
    ctx: Context, source: Object, ref: str, journal: ReleaseKey, name: str, options: Mapping[str, Any]
) -> Change:
    """The creation of a copy."""
    from pvehelm.api.kind import Wanted
    from pvehelm.api.power import clone_step
    from pvehelm.release.change import Change, Op
    from pvehelm.release.inventory import Owned
    from pvehelm.release.objects import check_guest

    kind, place = check_guest(source.kind), source.found.key
    pool = options.get("pool")
    config = await (await ctx.connect()).get(f"/nodes/{place['node']}/{kind.flavour}/{source.vmid}/config") or {}
    asked = {"source": source.vmid, "options": dict(options)}
    # What was read has not failed: from here on something is journalled.
    uid = ctx.store.ensure(journal)
    key = {"vmid": options.get("newid"), "node": options.get("target") or place["node"]}
    fields = {kind.name_field: name, **({"pool": pool} if pool else {})}
    step = clone_step(kind, place, ref, uid, name, config, options)
    return Change(
        ref,
        kind.name,
        Op.create,
        f"a copy of {source.ref}",
        steps=(step,),
        owned=Owned(ref, kind.name, name, pool, {}, metadata=asked, uid=uid),
        wanted=Wanted(ref, kind.name, name, pool, key, fields),
    )


@action("write", "recover-objects")
async def recover(ctx: Context) -> list[Settled]:
    """Finish what interrupted verbs on objects have begun, all of it; what each came to."""
    from pvehelm.release.direct import settle_all

    return await settle_all(ctx)


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
async def top(
    ctx: Context, words: Sequence[str] = ("nodes",), *, selector: str = "", all_namespaces: bool = False
) -> list[Usage]:
    """What nodes or guests use, the busiest first: all of a kind, or those that are named. One request.

    Raises NotFoundError, UsageError."""
    from pvehelm.actions.objects import label_test
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    client = await ctx.connect()
    wanted = objects.wishes(ctx.kinds, words)
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
