"""Formats about addresses, names on the network and the firewall. Each function returns None or what is wrong."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable

from pvehelm.api.formats import facts

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DNS = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_MAILBOX = r"[\w+~-]+(?:\.[\w+~-]+)*"
_EMAIL = re.compile(rf"{_MAILBOX}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
_LOCAL_PART = re.compile(_MAILBOX)
_ALIAS = r"[A-Za-z][A-Za-z0-9_-]+"
_FW_ALIAS = re.compile(rf"(?:dc/|guest/)?{_ALIAS}")
_FW_IPSET = re.compile(rf"\+(?:dc/|guest/|sdn/)?{_ALIAS}")
_PORT_RANGE = re.compile(r"(\d+):(\d+)")
_HOST = r"(?:[^\W_]|[.-])+"
INTERFACE = r"[A-Za-z][A-Za-z0-9_]{1,20}(?:[:.]\d+)?"
_HOST_PORT = re.compile(rf"{_HOST}(?::\d+)?")
_BRACKETED = re.compile(r"\[([^\]]+)\](?::\d+)?")
_PORT_AFTER_DOT = re.compile(r"(.+:.*?)(?:\.(\d+))?")
_MASKS = frozenset(str(ipaddress.IPv4Network(f"0.0.0.0/{bits}").netmask) for bits in range(33))
_MAX_PORTS = 15


def is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def is_ipv6(text: str) -> bool:
    if "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_ip(text: str) -> bool:
    return is_ipv4(text) or is_ipv6(text)


def is_cidr(text: str, version: int | None = None, *, shortest: int = 8) -> bool:
    """ADDRESS/BITS; host bits may be set, a mask in dotted form is refused."""
    address, slash, bits = text.partition("/")
    if not slash or not bits.isdecimal():
        return False
    if version != 6 and is_ipv4(address):
        return shortest <= int(bits) <= 32
    return version != 4 and is_ipv6(address) and shortest <= int(bits) <= 128


def is_dns_name(text: str) -> bool:
    return _DNS.fullmatch(text) is not None


def _told(test: Callable[[str], bool], what: str) -> Callable[[str], str | None]:
    def check(text: str) -> str | None:
        return None if test(text) else f"value does not look like {what}"

    return check


def _is_ip_or_cidr(text: str) -> bool:
    return is_ip(text) or is_cidr(text, shortest=0)


def _is_fw_alias(text: str) -> bool:
    return _FW_ALIAS.fullmatch(text) is not None


def _is_ip_with_interface(text: str) -> bool:
    address, percent, interface = text.partition("%")
    if not percent:
        return is_ip(text)
    return address.startswith("fe80:") and is_ipv6(address) and re.fullmatch(INTERFACE, interface) is not None


def _is_portal(text: str) -> bool:
    if _HOST_PORT.fullmatch(text):
        return True
    if match := _BRACKETED.fullmatch(text):
        return re.fullmatch(_HOST, match[1]) is not None or is_ipv6(match[1])
    if is_ipv6(text):
        return True
    match = _PORT_AFTER_DOT.fullmatch(text)
    return match is not None and is_ipv6(match[1])


def _short_ipv4(text: str) -> bool:
    """One to four octets; the firewall takes the missing ones as zero."""
    octets = text.split(".")
    return len(octets) <= 4 and all(octet.isdecimal() and int(octet) <= 255 for octet in octets)


def _address_version(text: str) -> int | None:
    """4 or 6 for an address, a network or a range as firewall rules take them, None if it is none of these."""
    if match := re.fullmatch(r"(\S+?)\s*-\s*(\S+)", text):
        low, high = match[1], match[2]
        for version, test in ((4, is_ipv4), (6, is_ipv6)):
            if test(low) and test(high):
                return version if ipaddress.ip_address(low) <= ipaddress.ip_address(high) else None  # type: ignore[operator]
        return None
    address, slash, bits = text.partition("/")
    if slash and not bits.isdecimal():
        return None
    if _short_ipv4(address):
        return 4 if not slash or int(bits) <= 32 else None
    if is_ipv6(address):
        return 6 if not slash or int(bits) <= 128 else None
    return None


def check_address_spec(text: str) -> str | None:
    """Source or destination of a firewall rule: alias, +ipset, or a comma list of addresses, or one range."""
    if text.startswith("+"):
        return None if _FW_IPSET.fullmatch(text) else f"'{text}' is no name of an IP set"
    if _is_fw_alias(text) or not text:
        return None
    items = text.split(",")
    if "" in items:
        return "extraneous commas in list"
    versions = []
    for item in items:
        version = _address_version(item)
        if version is None:
            return f"'{item}' is no address, network or rising range"
        versions.append(version)
    if len(set(versions)) > 1:
        return f"IPv4 and IPv6 addresses are mixed in '{text}'"
    if len(items) > 1 and "-" in text:
        return "a range cannot be part of a list"
    return None


def _check_ports(text: str, *, icmp: bool) -> str | None:
    if not text:
        return None
    count, icmp_seen = 0, False
    for item in text.split(","):
        if not item:
            return "extraneous commas in list"
        if match := _PORT_RANGE.fullmatch(item):
            count += 2
            low, high = int(match[1]), int(match[2])
            if max(low, high) > 65535:
                return f"port {max(low, high)} is greater than 65535"
            if low > high:
                return f"the range '{item}' runs backwards; did you mean '{high}:{low}'?"
        elif item.isdecimal():
            count += 1
            if int(item) > 65535:
                return f"port {item} is greater than 65535"
        elif icmp and item in facts.words("icmp_types"):
            icmp_seen = True
        elif item not in facts.words("services"):
            return f"'{item}' is neither a port nor the name of a service"
    if icmp_seen and count:
        return "an ICMP type cannot be mixed with ports"
    if count > _MAX_PORTS:
        return f"more than {_MAX_PORTS} ports in one list"
    return None


def _check_icmp_type(text: str) -> str | None:
    return None if not text or text in facts.words("icmp_types") else f"'{text}' is no name of an ICMP type"


def _check_protocol(text: str) -> str | None:
    return None if not text or text in facts.protocol_words() else f"unknown protocol '{text}'"


def _check_conntrack_helper(text: str) -> str | None:
    wrong = [item for item in text.split(",") if item not in facts.words("conntrack_helpers")]
    return f"unknown connection tracking helper '{wrong[0]}'" if wrong else None


CHECKS: dict[str, Callable[[str], str | None]] = {
    "ipv4": _told(is_ipv4, "an IPv4 address"),
    "ipv6": _told(is_ipv6, "an IPv6 address"),
    "ip": _told(is_ip, "an IP address"),
    "ipv4mask": _told(_MASKS.__contains__, "an IPv4 network mask such as 255.255.255.0"),
    "CIDRv4": _told(lambda text: is_cidr(text, 4), "an IPv4 network such as 10.0.0.0/24"),
    "CIDRv6": _told(lambda text: is_cidr(text, 6), "an IPv6 network such as fd00::/64"),
    "CIDR": _told(is_cidr, "a network such as 10.0.0.0/24 or fd00::/64"),
    "IPorCIDR": _told(_is_ip_or_cidr, "an IP address or network"),
    "IPorCIDRorAlias": _told(
        lambda text: _is_ip_or_cidr(text) or _is_fw_alias(text), "an IP address, a network or the name of an alias"
    ),
    "address": _told(lambda text: is_ip(text) or is_dns_name(text), "an IP address or DNS name"),
    "pve-storage-server": _told(lambda text: is_ip(text) or is_dns_name(text), "an IP address or DNS name"),
    "pve-storage-portal-dns": _told(_is_portal, "a host with an optional port"),
    "dns-name": _told(is_dns_name, "a DNS name"),
    "email": _told(lambda text: _EMAIL.fullmatch(text) is not None, "an e-mail address"),
    "email-or-username": _told(
        lambda text: _EMAIL.fullmatch(text) is not None or _LOCAL_PART.fullmatch(text) is not None,
        "an e-mail address or user name",
    ),
    "pve-ipv4-config": _told(
        lambda text: text in ("dhcp", "manual") or is_cidr(text, 4), "dhcp, manual or ADDRESS/BITS (IPv4)"
    ),
    "pve-ipv6-config": _told(
        lambda text: text in ("auto", "dhcp", "manual") or is_cidr(text, 6), "auto, dhcp, manual or ADDRESS/BITS (IPv6)"
    ),
    "lxc-ip-with-ll-iface": _told(_is_ip_with_interface, "an IP address (a link-local one may end in %INTERFACE)"),
    "pve-fw-addr-spec": check_address_spec,
    "pve-fw-sport-spec": lambda text: _check_ports(text, icmp=False),
    "pve-fw-dport-spec": lambda text: _check_ports(text, icmp=True),
    "pve-fw-icmp-type-spec": _check_icmp_type,
    "pve-fw-protocol-spec": _check_protocol,
    "pve-fw-conntrack-helper": _check_conntrack_helper,
}
