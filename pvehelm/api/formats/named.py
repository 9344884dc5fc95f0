"""The named formats that are not property strings: one check for each, and the ``-list`` and ``-opt`` forms of all.

A check takes the text and returns None or what is wrong with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from pvehelm.api.formats import facts, network
from pvehelm.api.formats.schedule import check_calendar_event
from pvehelm.api.formats.units import split_commas, split_list

Check = Callable[[str], str | None]

_NODE = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_REALM = r"[A-Za-z][A-Za-z0-9._-]+"
_USER = rf"[^\s:/]+@{_REALM}"
_STORAGE = r"[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]"
_ENTITY = r"[A-Za-z0-9._-]+"
_SDN_SHORT = r"[A-Za-z][A-Za-z0-9]{0,6}[A-Za-z0-9]"
_USB_HOST = r"(?:0x)?[0-9A-Fa-f]{4}:(?:0x)?[0-9A-Fa-f]{4}|\d+-\d+(?:\.\d+)*|[Ss][Pp][Ii][Cc][Ee]"
_DRIVE = r"ide[0-3]|sata[0-5]|scsi(?:[0-9]|[12][0-9]|30)|virtio(?:[0-9]|1[0-5])"
_CONTENT = r"images|rootdir|vztmpl|iso|backup|snippets|import|none"
_PEM_BODY = r"(?:[0-9A-Za-z+/]+\s*\n)*[0-9A-Za-z+/]*(?:=\s*\n=|={0,2})\s*\n"

# format -> (pattern of the whole value, what it should be)
_PATTERNS: dict[str, tuple[str, str]] = {
    "acme-plugin-id": (_STORAGE, "a plugin id (letters, digits, . _ -; two characters at least)"),
    "disk-size": (r"\d+(?:\.\d+)?[KMGT]?", "a size (a number with an optional unit K, M, G or T)"),
    "graphite-path": (r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*", "a Graphite path (words joined by dots)"),
    "ldap-simple-attr": (r"[A-Za-z0-9]+", "an LDAP attribute (letters and digits)"),
    "mac-addr": (
        r"[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){5}",
        "a unicast MAC address (XX:XX:XX:XX:XX:XX, second digit even)",
    ),
    "mac-prefix": (r"[0-9A-Fa-f][02468ACEace](?::[0-9A-Fa-f]{2}){0,2}:?", "a unicast MAC prefix of up to three octets"),
    "pve-acme-alias": (r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)+", "a domain name with a dot"),
    "pve-acme-domain": (r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9][A-Za-z0-9_-]*)+", "a domain name with a dot"),
    "pve-bridge-id": (r"[-_.\w]+", "the name of a bridge"),
    "pve-configid": (r"[A-Za-z][A-Za-z0-9_-]+", "an id (a letter, then letters, digits, _ or -; two at least)"),
    "pve-day-of-week": (r"mon|tue|wed|thu|fri|sat|sun", "a day of the week (mon, tue, ...)"),
    "pve-groupid": (_ENTITY, "a group id (letters, digits, . _ -)"),
    "pve-ha-group-node": (rf"{_NODE}(?::\d+)?", "NODE or NODE:PRIORITY"),
    "pve-ha-node": (rf"{_NODE}(?::\d+)?", "NODE or NODE:PRIORITY"),
    "pve-ha-resource-id": (r"[a-z]+:\S+", "an HA resource (vm:100, ct:101)"),
    "pve-ha-resource-or-vm-id": (r"[a-z]+:\S+|\d+", "an HA resource (vm:100) or a VMID"),
    "pve-iface": (network.INTERFACE, "the name of a network interface"),
    "pve-node": (_NODE, "the name of a node"),
    "pve-phys-bits": (r"host|[89]|[1-5][0-9]|6[0-4]", "host or a number from 8 to 64"),
    "pve-poolid": (
        rf"{_ENTITY}(?:/{_ENTITY}){{0,2}}",
        "a pool id (up to three names of letters, digits, . _ -, joined by /)",
    ),
    "pve-qm-bootdisk": (rf"{_DRIVE}|efidisk0|tpmstate0", "a drive (scsi0, virtio0, ...)"),
    "pve-qm-bootdev": (
        rf"{_DRIVE}|net(?:[0-9]|[12][0-9]|3[01])|usb(?:[0-9]|1[0-3])|hostpci(?:[0-9]|1[0-5])",
        "a device to boot from (scsi0, ide2, net0, ...)",
    ),
    "pve-qm-usb-device": (_USB_HOST, "a USB device (VENDOR:PRODUCT, BUS-PORT or spice)"),
    "pve-realm": (_REALM, "a realm (a letter, then letters, digits, . _ -; two at least)"),
    "pve-replication-job-id": (r"[1-9][0-9]{2,8}-\d{1,9}", "a replication job (VMID-NUMBER)"),
    "pve-roleid": (_ENTITY, "a role id (letters, digits, . _ -)"),
    "pve-sdn-bgp-rt": (r"\d+:\d+", "a BGP route target (NUMBER:NUMBER)"),
    "pve-sdn-controller-id": (r"[A-Za-z][A-Za-z0-9_-]{0,62}[A-Za-z0-9]", "an SDN controller id"),
    "pve-sdn-dns-id": (r"[A-Za-z][A-Za-z0-9]*[A-Za-z0-9]", "an SDN DNS id (letters and digits)"),
    "pve-sdn-fabric-id": (
        r"[A-Za-z0-9][A-Za-z0-9-]{0,6}[A-Za-z0-9]?",
        "an SDN fabric id (up to 8 letters, digits, -)",
    ),
    "pve-sdn-ipam-id": (r"[A-Za-z][A-Za-z0-9]*[A-Za-z0-9]", "an SDN IPAM id (letters and digits)"),
    "pve-sdn-isis-net": (r"[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f]{4}){3,9}\.[0-9A-Fa-f]{2}", "an IS-IS network entity title"),
    "pve-sdn-vnet-id": (_SDN_SHORT, "an SDN vnet id (two to eight letters and digits)"),
    "pve-sdn-zone-id": (_SDN_SHORT, "an SDN zone id (two to eight letters and digits)"),
    "pve-storage-content": (_CONTENT, f"a content type ({_CONTENT.replace('|', ', ')})"),
    "pve-storage-format": (r"raw|qcow2|vmdk|subvol", "a volume format (raw, qcow2, vmdk, subvol)"),
    "pve-storage-id": (_STORAGE, "a storage id (a letter, then letters, digits, . _ -; two characters at least)"),
    "pve-storage-options": (r"\S+", "mount options (no blanks)"),
    "pve-storage-path": (r"/[^;()][\s\S]*", "an absolute path"),
    "pve-storage-path-in-property-string": (r"/[^;()][\s\S]*", "an absolute path"),
    "pve-storage-vgname": (r"[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]", "the name of a volume group"),
    "pve-tag": (r"[A-Za-z0-9_][A-Za-z0-9_+.-]*", "a tag (letters, digits, _ + . -)"),
    "pve-task-status-type": (r"error|ok|unknown|warning", "a task status (ok, warning, error, unknown)"),
    "pve-tfa-secret": (
        r"v2-0x[0-9A-Fa-f]{16,128}|v2-[A-Z2-7=]{16,128}|[A-Z2-7=]{16}|[0-9A-Fa-f]{40}",
        "a TFA secret (base32 or hexadecimal)",
    ),
    "pve-tokenid": (rf"{_USER}!{_REALM}", "an API token (USER@REALM!NAME)"),
    "pve-vmid": (r"[1-9][0-9]{2,8}", "a VMID (100 to 999999999)"),
    "pve-volume-id": (rf"{_STORAGE}:.+", "a volume (STORAGE:NAME)"),
    "pve-volume-id-or-absolute-path": (rf"/[\s\S]*|{_STORAGE}:.+", "a volume (STORAGE:NAME) or an absolute path"),
    "pve-volume-id-or-qm-path": (
        rf"none|cdrom|/[\s\S]*|{_STORAGE}:.+",
        "a volume (STORAGE:NAME, STORAGE:GIBIBYTES for a new one), an absolute path, none or cdrom",
    ),
    "string": (r"[\s\S]*", "text"),
    "urlencoded": (r"[-%a-zA-Z0-9_.!~*'()]*", "percent-encoded text"),
}


def _pattern_check(pattern: str, what: str) -> Check:
    # Compiled when it is first asked for: there are many, and a command needs few.
    compiled = cache(lambda: re.compile(pattern))

    def check(text: str) -> str | None:
        return None if compiled().fullmatch(text) else f"'{text}' is not {what}"

    return check


def _user(text: str) -> str | None:
    if len(text) > 64:
        return "a user id has at most 64 characters"
    return None if re.fullmatch(_USER, text) else f"'{text}' is not a user id (NAME@REALM)"


def _privilege(text: str) -> str | None:
    return None if text in facts.words("privileges") else f"invalid privilege '{text}'"


def _timezone(text: str) -> str | None:
    return None if text == "UTC" or text in facts.words("timezones") else f"unknown time zone '{text}'"


def _container_timezone(text: str) -> str | None:
    return None if text == "host" else _timezone(text)


def _hotplug(text: str) -> str | None:
    known = {"network", "disk", "cpu", "memory", "usb", "cloudinit"}
    if text in ("0", "1"):
        return None
    wrong = [item for item in split_list(text) if item not in known]
    return f"unknown hotplug feature '{wrong[0]}' (one of {', '.join(sorted(known))})" if wrong else None


def _cpuset(text: str) -> str | None:
    for part in split_commas(text):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match:
            return f"'{part}' is no CPU or range of CPUs"
        if match[2] and int(match[2]) < int(match[1]):
            return f"the range '{part}' runs backwards"
    return None


def _vlan_or_range(text: str) -> str | None:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if not match:
        return f"'{text}' is no VLAN or range of VLANs"
    ids = [int(group) for group in match.groups() if group]
    if not all(2 <= number <= 4094 for number in ids):
        return "a VLAN is from 2 to 4094"
    return f"the range '{text}' must rise" if len(ids) == 2 and ids[0] >= ids[1] else None


def _tag_ranges(highest: int) -> Check:
    # What does not look like a number or a range passes: the server has never looked at it.
    def check(text: str) -> str | None:
        items = text.split(",") if text else []
        if items and not items[-1]:
            return "extraneous commas in list"
        for item in items:
            match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
            if not match:
                continue
            low, high = int(match[1]), int(match[2] or match[1])
            if max(low, high) > highest:
                return f"'{item}' is greater than {highest}"
            if low > high:
                return f"the range '{item}' runs backwards; did you mean '{high}-{low}'?"
        return None

    return check


def _subnet(text: str) -> str | None:
    network_text = text
    if "/" not in text:
        _, address, bits = [*text.split("-"), "", "", ""][:3]
        network_text = f"{address}/{bits}"
    return None if network.is_cidr(network_text) else f"'{text}' is no subnet (ZONE-ADDRESS-BITS or ADDRESS/BITS)"


def _dir_override(text: str) -> str | None:
    match = re.fullmatch(r"([a-z]+)=[^.]+", text)
    if not match or not re.fullmatch(_CONTENT, match[1]):
        return f"'{text}' is not CONTENT=DIRECTORY (the directory without dots)"
    return None


def _mount_path(text: str) -> str | None:
    return "a path must not hold /./ or /../" if re.search(r"/\.\.?(?:/|\Z)", text) else None


def _device_path(text: str) -> str | None:
    return (
        None if text.startswith("/dev/") and not _mount_path(text) else f"'{text}' is no path of a device below /dev/"
    )


def _zfs_blocksize(text: str) -> str | None:
    match = re.fullmatch(r"(\d+)[kKmM]?", text)
    size = int(match[1]) if match else 0
    return None if size and not size & (size - 1) else f"'{text}' is no power of two (with an optional K or M)"


def _id_pair(check: Check) -> Check:
    """A mapping SOURCE:TARGET, a default TARGET, or 1 for "the same name"; separated like a list."""

    def check_pair(text: str) -> str | None:
        if text in ("", "0"):  # counts as "no mapping"
            return None
        sources: set[str] = set()
        identity, default = False, False
        for item in split_list(text):
            source, colon, target = item.partition(":")
            if item == "1":
                identity = True
            elif colon:
                if not target or ":" in target or check(source) or check(target):
                    return f"'{item}' is not SOURCE:TARGET"
                if source in sources:
                    return f"two targets for '{source}'"
                sources.add(source)
            elif problem := check(item):
                return problem
            elif default:
                return "a default target can only be given once"
            else:
                default = True
        return "1 (same names) cannot be combined with other targets" if identity and (default or sources) else None

    return check_pair


def _pem(label: str, *, many: bool = False) -> Check:
    block = rf"-----BEGIN {label}-----\s*{_PEM_BODY}-----END {label}-----\s*"
    compiled = cache(lambda: re.compile(rf"(?:{block})+" if many else block))

    def check(text: str) -> str | None:
        begin = re.search(rf"-----BEGIN {label}-----", text)
        ok = begin is not None and compiled().fullmatch(text, begin.start()) is not None
        return None if ok else "this is not PEM (-----BEGIN ...-----, base64 lines, -----END ...-----)"

    return check


def _command_batch(text: str) -> str | None:
    try:
        commands: Any = json.loads(text)
    except ValueError as error:
        return f"this is not JSON: {error}"
    if not isinstance(commands, list):
        return "this is not a JSON list of commands"
    for number, command in enumerate(commands):
        if not isinstance(command, dict) or not isinstance(command.get("path"), str):
            return f"command {number} has no path"
        if command.get("method") not in ("GET", "POST", "PUT", "DELETE"):
            return f"command {number} needs a method: GET, POST, PUT or DELETE"
        if not isinstance(command.get("args", {}), dict):
            return f"the args of command {number} are no object"
    return None


@cache
def _checks() -> dict[str, Check]:
    checks: dict[str, Check] = {name: _pattern_check(*row) for name, row in _PATTERNS.items()}
    checks.update(network.CHECKS)
    checks.update(
        {
            "bridge-pair": _id_pair(checks["pve-bridge-id"]),
            "storage-pair": _id_pair(checks["pve-storage-id"]),
            "pem-string": _pem("[^\n]*?"),
            "pem-certificate": _pem("CERTIFICATE"),
            "pem-certificate-chain": _pem("CERTIFICATE", many=True),
            "pve-calendar-event": check_calendar_event,
            "pve-command-batch": _command_batch,
            "pve-cpuset": _cpuset,
            "pve-ct-timezone": _container_timezone,
            "pve-dir-override": _dir_override,
            "pve-hotplug-features": _hotplug,
            "pve-lxc-dev-string": _device_path,
            "pve-lxc-mp-string": _mount_path,
            "pve-priv": _privilege,
            "pve-sdn-subnet-id": _subnet,
            "pve-sdn-vlanrange": _tag_ranges(4096),
            "pve-sdn-vxlanrange": _tag_ranges(16777216),
            "pve-storage-zfs-blocksize": _zfs_blocksize,
            "pve-userid": _user,
            "pve-vlan-id-or-range": _vlan_or_range,
            "timezone": _timezone,
        }
    )
    return checks


def _list_of(check: Check) -> Check:
    def check_list(text: str) -> str | None:
        return next((problem for item in split_list(text) if (problem := check(item))), None)

    return check_list


def _optional(check: Check) -> Check:
    # "0" counts as nothing on the server, too.
    return lambda text: None if text in ("", "0") else check(text)


@cache
def find(name: str) -> Check | None:
    """The check of a named format, also of its ``-list``, ``-alist`` and ``-opt`` forms; None if unknown."""
    checks = _checks()
    if name in checks:
        return checks[name]
    base, _, form = name.rpartition("-")
    if base in checks and form in ("list", "alist"):
        return _list_of(checks[base])
    if base in checks and form == "opt":
        return _optional(checks[base])
    return None


def is_list(name: object) -> bool:
    """Whether a format is the list form of another one."""
    return isinstance(name, str) and name.endswith(("-list", "-alist"))
