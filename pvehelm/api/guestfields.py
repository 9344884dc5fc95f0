"""The native fields of guests: their normal form, and when two values of one mean the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.api import formats
from pvehelm.api.kind import Kind
from pvehelm.api.lowering import MIB, VOLUME_KEY, collapse, is_volume, size_of, ssh_keys
from pvehelm.api.mark import split_mark
from pvehelm.api.schema import Facts, Operation, Param
from pvehelm.errors import InvalidError

# Server-made or otherwise not a matter of a manifest.
HIDDEN = frozenset({"meta", "lock", "parent", "snaptime", "vmstate", "runningmachine", "runningcpu"})
# Parameters of calls that are no fields of a guest.
NO_FIELDS = frozenset({"node", "vmid", "digest", "delete"})
# Weights are stored within what the node's control groups take: the second version's, or the first's.
CPU_UNITS = ((1, 10000), (2, 262144))
_MACHINE = {"pc": "pc-i440fx-", "q35": "pc-q35-", "virt": "virt-"}
_NEW_VOLUME = re.compile(r"[^:]+:(\d+(?:\.\d+)?)")
_CLOUD_INIT = re.compile(r"(^|[:/-])(vm-\d+-)?cloudinit(\.|,|\Z)")

Reading = Callable[[Any], Any]


def is_cloud_init(value: Any) -> bool:
    """Whether the wire's text of a drive, or the volume of one, is a cloud-init drive's."""
    text = str(value)
    return "cloudinit" in text and ":" in text and bool(_CLOUD_INIT.search(text.split(",", 1)[0] + ","))


class GuestFields(Kind):
    """What both kinds of guests know of their fields. What the schema says of one is worked out once."""

    flavour: str
    post: Operation
    put: Operation

    def __init__(self) -> None:
        self._params: dict[str, Param | None] = {}
        self._readings: dict[str, Reading | None] = {}

    def param(self, name: str) -> Param | None:
        """The parameter behind a native field (``net0`` finds ``net[n]``); None for what no manifest sets."""
        try:
            return self._params[name]
        except KeyError:
            found = None if name in NO_FIELDS else self.put.param(name) or self.post.param(name)
            return self._params.setdefault(name, found)

    # -- normal form -------------------------------------------------------------------------------------------

    def normal(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration as the server shows it, in normal form."""
        fields: dict[str, Any] = {}
        cloud_init = False
        for name, value in config.items():
            try:
                reading = self._readings[name]
            except KeyError:
                reading = self._readings[name] = self._reading(name)
            if reading is not None:
                fields[name] = reading(value)
            cloud_init = cloud_init or is_cloud_init(value)
        if cloud_init:
            fields["cloudInitDrive"] = True
        return fields

    def _reading(self, name: str) -> Reading | None:
        """How the wire's value of a field becomes its normal form; None for what is left out."""
        param = self.param(name)
        if name in HIDDEN or param is None:
            return None
        facts = param.facts
        if name == "description":
            return lambda value: split_mark(str(value))[0]
        if name == "sshkeys":
            return ssh_keys
        if known := formats.subkeys(facts):
            volume = is_volume(self.flavour, name)
            return lambda value: self._property_string(facts, known, volume, str(value))
        if name == "tags" or str(facts.get("format", "")).endswith("-list"):
            return lambda value: formats.split_list(str(value))
        return lambda value: value

    def _property_string(self, facts: Facts, known: Mapping[str, Facts], volume: bool, value: str) -> Any:
        try:
            parsed = formats.parse(facts["format"], value, values=False)
        except InvalidError:
            # Older or newer servers may write what this schema does not know; it can still be shown and kept.
            return value
        if volume:
            text = str(parsed.get(VOLUME_KEY[self.flavour], ""))
            storage, colon, _ = text.partition(":")
            if colon and not text.startswith("/"):
                parsed["storage"] = storage
                if "size" not in parsed and (new := _NEW_VOLUME.fullmatch(text)):
                    # A volume that waits for the next start is still the request for it.
                    parsed["size"] = formats.format_size(int(float(new[1]) * 1024 * MIB))
        return collapse(parsed, known)

    # -- comparing ---------------------------------------------------------------------------------------------

    def same(self, leaf: str, wanted: Any, live: Any) -> bool:
        """See Kind.same."""
        if type(wanted) is type(live) and wanted == live:
            return True
        name, dot, sub = leaf.partition(".")
        if name == "unprivileged":
            wanted, live = wanted or 0, live or 0  # the server leaves it out where it is off
        if wanted in (None, "") or live in (None, ""):
            return wanted in (None, "") and live in (None, "")
        if name in ("power", "node", "pool", "started", "cloudInitDrive"):
            return bool(wanted == live)
        if name == "sshkeys":
            return ssh_keys(wanted) == ssh_keys(live)
        if name == "vmgenid" and str(wanted) == "1":
            return str(live) != "0"  # asks for one of the server's making
        if name == "cpuunits":
            return any(max(low, min(high, int(wanted))) == int(live) for low, high in CPU_UNITS)
        if leaf in ("machine", "machine.type") and (kind := _MACHINE.get(str(wanted))):
            # A Windows guest gets the newest version of its kind at creation and keeps it.
            return str(live) == wanted or str(live).startswith(kind)
        if name == "description":
            return str(wanted).rstrip() == str(live).rstrip()
        param = self.param(name)
        if param is None:
            return bool(wanted == live)
        if not dot:
            known = formats.subkeys(param.facts)
            if known and not isinstance(wanted, Mapping):
                default = next((facts for facts in known.values() if facts.get("default_key")), None)
                return formats.same(default or param.facts, wanted, live)
            return formats.same(param.facts, wanted, live)
        if sub == "storage":
            return bool(wanted == live)
        if sub == "size":
            return size_of(str(wanted)) == size_of(str(live))
        if sub == VOLUME_KEY[self.flavour] and str(wanted).endswith(":cloudinit"):
            return is_cloud_init(live) and str(live).startswith(str(wanted).split(":")[0] + ":")
        return formats.same((formats.subkeys(param.facts) or {}).get(sub, {}), wanted, live)
