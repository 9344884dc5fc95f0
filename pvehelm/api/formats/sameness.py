"""When two spellings of a value mean the same: the one home of normalisation.

``same`` is reflexive and symmetric. It knows what the server rewrites (upper-case MACs, sorted tags, sizes, volume ids
for ``STORAGE:GIBIBYTES``) and what it fills in by itself (a MAC, a size, ``type=veth``), and treats nothing, blank text
and an empty list alike, since an empty value is how a field is cleared.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from pvehelm.api.formats import named, propstring
from pvehelm.api.formats.check import RULES
from pvehelm.api.formats.units import is_integer, is_number, parse_boolean, parse_size, split_list, wire_text

Facts = Mapping[str, Any]

# Lists whose order says something; all others are sets.
_ORDERED = frozenset({"pve-qm-bootdev", "address", "dns-name", "lxc-ip-with-ll-iface"})
# Sub-keys whose ``;`` lists are ordered.
_ORDERED_SUBKEYS = frozenset({"order", "host", "path"})
_COMMA_SETS = frozenset({"pve-fw-addr-spec", "pve-fw-sport-spec", "pve-fw-dport-spec"})
_VOLUME_FORMATS = frozenset({"pve-volume-id-or-qm-path", "pve-lxc-mp-string"})
_REQUEST = re.compile(r"([^:/]+):(\d+(?:\.\d+)?)")
_IMAGE_SUFFIX = re.compile(r"\.(raw|qcow2|qcow|qed|vmdk|cloop|subvol)\Z")
_DEFAULT_HOTPLUG = frozenset({"network", "disk", "usb"})


def same(param: Facts, wanted: Any, live: Any) -> bool:
    """Whether ``wanted`` and ``live`` (as read from the server, None if absent) mean the same for the parameter."""
    if type(wanted) is type(live) and wanted == live:
        return True
    if _is_nothing(wanted) or _is_nothing(live):
        return _negligible(param, wanted) and _negligible(param, live)
    kind, fmt = param.get("type"), param.get("format")
    if kind == "array":
        return _same_items(param.get("items") or {}, _as_list(wanted), _as_list(live))
    if named.is_list(fmt):
        return bool(_list_key(str(fmt), wanted) == _list_key(str(fmt), live))
    if fmt == "pve-hotplug-features":
        return _hotplug_key(wanted) == _hotplug_key(live)
    keys = propstring.keys_of(fmt)
    if keys is not None:
        return _same_property_strings(fmt, propstring.define(keys), wanted, live)
    if kind == "object" and isinstance(wanted, Mapping) and isinstance(live, Mapping):
        members = param.get("properties") or {}
        return all(same(members.get(key, {}), wanted.get(key), live.get(key)) for key in {*wanted, *live})
    if kind == "string" and {type(wanted), type(live)} == {str, list}:
        # A list that the schema calls a plain string (registered-tags).
        return bool(_list_key("string-list", wanted) == _list_key("string-list", live))
    if isinstance(wanted, Mapping | list | tuple) or isinstance(live, Mapping | list | tuple):
        return _same_structures(wanted, live)
    return bool(_scalar_key(param, wanted) == _scalar_key(param, live))


def _is_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, Mapping):
        return all(item is None for item in value.values())
    return value is None or (isinstance(value, list | tuple | set | frozenset) and not value)


def _negligible(param: Facts, value: Any) -> bool:
    """Whether a value says no more than its absence: nothing at all, or false where false is the known default."""
    if _is_nothing(value):
        return True
    if param.get("type") != "boolean" or "default" not in param:
        return False
    return parse_boolean(wire_text(param, value)) is False and parse_boolean(str(param["default"])) is False


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | set | frozenset) else [value]


def _same_items(items: Facts, wanted: Sequence[Any], live: Sequence[Any]) -> bool:
    if len(wanted) != len(live):
        return False
    rest = list(live)
    for item in wanted:
        match = next((i for i, other in enumerate(rest) if same(items, item, other)), None)
        if match is None:
            return False
        del rest[match]
    return True


def _same_structures(wanted: Any, live: Any) -> bool:
    """Values that the facts do not describe: objects member by member, lists in order, else the plain text."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(same({}, wanted.get(key), live.get(key)) for key in {*wanted, *live})
    if isinstance(wanted, list | tuple) and isinstance(live, list | tuple):
        return len(wanted) == len(live) and all(same({}, one, other) for one, other in zip(wanted, live, strict=True))
    return False


def _list_key(fmt: str, value: Any) -> Any:
    base = fmt.rpartition("-")[0]
    if isinstance(value, Mapping):
        pairs = value.items()
        texts = [f"{k}={v}" for k, v in pairs] if base == "pve-dir-override" else [k for k, v in pairs if v]
    elif isinstance(value, list | tuple | set | frozenset):
        texts = [piece for item in value for piece in split_list(wire_text({}, item))]
    else:
        texts = split_list(wire_text({}, value))
    keys = [_item_key(base, text) for text in texts]
    return tuple(keys) if base in _ORDERED else frozenset(keys)


def _item_key(base: str, text: str) -> Any:
    if base == "pve-tag":
        return text.lower()
    if base in ("pve-ha-node", "pve-ha-group-node"):
        return text.removesuffix(":0")
    return _text_key(base, text)


def _hotplug_key(value: Any) -> frozenset[str]:
    text = wire_text({}, value)
    if text == "1":
        return _DEFAULT_HOTPLUG
    return frozenset() if text == "0" else frozenset(split_list(text))


def _scalar_key(param: Facts, value: Any, subkey: str | None = None) -> Any:
    """Something equal for equal meanings of a scalar."""
    text = wire_text(param, value)
    kind = param.get("type")
    if kind == "boolean":
        flag = parse_boolean(text)
        return text if flag is None else flag
    if kind in ("integer", "number") and is_number(text):
        return int(text) if is_integer(text) and len(text) < 100 else float(text.replace(" ", ""))
    fmt = param.get("format")
    if isinstance(fmt, str):
        return _list_key(fmt, text) if named.is_list(fmt) else _text_key(fmt, text)
    if subkey is not None and subkey not in _ORDERED_SUBKEYS and ";" in text:
        return frozenset(text.split(";"))
    return _plain(text)


def _text_key(fmt: str, text: str) -> Any:
    normalise = _NORMALISERS.get(fmt)
    if normalise is not None:
        try:
            return normalise(text)
        except ValueError:
            return text
    if fmt in _COMMA_SETS:
        return frozenset(_address(item) for item in text.split(","))
    return _plain(text)


def _plain(text: str) -> str:
    # Containers and node settings come back with a newline that nobody sent; one-line texts are trimmed.
    text = text.rstrip("\n")
    return text if "\n" in text else text.strip()


def _address(text: str) -> Any:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return text


def _network(text: str) -> Any:
    # Entries of an IP set: the server clears the host bits.
    return ipaddress.ip_network(text, strict=False)


_NORMALISERS: dict[str, Callable[[str], Any]] = {
    "mac-addr": str.upper,
    "mac-prefix": lambda text: text.upper().rstrip(":"),
    "disk-size": parse_size,
    "urlencoded": lambda text: unquote(text).strip(),
    "ip": ipaddress.ip_address,
    "ipv4": ipaddress.ip_address,
    "ipv6": ipaddress.ip_address,
    "address": ipaddress.ip_address,
    "CIDR": ipaddress.ip_interface,
    "CIDRv4": ipaddress.ip_interface,
    "CIDRv6": ipaddress.ip_interface,
    "IPorCIDR": ipaddress.ip_interface,
    "IPorCIDRorAlias": _network,
    "pve-ipv4-config": ipaddress.ip_interface,
    "pve-ipv6-config": ipaddress.ip_interface,
}


# -- property strings ------------------------------------------------------------------------------------------


def _same_property_strings(fmt: Any, definition: propstring.Definition, wanted: Any, live: Any) -> bool:
    one, other = _as_object(fmt, definition, wanted), _as_object(fmt, definition, live)
    if one is None or other is None:
        return wire_text({}, wanted) == wire_text({}, live) if one is other else False
    default = definition.default_key
    if default and definition.keys[default].get("format") in _VOLUME_FORMATS:
        if not _match_volumes(definition, default, one, other):
            return False
        del one[default], other[default]
    return all(_same_member(definition, key, one.get(key), other.get(key)) for key in one.keys() | other.keys())


def _as_object(fmt: Any, definition: propstring.Definition, value: Any) -> dict[str, str] | None:
    """A new object with real keys and texts, or None if the value does not follow the syntax."""
    if isinstance(value, Mapping):
        result: dict[str, Any] = {}
        for key, item in value.items():
            real, carrier = definition.alias_of(key)
            if carrier is not None:
                result[carrier] = key
            if item is not None:
                result[real] = wire_text(definition.keys.get(real, {}), item)
    else:
        result, problems = propstring.decode(definition, wire_text({}, value))
        if problems:
            return None
    if fmt == "prune-backups":
        try:
            result, _ = RULES[fmt](result)
        except ValueError:
            return None
    return {key: str(item) for key, item in result.items()}


def _same_member(definition: propstring.Definition, key: str, one: str | None, other: str | None) -> bool:
    sub = definition.keys.get(key, {})
    if one is None or other is None:
        return _filled_in_by_server(sub) or (key == "media" and "disk" in (one, other))
    return bool(_scalar_key(sub, one, key) == _scalar_key(sub, other, key))


def _filled_in_by_server(sub: Facts) -> bool:
    """Whether the server supplies this sub-key when it is left out: a MAC, a measured size, the only possible word."""
    if not sub.get("optional"):
        return False
    return sub.get("format") in ("mac-addr", "disk-size") or len(sub.get("enum") or ()) == 1


def _match_volumes(definition: propstring.Definition, key: str, one: dict[str, str], other: dict[str, str]) -> bool:
    """Compare the volumes of two drives or mount points; drops what the comparison has settled from both."""
    if key not in one or key not in other:
        return False
    for drive in (one, other):
        if drive[key] in ("none", "cdrom") or drive[key].endswith(":cloudinit"):
            drive["media"] = "cdrom"
        # Where the content came from is never stored.
        drive.pop("import-from", None)
    first, second = _REQUEST.fullmatch(one[key]), _REQUEST.fullmatch(other[key])
    if first and second:
        return first[1] == second[1] and float(first[2]) == float(second[2])
    if first or second:
        request, drive, volume = (first, one, other) if first else (second, other, one)
        assert request is not None
        return _fulfils(definition, request, drive, volume, key)
    for drive, volume in ((one, other), (other, one)):
        storage, _, name = drive[key].partition(":")
        if name == "cloudinit":
            volume.pop("size", None)
            volume["media"] = volume.get("media", "cdrom")
            return volume[key].startswith(f"{storage}:") and "cloudinit" in volume[key]
    return one[key] == other[key]


def _fulfils(
    definition: propstring.Definition, request: re.Match[str], drive: dict[str, str], volume: dict[str, str], key: str
) -> bool:
    """Whether a volume is what ``STORAGE:GIBIBYTES`` asks for: same storage, same size, same image format if told."""
    if not volume[key].startswith(f"{request[1]}:"):
        return False
    drive.pop("size", None)
    size, form = volume.pop("size", None), drive.pop("format", None)
    volume.pop("format", None)
    suffix = _IMAGE_SUFFIX.search(volume[key])
    if form and suffix and suffix[1] != form:
        return False
    # EFI and TPM state have a size of their own, and 0 is the size of what is imported.
    fixed = "efitype" in definition.keys or ("version" in definition.keys and "cache" not in definition.keys)
    gibibytes = float(request[2])
    if size is None or fixed or not gibibytes:
        return True
    try:
        return parse_size(size) == int(gibibytes * (1 << 30))
    except ValueError:
        return False
