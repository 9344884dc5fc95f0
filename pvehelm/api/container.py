"""Containers: made from an OS template's volume."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pvehelm.api import formats
from pvehelm.api.guestcalls import GuestCalls
from pvehelm.api.guests import POWER, seen
from pvehelm.api.kind import Get, Live, Step, Wanted
from pvehelm.api.lowering import Lowering, Path, is_secret, ssh_keys
from pvehelm.api.schema import Facts
from pvehelm.api.table import in_release
from pvehelm.errors import Problem

# Every container has them, and none can be taken away.
LASTING = ("arch", "hostname", "memory", "ostype", "rootfs")


class ContainerKind(GuestCalls):
    name = "Container"
    plural = "containers"
    short = ("ct", "cts", "lxc")
    flavour = "lxc"
    name_field = "hostname"
    friendly = ("cpu", "memory", "networks", "rootfs", "mounts", "image", "password", "sshKeys", "isTemplate", "power")
    cpu_keys: ClassVar[Mapping[str, str]] = {"cores": "cores", "limit": "cpulimit", "units": "cpuunits"}
    memory_keys: ClassVar[Mapping[str, str]] = {"size": "memory", "swap": "swap"}

    def can_unset(self, leaf: str) -> bool:
        return leaf not in LASTING

    def refusal(self, leaf: str, before: Any, after: Any, live: Live) -> str:
        if after is None and not self.can_unset(leaf):
            return f"{leaf} can't be unset; give it another value, or leave it out to let it be"
        return super().refusal(leaf, before, after, live)

    def friendly_facts(self) -> Mapping[str, Facts]:
        text: Facts = {"type": "string", "optional": 1}
        volume = {"storage": {"type": "string"}, "size": {"type": "string", "format": "disk-size"}}

        def options(name: str) -> dict[str, Facts]:
            return {
                k: v
                for k, v in (formats.subkeys(self.params[name].facts) or {}).items()
                if "alias" not in v and k != "size"
            }

        return {
            "node": {"type": "string", "format": "pve-node"},
            "vmid": {"type": "integer", "optional": 1, "minimum": 100, "maximum": 999999999},
            "image": {"type": "string", "once": 1},
            "cpu": {
                "type": "object",
                "optional": 1,
                "properties": {k: self.params[v].facts for k, v in self.cpu_keys.items()},
            },
            "memory": {
                "type": "integer",
                "optional": 1,
                "properties": {k: self.params[v].facts for k, v in self.memory_keys.items()},
            },
            "rootfs": {"type": "object", "properties": volume | options("rootfs")},
            "mounts": {
                "type": "object",
                "optional": 1,
                "properties": volume | {"path": {"type": "string"}} | options("mp[n]"),
            },
            "networks": {"type": "array", "optional": 1, "properties": {"slot": text} | options("net[n]")},
            "password": {**text, "once": 1, "minLength": 5},
            "sshKeys": {"type": "array", "optional": 1, "once": 1},
            "power": {"type": "string", "optional": 1, "enum": list(POWER)},
        }

    def _spec_rootfs(self, low: Lowering, value: Any, path: Path) -> None:
        low.volume("rootfs", value, path)

    def _spec_mounts(self, low: Lowering, value: Any, path: Path) -> None:
        def mount(slot: str, inner: Any, where: Path) -> None:
            if not re.fullmatch(r"mp\d+", slot):
                low.problem(where, f"there is no mount slot {slot!r}", "mp0 to mp255")
                return
            low.volume(slot, inner, where)
            if isinstance(inner, Mapping) and not (inner.get("path") or inner.get("mp")):
                low.problem(where, f"{slot} needs a path in the container", "path: /srv/data")

        low.slots(value, path, "mp", mount)

    def _spec_image(self, low: Lowering, value: Any, path: Path) -> None:
        if not isinstance(value, str) or not value:
            low.problem(path, "expected the volume of an OS template", "storage:vztmpl/NAME.tar.zst")
            return
        low.once["ostemplate"] = value
        low.origins["once.ostemplate"] = path
        low.needs.append(f"volume:{value}")

    def _spec_password(self, low: Lowering, value: Any, path: Path) -> None:
        low.check("password", self.params["password"].facts, value, path)
        low.once["password"] = value

    def _spec_sshkeys(self, low: Lowering, value: Any, path: Path) -> None:
        low.once["ssh-public-keys"] = value if is_secret(value) else "\n".join(ssh_keys(value))

    def _spec_istemplate(self, low: Lowering, value: Any, path: Path) -> None:
        if value:
            low.put("template", 1, path)

    def _complete(self, low: Lowering, spec: Mapping[str, Any]) -> None:
        self._start_once(low, spec)
        # Older servers take a container for a privileged one where nothing is said, and root in it is root outside.
        if spec.get("unprivileged") is None and in_release(self.schema.release, "", "9.0"):
            low.privileged.append("unprivileged")
        # A pinned VMID may be that of a container that is there, and no server tells what it was made from.
        if "ostemplate" not in low.once and "image" not in spec and not spec.get("vmid"):
            low.problem(("spec", "image"), "a container needs an image", "image: local:vztmpl/NAME.tar.zst")
        if not isinstance(low.fields.get("rootfs"), Mapping):
            if "rootfs" not in spec:
                low.problem(
                    ("spec", "rootfs"), "a container needs a rootfs", "rootfs: { storage: local-lvm, size: 8G }"
                )
        elif not low.fields["rootfs"].get("size") and not low.fields["rootfs"].get("volume"):
            low.problem(("spec", "rootfs"), "the new rootfs needs a size", "size: 8G")

    async def _missing_places(self, wanted: Wanted, get: Get, everything: list[Any], node: str) -> list[Problem]:
        problems = await super()._missing_places(wanted, get, everything, node)
        image = str(wanted.once.get("ostemplate", ""))
        if not image:
            what = f"there is no container {wanted.key.get('vmid')}, and a new one needs an image"
            return [*problems, Problem("image", what, "image: local:vztmpl/NAME.tar.zst")]
        storage, colon, rest = image.partition(":")
        here = {r["storage"] for r in everything if r["type"] == "storage" and r["node"] == node}
        if not colon or storage not in here:
            problems.append(
                Problem(
                    "image",
                    f"there is no storage {storage!r} on node {node}",
                    seen("storages", here, "Datastore.Audit"),
                )
            )
        elif rest.startswith("vztmpl/"):
            rows = await get(f"/nodes/{node}/storage/{storage}/content", content="vztmpl")
            volumes = [row["volid"] for row in rows or []]
            if image not in volumes:
                problems.append(
                    Problem(
                        "image",
                        f"there is no OS template {image!r} on node {node}",
                        f"there: {', '.join(volumes) or 'none'}",
                    )
                )
        return problems

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        once = {name: value for name, value in wanted.once.items() if "." not in name and value is not None}
        introduced = {"vmid": self._number(wanted), **self._introduced(wanted, context["uid"])}
        params = {**introduced, **once, **self._initial(wanted)}
        return [Step("POST", f"/nodes/{wanted.key['node']}/lxc", params, self._created(wanted), "create", creates=True)]
