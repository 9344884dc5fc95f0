"""What is called to make, change and remove a guest: normal form turned back into the wire's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pvehelm.api import formats
from pvehelm.api.guests import GuestKind, resources, seen
from pvehelm.api.kind import Get, Key, Live, Step, Wanted, leaves
from pvehelm.api.lowering import (
    MIB,
    VOLUME_KEY,
    is_secret,
    is_volume,
    size_of,
    ssh_keys_text,
)
from pvehelm.api.mark import Mark, traits
from pvehelm.api.values import embedded
from pvehelm.errors import Problem


@dataclass
class Draft:
    """A configuration call in the making: the fields that it sets and unsets, the leaves that are written with it, and
    the calls that follow it."""

    sets: dict[str, Any] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    after: list[Step] = field(default_factory=list)

    def put(self, name: str, value: Any) -> None:
        """Set a field, or with None unset it."""
        if value is None:
            self.drops.append(name)
        else:
            self.sets[name] = value

    def touches(self, name: str) -> bool:
        return name in self.sets or name in self.drops

    def take(self, name: str) -> dict[str, Any]:
        """The parameters that do to a field what this call would; it leaves that to another from now on."""
        self.drops = [other for other in self.drops if other != name]
        return {name: self.sets.pop(name)} if name in self.sets else {"delete": name}


class GuestCalls(GuestKind):
    """The writing half of both kinds of guests."""

    # -- writing -----------------------------------------------------------------------------------------------

    def _base(self, key: Key) -> str:
        return f"/nodes/{key['node']}/{self.flavour}/{key['vmid']}"

    def _described(self, text: Any, uid: str, ref: str, vmid: Any = None) -> str:
        mark = str(Mark(uid, ref, str(vmid) if vmid else f"${{vmid:{ref}}}"))
        return f"{str(text).rstrip()}\n{mark}" if text else mark

    def _wire(self, name: str, value: Any) -> Any:
        """One field's normal form as the wire wants it (whole value; property strings complete)."""
        if name == "sshkeys":
            return ssh_keys_text(value)
        if isinstance(value, list):
            return (";" if name == "tags" else ",").join(str(embedded(item)) for item in value)
        if isinstance(value, Mapping):
            param = self.param(name)
            given = {k: embedded(v) for k, v in value.items() if v is not None}
            return formats.print_(param.facts["format"] if param else {}, given)
        return value

    def _volume(self, name: str, options: Mapping[str, Any], current: Mapping[str, Any]) -> str:
        """A drive or mount point for the wire: the volume it has, or a new one to allocate."""
        key = VOLUME_KEY[self.flavour]
        given = {k: embedded(v) for k, v in options.items() if k not in ("storage", "size") and v is not None}
        if key not in given:
            if current.get(key):
                given[key] = current[key]
            else:
                size = size_of(str(options["size"])) / (1024 * MIB) if options.get("size") else 0
                if options.get("import-from"):
                    size = 0
                given[key] = f"{embedded(options.get('storage'))}:{size:g}"
        if self.flavour == "lxc" and current.get("size") and given[key] == current.get(key):
            given["size"] = current["size"]  # a container's configuration keeps what was sent and nothing else
        param = self.param(name)
        return formats.print_(param.facts["format"] if param else {}, given)

    def _net(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        if self.flavour == "qemu":
            given.setdefault("model", "virtio")
        else:
            given.setdefault("name", f"eth{name.removeprefix('net')}")
        return given

    def _compose(self, name: str, whole: Mapping[str, Any], current: Any) -> Any:
        """The complete wire value of a field that is made of sub-keys, from its leaves after the change."""
        if is_volume(self.flavour, name):
            return self._volume(name, whole, current if isinstance(current, Mapping) else {})
        if re.fullmatch(r"net\d+", name):
            whole = self._net(name, dict(whole))
        return self._wire(name, whole)

    def _created(self, wanted: Wanted) -> tuple[str, ...]:
        """The leaves that a creation call brings; power and what follows from the rest come after it."""
        later = ("power", "started", "template")
        return tuple(leaf for leaf in leaves(wanted.fields) if leaf not in later)

    def _number(self, wanted: Wanted) -> Any:
        """The VMID of a new guest, or what stands for it."""
        return wanted.key.get("vmid") or f"${{vmid:{wanted.ref}}}"

    def _introduced(self, wanted: Wanted, uid: str) -> dict[str, Any]:
        """What every creation says: the description with the mark, the pool."""
        text = self._described(wanted.fields.get("description"), uid, wanted.ref, wanted.key.get("vmid"))
        return {"description": text, **({"pool": wanted.fields["pool"]} if wanted.fields.get("pool") else {})}

    def _initial(self, wanted: Wanted) -> dict[str, Any]:
        """Fields of a creation call."""
        params: dict[str, Any] = {}
        later = ("power", "started", "node", "pool", "template", "description", "cloudInitDrive")
        for name, value in wanted.fields.items():
            if value is None or name in later:
                continue
            if isinstance(value, Mapping):
                extra = {
                    leaf.partition(".")[2]: inner for leaf, inner in wanted.once.items() if leaf.startswith(f"{name}.")
                }
                params[name] = self._compose(name, {**value, **extra}, {})
            else:
                params[name] = self._wire(name, value)
        return params

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """Steps for ``changes`` (leaf -> value or None): configuration first, then moves, growth, power, placement."""
        base = self._base(live.key)
        draft = self._draft(live, changes, wanted, base)
        if self.flavour == "qemu":
            self._order_devices(draft, live, wanted, base)
        steps = [*self._configuring(draft, live, changes, wanted, base), *draft.after, *self._pooling(live, changes)]
        if changes.get("template"):
            steps.append(Step("POST", f"{base}/template", {}, ("template",), "convert to a template"))
        return [*steps, *self._migration(live, changes), *self._powering(live, changes)]

    def _draft(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None, base: str) -> Draft:
        draft = Draft()
        by_name: dict[str, dict[str, Any]] = {}
        for leaf, value in changes.items():
            name, dot, sub = leaf.partition(".")
            if name in ("power", "started", "node", "pool", "template"):
                continue
            if dot:
                by_name.setdefault(name, {})[sub] = value
                continue
            draft.written.append(leaf)
            if name == "cloudInitDrive":
                if value:
                    slot, storage = self._cloud_init_slot(live, wanted)
                    draft.sets[slot] = f"{storage}:cloudinit"
            elif name == "description":
                mark = live.extra.get("mark")
                draft.put(name, self._described(value, mark.uid, mark.ref, mark.vmid) if mark else value or None)
            elif isinstance(value, Mapping):
                draft.put(name, self._compose(name, value, {}))
            else:
                draft.put(name, None if value is None else self._wire(name, value))
        for name, subs in by_name.items():
            self._draft_parts(draft, live, name, subs, wanted, base)
        return draft

    def _draft_parts(
        self, draft: Draft, live: Live, name: str, subs: Mapping[str, Any], wanted: Wanted | None, base: str
    ) -> None:
        """One field of which some sub-keys change; volumes are moved and grown by calls of their own."""
        current = live.fields.get(name)
        current = dict(current) if isinstance(current, Mapping) else {}
        volume = is_volume(self.flavour, name)
        whole = {**current, **subs}
        plain = {sub: value for sub, value in subs.items() if not (volume and current and sub in ("size", "storage"))}
        if plain or not current:
            if volume and not current and wanted:
                whole |= {k.partition(".")[2]: v for k, v in wanted.once.items() if k.startswith(f"{name}.")}
            draft.sets[name] = self._compose(name, {k: v for k, v in whole.items() if v is not None}, current)
            draft.written.extend(f"{name}.{sub}" for sub in (plain if current else subs))
        if not (volume and current):
            return
        if subs.get("storage"):
            key, action = ("disk", "move_disk") if self.flavour == "qemu" else ("volume", "move_volume")
            params = {key: name, "storage": subs["storage"], "delete": 1}
            note = f"move {name} to {subs['storage']}"
            draft.after.append(Step("POST", f"{base}/{action}", params, (f"{name}.storage",), note))
        elif "storage" in subs:
            draft.written.append(f"{name}.storage")
        if subs.get("size"):
            params = {"disk": name, "size": formats.format_size(size_of(str(subs["size"])))}
            note = f"grow {name} to {subs['size']}"
            draft.after.append(Step("PUT", f"{base}/resize", params, (f"{name}.size",), note))
        elif "size" in subs:
            draft.written.append(f"{name}.size")

    def _order_devices(self, draft: Draft, live: Live, wanted: Wanted | None, base: str) -> None:
        """The boot order as it shall be; in a call of its own where the server would change what this one says."""
        ordered = wanted is not None and "boot" in wanted.fields
        reorders = self._reorders(live, draft.sets)
        if reorders and wanted and ordered and not draft.touches("boot"):
            draft.sets["boot"] = self._compose("boot", wanted.fields["boot"], {})
        if str(draft.sets.get("boot", "")).startswith("order="):
            # An order that was found may name a drive that has gone since, or goes with this very call.
            gone = set(draft.drops)
            devices = str(draft.sets["boot"]).removeprefix("order=").split(";")
            if not ordered:
                gone |= set(devices) - live.fields.keys() - draft.sets.keys()
            draft.sets["boot"] = "order=" + ";".join(device for device in devices if device not in gone)
        if reorders and draft.touches("boot"):
            of_boot = tuple(leaf for leaf in draft.written if leaf.partition(".")[0] == "boot")
            draft.written = [leaf for leaf in draft.written if leaf not in of_boot]
            note = "put the boot order right"
            draft.after.insert(0, Step("PUT", f"{base}/config", draft.take("boot"), of_boot, note))

    @staticmethod
    def _reorders(live: Live, sets: Mapping[str, Any]) -> bool:
        """Whether the server puts CD drives that it is told of into its boot order, whatever the call says of that."""
        order = re.search(r"order=([^,]*)", str(live.extra.get("raw", {}).get("boot", "")))
        known = order[1].split(";") if order else []
        return bool(known) and any("media=cdrom" in str(value) and name not in known for name, value in sets.items())

    def _configuring(
        self, draft: Draft, live: Live, changes: Mapping[str, Any], wanted: Wanted | None, base: str
    ) -> list[Step]:
        """The configuration call, after one that lifts the protection where it needs to be."""
        steps = []
        digest = {"digest": live.extra["digest"]} if live.extra.get("digest") else {}
        if live.fields.get("protection") and (lift := self._lift(draft, changes, wanted)):
            # The server looks at the protection as it is, not as the same call leaves it.
            lifted: tuple[str, ...] = ()
            if "protection" in changes:
                lifted = ("protection",)
                draft.written.remove("protection")
            else:
                draft.sets["protection"] = 1
            steps.append(Step("PUT", f"{base}/config", lift | digest, lifted, "lift the protection"))
            digest = {}
        if draft.sets or draft.drops:
            params = draft.sets | ({"delete": ",".join(draft.drops)} if draft.drops else {})
            steps.append(Step("PUT", f"{base}/config", params | digest, tuple(draft.written), "configure"))
        return steps

    def _lift(self, draft: Draft, changes: Mapping[str, Any], wanted: Wanted | None) -> dict[str, Any]:
        """What switches the protection off before a configuration call that it is in the way of, if it may go.

        It goes for good with the disks that go with it. Where the manifest says that it shall be there after the call
        it is off for a moment while volumes are detached, or a container's changed: neither loses data.
        """
        changed = any(is_volume(self.flavour, name) for name in (*draft.sets, *draft.drops))
        if not changes.get("protection", True):
            return draft.take("protection") if changed else {}
        refused = changed if self.flavour == "lxc" else any(is_volume(self.flavour, name) for name in draft.drops)
        kept = wanted is not None and bool(wanted.fields.get("protection"))
        return {"protection": 0} if kept and refused else {}

    @staticmethod
    def _pooling(live: Live, changes: Mapping[str, Any]) -> list[Step]:
        if changes.get("pool"):
            params = {"poolid": changes["pool"], "vms": live.key["vmid"], "allow-move": 1}
            return [Step("PUT", "/pools", params, ("pool",), f"move to pool {changes['pool']}")]
        if "pool" in changes and live.fields.get("pool"):
            params = {"poolid": live.fields["pool"], "vms": live.key["vmid"], "delete": 1}
            return [Step("PUT", "/pools", params, ("pool",), "leave the pool")]
        return []

    def _migration(self, live: Live, changes: Mapping[str, Any]) -> list[Step]:
        target = changes.get("node")
        if not target:
            return []
        if target == live.key["node"]:
            return [Step("", "", {}, ("node",), "already there")]
        params: dict[str, Any] = {"target": target}
        if live.extra.get("status") == "running":
            params |= {"online": 1} if self.flavour == "qemu" else {"restart": 1}
        if self.flavour == "qemu" and live.extra.get("status") == "running":
            params["with-local-disks"] = 1
        return [Step("POST", f"{self._base(live.key)}/migrate", params, ("node",), f"migrate to {target}")]

    def _powering(self, live: Live, changes: Mapping[str, Any]) -> list[Step]:
        base = self._base({**live.key, "node": changes.get("node") or live.key["node"]})
        power = changes.get("power") or ("running" if changes.get("started") else None)
        if power == "running" and "started" in changes and live.extra.get("status") == "running":
            return [Step("", "", {}, ("started",), "already running")]
        if power == "running":
            leaves = tuple(name for name in ("power", "started") if name in changes)
            return [Step("POST", f"{base}/status/start", {}, leaves, "start")]
        if power == "stopped":
            params = {"forceStop": 1, "timeout": 60}
            return [Step("POST", f"{base}/status/shutdown", params, ("power",), "shut down")]
        return []

    def _cloud_init_slot(self, live: Live, wanted: Wanted | None) -> tuple[str, str]:
        """A free slot for the cloud-init drive, and its storage: the asked-for one, else that of the boot disk."""
        taken = set(live.extra.get("raw", live.fields)) | set(wanted.fields if wanted else ())
        slot = next(s for s in ("ide2", "ide0", "ide3", "ide1", "sata5", "sata4", "scsi30") if s not in taken)
        return slot, self._cloud_init_storage(live.fields, wanted)

    def _cloud_init_storage(self, fields: Mapping[str, Any], wanted: Wanted | None) -> str:
        if wanted and wanted.once.get("cloudinit.storage"):
            return str(wanted.once["cloudinit.storage"])
        for source in (wanted.fields if wanted else {}, fields):
            for name, value in source.items():
                if is_volume("qemu", name) and isinstance(value, Mapping) and value.get("storage"):
                    return str(value["storage"])
        return "local-lvm"

    def delete(self, live: Live) -> list[Step]:
        base = self._base(live.key)
        steps = []
        if live.extra.get("status") in ("running", "paused"):
            steps.append(Step("POST", f"{base}/status/stop", {}, (), "stop", undoes=("started",)))
        seen = {"was": traits(live.extra.get("raw", {}))}
        return [*steps, Step("DELETE", base, {}, (), "destroy", deletes=True, seen=seen)]

    def losses(self, live: Live) -> list[str]:
        found = []
        for name, value in sorted(live.fields.items()):
            if is_volume(self.flavour, name) and isinstance(value, Mapping):
                volume = str(value.get(VOLUME_KEY[self.flavour], ""))
                if ":" in volume and value.get("media") != "cdrom":
                    found.append(f"{name} {volume} {value.get('size', '')}".rstrip())
        # What was detached and kept goes with its guest: the server destroys it, too.
        raw = live.extra.get("raw") or {}
        return found + [f"{name} {raw[name]}" for name in sorted(raw) if name.startswith("unused")]

    def marked(self, live: Live, uid: str, ref: str) -> Live:
        return replace(live, extra={**live.extra, "mark": Mark(uid, ref, str(live.key["vmid"]))})

    def mark(self, live: Live, uid: str, ref: str) -> list[Step]:
        """Put the ownership mark on an existing guest, keeping its text; ``uid`` '' takes the mark away."""
        text = live.fields.get("description", "")
        params: dict[str, Any] = {"description": self._described(text, uid, ref, live.key["vmid"]) if uid else text}
        if not params["description"]:
            params = {"delete": "description"}
        if live.extra.get("digest"):
            params["digest"] = live.extra["digest"]
        return [
            Step("PUT", f"{self._base(live.key)}/config", params, (), "mark as owned" if uid else "take the mark away")
        ]

    # -- what a creation needs ---------------------------------------------------------------------------------

    async def prepare(self, wanted: Wanted, get: Get) -> tuple[Mapping[str, Any], list[Problem]]:
        problems: list[Problem] = []
        everything = await resources(get)
        nodes = {r["node"]: r for r in everything if r["type"] == "node"}
        node = str(wanted.key.get("node"))
        if node not in nodes:
            problems.append(Problem("node", f"there is no node {node!r}", f"nodes: {', '.join(sorted(nodes))}"))
        elif nodes[node].get("status", "online") != "online":
            problems.append(Problem("node", f"node {node!r} is {nodes[node]['status']}"))
        for row in everything:
            if row["type"] not in ("qemu", "lxc") or str(row.get("vmid")) == str(wanted.once.get("replaces")):
                continue
            if wanted.key.get("vmid") and str(row.get("vmid")) == str(wanted.key["vmid"]):
                problems.append(
                    Problem("vmid", f"VMID {wanted.key['vmid']} is taken by {row.get('name') or row['id']}")
                )
            elif row.get("name") == wanted.name and (row.get("pool") or "default") == (wanted.namespace or "default"):
                problems.append(
                    Problem(
                        "",
                        f"a guest named {wanted.name!r} (VMID {row['vmid']}) is there already, not of this release",
                        f"rename one, or take it over: --take-ownership {wanted.ref} and spec.vmid: {row['vmid']}; "
                        "`pvehelm store rebuild` shows whether it is of this release, and the store an old copy",
                    )
                )
        if node in nodes:
            problems += await self._missing_places(wanted, get, everything, node)
        return {"resources": everything}, problems

    async def _missing_places(self, wanted: Wanted, get: Get, everything: list[Any], node: str) -> list[Problem]:
        problems = []
        here = {r["storage"] for r in everything if r["type"] == "storage" and r["node"] == node}
        for name, value in wanted.fields.items():
            if not isinstance(value, Mapping):
                continue
            storage = value.get("storage")
            if is_volume(self.flavour, name) and storage and storage not in here and not is_secret(storage):
                hint = seen("storages", here, "Datastore.Audit")
                problems.append(Problem(f"{name}.storage", f"there is no storage {storage!r} on node {node}", hint))
            bridge = value.get("bridge")
            if re.fullmatch(r"net\d+", name) and bridge and not is_secret(bridge):
                bridges = {r["iface"] for r in await get(f"/nodes/{node}/network", type="any_bridge") or []}
                if bridge not in bridges:
                    hint = f"bridges there: {', '.join(sorted(bridges))}"
                    problems.append(Problem(f"{name}.bridge", f"there is no bridge {bridge!r} on node {node}", hint))
        return problems
