"""Turn a node's ``apidoc.js`` into pvehelm's compact schema data: facts only, never the descriptions.

The source is what every node serves as ``/pve-docs/api-viewer/apidoc.js``: JavaScript whose first array is the
tree of paths. What is kept of a parameter are its names, types, bounds, enumerations, patterns, formats, relations
and whether it is given up; what is dropped is every sentence. See ``pvehelm.api.schema`` for the data's shape.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pvehelm.errors import InvalidError, Problem

FACTS = (
    "type",
    "optional",
    "format",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "requires",
    "default",
    "default_key",
    "alias",
    "keyAlias",
    "instance-types",
    "type-property",
)
NUMBERS = ("minimum", "maximum", "minLength", "maxLength")

# Numbered parameters: prefix -> (first, last) index, as observed on 9.2; the schema itself only says ``net[n]``.
RANGES: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "/nodes/{node}/qemu": {
        "hostpci": (0, 15),
        "ide": (0, 3),
        "ipconfig": (0, 31),
        "net": (0, 31),
        "numa": (0, 7),
        "parallel": (0, 2),
        "sata": (0, 5),
        "scsi": (0, 30),
        "serial": (0, 3),
        "unused": (0, 255),
        "usb": (0, 13),
        "virtio": (0, 15),
        "virtiofs": (0, 9),
    },
    "/nodes/{node}/lxc": {"dev": (0, 255), "mp": (0, 255), "net": (0, 31), "unused": (0, 255)},
    "/nodes/{node}/config": {"acmedomain": (0, 5)},
    "/cluster/config": {"link": (0, 7)},
}
ANY_RANGE = (0, 255)

# Names whose ``[n]`` is not a family: the server accepts the one name only.
PLAIN = ("audio0", "efidisk0", "rng0", "smbios1", "tpmstate0")


# At the beginning of a sentence; elsewhere it is about a value, or something else.
_GIVEN_UP = re.compile(r"(?:\A|[.!:]\s*)depre[ca]\w*ted\b", re.IGNORECASE)
_INSTEAD = re.compile(r"[:,.]?\s*use (?:the )?'([a-z][\w-]*)", re.IGNORECASE)


def decode(source: bytes) -> list[dict[str, Any]]:
    """The tree of paths in ``source`` (``apidoc.js``, plain or gzipped). Raises InvalidError when there is none."""
    if source[:2] == b"\x1f\x8b":
        source = gzip.decompress(source)
    text = source.decode("utf-8", "replace")
    start = re.search(r"=\s*(?=\[)|\A\s*(?=\[)", text)
    if start is None:
        raise InvalidError(
            "not an apidoc.js: no array of API paths in it", hint="a node serves it as /pve-docs/api-viewer/apidoc.js"
        )
    try:
        tree, _ = json.JSONDecoder().raw_decode(text, start.end())
    except json.JSONDecodeError as error:
        raise InvalidError(
            "not an apidoc.js: its array is no JSON",
            [Problem(f"line {error.lineno}, column {error.colno}", error.msg)],
        ) from None
    if not isinstance(tree, list) or not all(isinstance(node, dict) and "path" in node for node in tree):
        raise InvalidError("not an apidoc.js: the array does not hold API paths")
    return tree


def import_tree(tree: list[dict[str, Any]], *, release: str) -> dict[str, Any]:
    """Schema data of ``tree``: ``{"format", "release", "facts": [...], "operations": [...]}``; see ``api.schema``."""
    pool = _Pool()
    operations = []
    for path, method, info in sorted(_methods(tree), key=lambda row: (row[0], row[1])):
        operations.append(_operation(path, method, info, pool))
    if not operations:
        raise InvalidError("the API description holds no methods")
    return {"format": 1, "release": release, "facts": pool.rows, "operations": operations}


def to_text(data: Mapping[str, Any]) -> str:
    """One fact or operation a line: small, and readable as a diff."""
    lines = ["{", f' "format": {data["format"]},', f' "release": {json.dumps(data["release"])},']
    for name in ("facts", "operations"):
        rows = ",\n".join(json.dumps(row, separators=(",", ":"), ensure_ascii=False) for row in data[name])
        lines.append(f' "{name}": [\n{rows}\n ]' + ("," if name == "facts" else ""))
    return "\n".join([*lines, "}", ""])


def guess_release(tree: list[dict[str, Any]]) -> str:
    """The release that fits ``tree``, judged by paths that came with it; a live node's own version is better."""
    paths = {path for path, _, _ in _methods(tree)}
    if "/cluster/ha/rules" in paths:
        return "9.2" if "/cluster/sdn/fabrics" in paths else "9.0"
    return "8.4" if "/cluster/mapping/pci" in paths else "7.4"


class _Pool:
    """Equal facts are stored once and referred to by their row."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._seen: dict[str, int] = {}

    def add(self, facts: Any) -> int:
        key = json.dumps(facts, sort_keys=True)
        if key not in self._seen:
            self._seen[key] = len(self.rows)
            self.rows.append(facts)
        return self._seen[key]


def _methods(tree: list[dict[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for node in tree:
        for method, info in (node.get("info") or {}).items():
            yield str(node["path"]), str(method), info
        yield from _methods(node.get("children") or [])


def _operation(path: str, method: str, info: Mapping[str, Any], pool: _Pool) -> dict[str, Any]:
    row: dict[str, Any] = {"method": method, "path": path, "name": info.get("name", "")}
    parameters = info.get("parameters") or {}
    properties: dict[str, Any] = {}
    for part in parameters.get("allOf") or [parameters]:
        properties |= part.get("properties") or {}
        if "oneOf" in part:
            row["selector"] = {"name": part["type-property"], "facts": pool.add(_facts(part["type-property-schema"]))}
            row["variants"] = {
                variant["instance-type"]: {
                    name: pool.add(_facts(facts)) for name, facts in variant["properties"].items()
                }
                for variant in part["oneOf"]
            }
    if properties:
        row["params"] = {_name(name): pool.add(_param(path, name, facts)) for name, facts in properties.items()}
    # A method whose parameters are an empty object still refuses unknown ones; only an explicit 1 lets them pass.
    if parameters.get("additionalProperties") == 1:
        row["open"] = 1
    if "permissions" in info:
        permissions = {k: v for k, v in info["permissions"].items() if k in ("check", "user")}
        row["permissions"] = permissions or {"user": "described"}
    for name in ("protected", "proxyto"):
        if info.get(name):
            row[name] = info[name]
    if not info.get("allowtoken", 1):
        row["no_token"] = 1
    returns = _returns(info.get("returns") or {})
    if returns:
        row["returns"] = pool.add(returns)
    return row


def _name(name: str) -> str:
    stem = name.removesuffix("[n]")
    return next((plain for plain in PLAIN if name.endswith("[n]") and plain.rstrip("01") == stem), name)


def _param(path: str, name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    kept = _facts(facts)
    if _name(name).endswith("[n]"):
        families = next((r for prefix, r in RANGES.items() if path == prefix or path.startswith(prefix + "/")), {})
        kept["index"] = list(families.get(name.removesuffix("[n]"), ANY_RANGE))
    return kept


def _deprecated(description: str) -> str | bool:
    """Whether a description says that its parameter is given up: the name of what to use instead, or True."""
    found = _GIVEN_UP.search(description)
    instead = _INSTEAD.match(description, found.end()) if found else None
    return instead[1] if instead else bool(found)


def _facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name in FACTS:
        if name not in raw:
            continue
        value = raw[name]
        if name == "format" and isinstance(value, dict):
            value = {key: _facts(sub) for key, sub in sorted(value.items())}
        elif name == "pattern":
            value = to_python_pattern(str(value))
        elif name == "optional":
            value = 1 if value in (1, "1", True) else 0
            if not value:
                continue
        elif name in NUMBERS:
            value = _number(value)
            if value is None:
                continue
        kept[name] = value
    if "default" in kept and not _usable_default(kept):
        del kept["default"]
    if deprecated := _deprecated(str(raw.get("description", ""))):
        kept["deprecated"] = deprecated
    for name in ("items", "oneOf"):
        if isinstance(raw.get(name), dict):
            kept[name] = _facts(raw[name])
        elif isinstance(raw.get(name), list):
            kept[name] = [_facts(part) for part in raw[name]]
    if isinstance(raw.get("properties"), dict):
        kept["properties"] = {key: _facts(sub) for key, sub in sorted(raw["properties"].items())}
    return kept


def _returns(raw: Mapping[str, Any]) -> dict[str, Any]:
    kept = _facts(raw)
    links = [link["href"] for link in raw.get("links") or [] if "href" in link]
    if links:
        kept["links"] = links
    return kept


def _number(value: Any) -> int | float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else number


def _usable_default(facts: Mapping[str, Any]) -> bool:
    """Many defaults are sentences; only those that could be sent as a value are facts."""
    value = facts["default"]
    kind = facts.get("type")
    if isinstance(value, bool | dict | list) or value is None:
        return False
    if "enum" in facts and str(value) not in map(str, facts["enum"]):
        return False
    if kind == "boolean":
        return str(value) in ("0", "1")
    if kind in ("integer", "number"):
        number = _number(value)
        low, high = facts.get("minimum"), facts.get("maximum")
        return number is not None and (low is None or number >= low) and (high is None or number <= high)
    return " " not in str(value)


def to_python_pattern(pattern: str) -> str:
    """Perl's ``(?^x:`` is Python's ``(?x:``; ``u`` is Python's default and dropped."""
    return re.sub(r"\(\?\^([a-z]*):", lambda found: f"(?{found[1].replace('u', '')}:", pattern)
