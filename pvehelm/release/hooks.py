"""Hooks in a plan: which of them a verb runs, and where among its changes.

A hook is a change of its own (``Op.run``, ref ``pre-upgrade:GuestExec/migrate``) in the plan's graph: those before are
a chain that every other change waits for, those after wait for every change, and for readiness with ``--wait``. So what
holds for changes holds for them: they are shown before anything is done, journalled, stopped by a failure before them
and told of in the revision. What running one means is in ``release.hookrun``.

An ordinary resource may be a hook, too: it is made at its moment and stays in the inventory, marked as a hook's, until
its delete policy, a chart without it or ``uninstall`` removes it. A plan leaves such objects alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pvehelm.api.kind import Effect, Step
from pvehelm.api.kinds import Kinds
from pvehelm.api.privilege import told
from pvehelm.chart.hooks import AFTER_CREATION, TEST, Hook, hook_of
from pvehelm.chart.manifest import Resource, parse, to_text
from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.change import Change, Op, Plan
from pvehelm.release.inventory import GUEST_KINDS, Inventory, Owned
from pvehelm.release.restarts import restarting
from pvehelm.release.secrets import Secrets, has_secret, texts

if TYPE_CHECKING:
    from pvehelm.release.desire import Desire, Options
    from pvehelm.release.live import Reader
    from pvehelm.release.plan import Allowed
    from pvehelm.release.release import ReleaseKey

# The verb of a desire -> the word in hooks' moments.
VERBS = {"install": "install", "upgrade": "upgrade", "rollback": "rollback", "uninstall": "delete"}
# Metadata of an object in the inventory that a hook made.
MADE_BY = "hook"


def split(resources: Iterable[Resource]) -> tuple[tuple[Resource, ...], tuple[Resource, ...]]:
    """What a release consists of, and its hooks."""
    plain: list[Resource] = []
    hooks: list[Resource] = []
    for resource in resources:
        (plain if hook_of(resource.metadata) is None else hooks).append(resource)
    return tuple(plain), tuple(hooks)


def of(desire: Desire, options: Options) -> tuple[tuple[Resource, ...], tuple[Resource, ...]]:
    """What a desire wants to be there, and its hooks; those of a removal are in its record."""
    if desire.action != "uninstall":
        return split(desire.resources)
    text = str(desire.record.get("manifest") or "")
    return desire.resources, () if options.no_hooks or not text else tuple(parse(text, file="the release's hooks"))


def without(manifest: str) -> str:
    """A manifest without its hooks; as it is when there are none."""
    resources = parse(manifest, file="the release") if "hook" in manifest else []
    plain, hooks = split(resources)
    return to_text(plain) if hooks else manifest


def of_removal(manifest: str) -> str:
    """The hooks of a manifest that its removal runs."""
    hooks = split(parse(manifest, file="the release"))[1] if manifest.strip() else ()
    return to_text(one for one in hooks if {"pre-delete", "post-delete"} & set(_hook(one).events))


def verb_of(desire: Desire, again: Callable[[], bool]) -> str:
    """The word that the moments of a desire's hooks end with, '' for none. ``again``: it was deployed before."""
    told = desire.record.get("hooks")
    if told is not None:
        return str(told.get("verb") or "")
    if desire.action == "apply":
        return "upgrade" if again() else "install"
    return VERBS.get(desire.action, "")


def at(hooks: Iterable[Resource], event: str) -> list[Resource]:
    """The hooks of a moment in the order they run: by weight, then by name."""
    found = [(hook, one) for one in hooks if (hook := _hook(one)) and event in hook.events]
    return [one for hook, one in sorted(found, key=lambda pair: (pair[0].weight, pair[1].name, pair[1].kind))]


def _hook(resource: Resource) -> Hook:
    return hook_of(resource.metadata) or Hook(())


def apart(inventory: Inventory, hooks: Iterable[Resource]) -> Inventory:
    """What a plan is about: the inventory without the objects of these hooks."""
    refs = {hook.ref for hook in hooks}
    kept = {ref: o for ref, o in inventory.entries.items() if not (ref in refs and o.metadata.get(MADE_BY))}
    return Inventory(kept)


# -- into the plan ---------------------------------------------------------------------------------------------


class Weaver:
    """Puts what is run among a plan's changes."""

    def __init__(
        self, kinds: Kinds, inventory: Inventory, allowed: Allowed, secrets: Secrets, reader: Reader, key: ReleaseKey
    ) -> None:
        self.kinds = kinds
        self.inventory = inventory
        self.allowed = allowed
        self.secrets = secrets
        self.reader = reader
        self.key = key
        self.problems: list[Problem] = []
        self.refusals: list[Problem] = []

    async def weave(
        self,
        made: Plan,
        resources: Sequence[Resource],
        hooks: Sequence[Resource],
        verb: str,
        *,
        first: Sequence[Change] = (),
        wait: bool = False,
        restart: Sequence[str] = (),
        ran: frozenset[str] = frozenset(),
    ) -> Plan:
        """``made`` with the hooks of a verb ('' for none) but those that ``ran``. ``first`` is done before anything;
        the guests of ``restart`` are restarted after the last change."""
        from pvehelm.release.readiness import wants

        before = [await self.change(f"pre-{verb}", one) for one in at(hooks, f"pre-{verb}")] if verb else []
        after = [await self.change(f"post-{verb}", one) for one in at(hooks, f"post-{verb}")] if verb else []
        before = _chain([*first, *(change for change in before if change.ref not in ran)])
        after = [change for change in after if change.ref not in ran]
        wanted = wants(made.changes, resources) if wait else {}
        if wanted:
            after.insert(0, waiting(self.key.name, wanted))
        if restart:
            after.insert(0, restarting(self.key.name, restart))
        if verb == "delete" and any(not self.kinds.get(one.kind).hook_only for one in hooks):
            after.append(removal(self.key.name, await self._left(hooks)))
        changes = list(made.changes)
        if before:
            changes = [replace(c, needs=(*c.needs, before[-1].ref)) for c in changes]
        if after:
            everything = tuple(c.ref for c in changes if c.op is not Op.keep or c.steps)
            after[0] = replace(after[0], needs=everything or tuple(c.ref for c in before[-1:]))
        return replace(
            made,
            changes=(*before, *changes, *_chain(after)),
            problems=(*made.problems, *self.problems),
            refusals=(*made.refusals, *self.refusals),
        )

    async def change(self, event: str, resource: Resource) -> Change:
        """A hook as a change. What stands against it goes to ``problems`` and ``refusals``."""
        kind, hook = self.kinds.get(resource.kind), _hook(resource)
        wanted = kind.lower(resource, lambda ref: "100")
        for what in wanted.privileged:
            if not self.allowed.may_use(kind.name, what):
                no = "" if event == TEST else ", or --no-hooks"
                hint = f"--allow-privileged {what}, after reading what it does{no}"
                self.refusals.append(
                    Problem(str(resource.source), f"{resource.ref} ({event} hook) {told(kind, what)}", hint)
                )
        for text in filter(has_secret, texts(dict(resource.spec))):
            try:
                self.secrets.resolve(text)
            except PvehelmError as error:
                self.problems.append(Problem(str(resource.source), f"{resource.ref}: {error}", error.hint))
        losses = await self._losses(resource, hook)
        return Change(
            ref=f"{event}:{resource.ref}",
            kind=resource.kind,
            op=Op.run,
            reason=describe(resource.kind, wanted.fields) if kind.hook_only else "made for the occasion",
            effect=Effect.data_loss if losses else Effect.live,
            losses=losses,
            privileged=wanted.privileged,
            where=str(resource.source),
            experimental=kind.evidence == "schema",
            hook={
                "event": event,
                "weight": hook.weight,
                "policies": sorted(hook.policies),
                "manifest": resource.as_dict(),
            },
        )

    async def _losses(self, resource: Resource, hook: Hook) -> tuple[str, ...]:
        """What goes with the object that an earlier run left and that this one makes anew."""
        owned = self.inventory.get(resource.ref)
        if (
            owned is None
            or not owned.metadata.get(MADE_BY)
            or not (AFTER_CREATION in hook.policies or not hook.policies)
        ):
            return ()
        return await self._lost(owned)

    async def _lost(self, owned: Owned) -> tuple[str, ...]:
        """What goes with an object that a hook made: a guest is something even without a disk."""
        kind = self.kinds.get(owned.kind)
        live = await kind.read(owned.identifier, self.reader)
        if live is None:
            return ()
        return tuple(kind.losses(live)) or (("the guest",) if owned.kind in GUEST_KINDS else ())

    async def _left(self, hooks: Sequence[Resource]) -> tuple[str, ...]:
        """What goes with everything that these hooks have made and left."""
        refs = {hook.ref for hook in hooks}
        made = [owned for owned in self.inventory if owned.metadata.get(MADE_BY) and owned.ref in refs]
        return tuple([f"{owned.ref}: {loss}" for owned in made for loss in await self._lost(owned)])


def _chain(changes: Sequence[Change]) -> list[Change]:
    """Each after the one before."""
    return [*changes[:1], *(replace(later, needs=(*later.needs, one.ref)) for one, later in pairwise(changes))]


def synthetic(event: str, kind: str, name: str, spec: Mapping[str, Any], reason: str) -> Change:
    """Something that is run without being in a manifest, as a hook of the same kind would be."""
    manifest = {"apiVersion": "proxmox.io/v1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}
    return Change(
        ref=f"{event}:{name}", kind=kind, op=Op.run, reason=reason, hook={"event": event, "manifest": manifest}
    )


def waiting(release: str, wanted: Mapping[str, Any]) -> Change:
    """Waiting until everything that is wanted is ready."""
    what = f"{len(wanted)} resources are" if len(wanted) > 1 else f"{next(iter(wanted))} is"
    hook = {"event": "ready", "wants": dict(wanted)}
    return Change(ref=f"ready:{release}", kind="Wait", op=Op.run, reason=f"wait until {what} ready", hook=hook)


def removal(release: str, losses: Sequence[str] = ()) -> Change:
    """Removing what hooks made, once the last of them has run; ``losses`` go with it."""
    return Change(
        ref=f"hooks:{release}",
        kind="Wait",
        op=Op.run,
        reason="remove what hooks have made",
        effect=Effect.data_loss if losses else Effect.live,
        losses=tuple(losses),
        hook={"event": "remove"},
    )


def calls(change: Change, inventory: Inventory) -> Iterator[Step]:
    """The calls that running a hook makes on guests that are there already, to see beforehand what is not allowed."""
    restarted = change.hook.get("guests") or ()
    if change.kind not in ("GuestExec", "Snapshot", "Backup") and not restarted:
        return
    manifest = change.hook.get("manifest") or {}
    spec = manifest.get("spec") or {}
    named = [spec["guest"]] if spec.get("guest") else spec.get("guests")
    for ref, owned in inventory.entries.items():
        if owned.kind not in GUEST_KINDS or (named and ref not in named) or owned.metadata.get(MADE_BY):
            continue
        node, vmid = owned.identifier.get("node"), owned.identifier.get("vmid")
        base = f"/nodes/{node}/{'qemu' if owned.kind == 'VirtualMachine' else 'lxc'}/{vmid}"
        if restarted:
            if ref in restarted:
                yield Step("POST", f"{base}/status/reboot", {}, note=f"restart {ref}")
        elif change.kind == "GuestExec":
            yield Step("POST", f"{base}/agent/exec", {}, note=f"run a command in {ref}")
        elif change.kind == "Snapshot":
            yield Step("POST", f"{base}/snapshot", {}, note=f"take a snapshot of {ref}")
        elif change.kind == "Backup":
            storage = {"storage": spec["storage"]} if spec.get("storage") else {}
            yield Step("POST", f"/nodes/{node}/vzdump", {"vmid": vmid, **storage}, note=f"back up {ref}")


def describe(kind: str, fields: Mapping[str, Any]) -> str:
    """What running a hook does, in a few words; nothing secret, since references stay references."""
    named = fields.get("address") or fields.get("guest") or ", ".join(fields.get("guests") or ())
    guest = str(named or "every guest of the release")
    if kind == "GuestExec":
        command = fields["command"]
        line = command[2] if command[:2] == ["/bin/sh", "-c"] else " ".join(command)
        shown = line.strip().partition("\n")[0]
        return f"run {shown if len(shown) < 60 else shown[:57] + '...'} in {guest}"
    if kind == "Backup":
        return f"back up {guest}" + (f" to {fields['storage']}" if fields.get("storage") else "")
    if kind == "Snapshot":
        return f"take a snapshot of {guest}"
    if kind == "HttpCheck":
        scheme = str(fields.get("scheme") or "http")
        port = fields.get("port") or (443 if scheme == "https" else 80)
        return f"ask {guest} for {scheme}, port {port}, {fields.get('path') or '/'}"
    if kind == "TcpCheck":
        return f"connect to port {fields['port']} of {guest}"
    if fields.get("duration") is not None:
        return f"wait for {fields['duration']:g} s"
    return f"wait until {' and '.join(fields['until'])} of {fields['object']}"


def tests(resources: Iterable[Resource]) -> list[Resource]:
    """The chart's own tests, in their order."""
    return at(resources, TEST)
