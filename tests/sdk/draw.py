"""Valid arguments and plausible answers, drawn from the schema alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.api import formats
from pvehelm.api.layout import properties, python_name
from pvehelm.api.schema import Facts, Operation, Param

# Texts of many shapes; the first that a parameter's facts accept is taken.
TEXTS = (
    *["abc", "100", "1", "a-b", "abc1", "root@pam", "root@pam!abc", "a@example.org", "example.org", "1.2.3.4"],
    *["10.0.0.0/24", "fd00::1", "fd00::/64", "BC:24:11:00:00:01", "BC:24:11", "AB:" * 31 + "AB", "vm:100"],
    *["local:iso/abc.iso", "local:100/abc.raw", "abc:def", "/dev/abc", "/abc", "abc/def", "100-1", "tcp", "accept"],
    *["mon..tue", "mon", "sat 02:00", "*/5", "02:00", "2026-01-02", "2026-01-02 03:04:05", "now", "1G", "10", "24"],
    *["255.255.255.0", "abc=def", "net0=1", "mode=abc", "type=oath", "virtio0", "ide0", "scsi0", "order=1", "memory=1"],
    *["server=abc", "host=1.2.3.4,apitoken=abc", "pc", "q35", "0000:00:01.0", "00:01.0", "socket", "none", "lvm"],
    *["node1", "pve1", "node1:1", "a:b", "images", "stopped", "keep-last=1", "enabled=0", "max-workers=1"],
    *["49.0001.0000.0000.0001.00", "osd.1", "mon.a", "/dev/parport0", "/dev/usb/lp0", "/dev/ttyS0", "http://a.example"],
    *["https://a.example", "pve1c-0123456789", "pve1c-arm-0123456789", "/var/tmp/pveupload-0a", "raw", "UTC", "6.0"],
    *["-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "cipher=aes", "abc%20def", "Sys.Audit", "22"],
    *["net0=1,net1=2", "1..2", "abc/def:1", "65000:1", "0123abcd-0123-0123-0123-0123456789ab", "a=b", "disk", "8k"],
    *["-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", "scope=users", "iso", "echo-request", "80", "39"],
    *["images=abc", "content-dirs", "snapshots", "abc1234567", "acl", "+abc", "group=abc", "UPID:n:1:1:1:a:b:c@d:"],
    *["8086:0001", "8086:0001:8086:0001", "ftp", "ok", "kvm64", "1-1.2", "/mnt/abc"],
    *['[{"path": "/version", "method": "GET"}]'],
)


def value(facts: Facts) -> Any:
    """A value that the facts accept, or None when none of ours is."""
    return next((found for found in _candidates(facts) if not formats.check_value(facts, found, name="x")), None)


def _candidates(facts: Facts) -> Iterator[Any]:
    kind = facts.get("type", "string")
    known = formats.subkeys(facts)
    if known is not None:
        full = {key: value(sub) for key, sub in known.items() if "alias" not in sub}
        needed = {key: full[key] for key, sub in known.items() if "alias" not in sub and not sub.get("optional")}
        for some in (needed, {key: found for key, found in full.items() if found is not None}):
            if some and all(found is not None for found in some.values()):
                yield formats.print_(facts["format"], some)
        for key, found in full.items():
            if found is not None:
                yield formats.print_(facts["format"], {key: found})
    elif facts.get("enum"):
        yield facts["enum"][-1]
    elif kind == "array":
        inner = value(facts.get("items") or {})
        yield [] if inner is None else [inner]
    elif kind == "boolean":
        yield True
    elif kind in ("integer", "number"):
        yield max(float(facts.get("minimum", 1)), min(7, float(facts.get("maximum", 7))))
    shortest = int(facts.get("minLength", 0))
    for text in TEXTS:
        yield text
        if len(text) < shortest:
            yield (text * shortest)[:shortest]


def arguments(operation: Operation, *, optional: bool) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Path values and keywords of valid calls, one for each variant: what is required, or all that can be drawn."""
    for variant in operation.variants or [""]:
        params = dict(operation.params)
        path: dict[str, Any] = {}
        given: dict[str, Any] = {}
        if operation.selector is not None:
            given[python_name(operation.selector.name)] = variant
            params |= operation.variants[variant]
        for name, param in params.items():
            if name not in operation.path_names and not optional and not param.required:
                continue
            found = value(param.facts)
            if found is None:
                assert not param.required, f"nothing to give for {operation.method} {operation.path} {name}"
            elif name in operation.path_names:
                path[name] = found
            else:
                given |= _keyword(name, param, found, given)
        yield path, given


def _keyword(name: str, param: Param, found: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    key = python_name(name)
    if param.index is None:
        return {key: found}
    return {f"{key}{param.index[1]}": found} if key in given else {key: {param.index[0]: found}}


def answer(facts: Facts) -> Any:
    """An answer as servers give it: numbers as text, optional keys left out, one that no schema has."""
    if properties(facts):
        needed = {name: sub for name, sub in properties(facts).items() if not sub.get("optional")}
        return {name: answer(sub) for name, sub in needed.items() if "[n]" not in name} | {"not-in-schema": 1}
    kind = facts.get("type")
    if kind == "array":
        return [answer(facts.get("items") or {})]
    samples: dict[Any, Any] = {"object": {"a": 1}, "integer": "7", "number": "1.5", "boolean": "1", "string": "abc"}
    return samples.get(kind)
