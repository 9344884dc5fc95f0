"""Table A: what Proxmox can do. One compact description per release, read by everything else.

The data (``api/data/schema-X.Y.json``, written by ``api.importer``)::

    {"format": 1, "release": "9.2",
     "facts": [{"type": "string", "format": "pve-vmid", ...}, ...],     # equal facts once
     "operations": [{"method": "POST", "path": "/pools", "name": "create_pool",
                     "params": {"poolid": 17, ...},                      # rows of facts
                     "selector": {"name": "type", "facts": 3},           # only where parameters depend on a type
                     "variants": {"node-affinity": {"nodes": 9}},
                     "permissions": {...}, "returns": 21, "protected": 1, "proxyto": "node", "no_token": 1}]}

Facts have JSON Schema's names (``type optional enum pattern minimum maximum minLength maxLength items``) and
Proxmox's own (``format requires default_key alias keyAlias instance-types type-property``); ``index`` is the
range of a numbered parameter such as ``net[n]``, ``deprecated`` the name of what to use instead, or true. Parameter
names are the wire's, never translated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from pvehelm.api import lines
from pvehelm.api.releases import available, best_release, version_key
from pvehelm.errors import InvalidError, NotFoundError, Problem
from pvehelm.suggest import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

Facts = Mapping[str, Any]
METHODS = ("GET", "POST", "PUT", "DELETE")
_NUMBERED = re.compile(r"(.*?[^0-9])(0|[1-9][0-9]*)\Z")
# Path parameters whose value may hold slashes.
_GREEDY = ("volume", "cidr")


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter: its name as on the wire (``net[n]`` for a family) and its facts."""

    name: str
    facts: Facts

    @property
    def required(self) -> bool:
        either = self.facts.get("oneOf")
        # Each variant says for itself whether it may be missing.
        return not any(one.get("optional") for one in either) if either else not self.facts.get("optional")

    @property
    def type(self) -> str:
        return str(self.facts.get("type", "string"))

    @property
    def format(self) -> Any:
        """The name of a format, a mapping of sub-keys (a property string), or None."""
        return self.facts.get("format")

    @property
    def index(self) -> tuple[int, int] | None:
        """First and last index of a numbered family, else None."""
        found = self.facts.get("index")
        return (found[0], found[1]) if found else None

    def names(self) -> Iterator[str]:
        """Every name the parameter stands for: ``net0`` ... ``net31``, or just its own."""
        if self.index is None:
            yield self.name
        else:
            yield from (f"{self.name.removesuffix('[n]')}{i}" for i in range(self.index[0], self.index[1] + 1))


@dataclass(frozen=True)
class Call:
    """An operation with its arguments, ready for the wire: a concrete path and the remaining parameters."""

    operation: Operation
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.operation.method


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    name: str
    params: Mapping[str, Param]
    selector: Param | None = None
    variants: Mapping[str, Mapping[str, Param]] = field(default_factory=dict)
    permissions: Mapping[str, Any] | None = None
    returns: Facts = field(default_factory=dict)
    protected: bool = False
    proxyto: str | None = None
    allow_token: bool = True
    open: bool = False

    @cached_property
    def path_names(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{([^}]+)\}", self.path))

    @cached_property
    def everything(self) -> Mapping[str, Param]:
        """All parameters, those of every variant included (the first definition of a name wins)."""
        found = dict(self.params)
        if self.selector:
            found.setdefault(self.selector.name, self.selector)
        for variant in self.variants.values():
            for name, param in variant.items():
                found.setdefault(name, param)
        return found

    def param(self, name: str) -> Param | None:
        """The parameter that ``name`` means: itself, or the family it is numbered in (``net0`` -> ``net[n]``)."""
        return _lookup(self.everything, name)

    def check(self, args: Mapping[str, Any]) -> list[Problem]:
        """All problems of ``args`` (path parameters included); ``Problem.where`` is the key a server would report."""
        problems: dict[str, Problem] = {}
        params: dict[str, Param] = dict(self.params)
        if self.selector is None:
            self._check(args, params, "", problems)
            return list(problems.values())
        params[self.selector.name] = self.selector
        variant = self.variants.get(str(args.get(self.selector.name)), {})
        common = {name: value for name, value in args.items() if name not in variant}
        self._check(common, params, "", problems)
        own = {name: value for name, value in args.items() if name in variant}
        self._check(own, variant, f"oneOf[{args.get(self.selector.name)}].", problems)
        return list(problems.values())

    def _check(
        self, args: Mapping[str, Any], params: Mapping[str, Param], prefix: str, problems: dict[str, Problem]
    ) -> None:
        from pvehelm.api import formats

        def report(key: str, what: str, hint: str = "") -> None:
            problems.setdefault(prefix + key, Problem(prefix + key, what, hint))

        for name, value in args.items():
            param = _lookup(params, name)
            if param is None:
                if not self.open:
                    what = "property is not defined in schema and the schema does not allow additional properties"
                    report(name, what, did_you_mean(name, self.everything))
                continue
            for key, what in formats.check_value(param.facts, value, name=name):
                report(key, what)
            needed = param.facts.get("requires")
            if needed and needed not in args:
                report(str(needed), f"missing property required by '{name}'")
        for name, param in params.items():
            if param.required and param.index is None and name not in args:
                report(name, "property is missing and it is not optional")

    def bind(self, args: Mapping[str, Any]) -> Call:
        """``args`` put in their places. Raises InvalidError with every problem of them."""
        problems = self.check(args)
        if problems:
            raise InvalidError(f"{self.method} {self.path}: wrong parameters", problems)
        path = re.sub(r"\{([^}]+)\}", lambda found: quote(str(args[found[1]]), safe=""), self.path)
        return Call(self, path, {name: value for name, value in args.items() if name not in self.path_names})


class Schema:
    """The operations of one release."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        if data.get("format") != 1:
            raise InvalidError(f"schema data of format {data.get('format')!r}, this pvehelm reads format 1")
        self.release = str(data["release"])
        self._facts: Sequence[Facts] = data["facts"]
        rows = data["operations"]
        self._rows: Mapping[tuple[str, str], Mapping[str, Any]]
        self._rows = rows if isinstance(rows, Mapping) else {(row["method"], row["path"]): row for row in rows}
        #: The file that it was read from, if it was.
        self.file = ""
        self._made: dict[tuple[str, str], Operation] = {}
        self._params: dict[tuple[str, int], Param] = {}

    # -- finding -----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, release: str = "") -> Schema:
        """The schema for a server's version such as ``9.2.3``; the newest when none is given.

        Imported schemas in the user's data directory come before the shipped ones. A version without data of its
        own uses the newest of the same major that is not newer, else the oldest of it. Raises NotFoundError for a
        major that nobody has data for.
        """
        return _load(str(best_release(release)))

    @classmethod
    def read(cls, path: Path | str) -> Schema:
        with open(path, encoding="utf-8") as file:
            made = cls(lines.read(file.read()))
        made.file = str(path)
        return made

    @property
    def version(self) -> tuple[int, ...]:
        return version_key(self.release)

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def operations(self) -> Iterator[Operation]:
        return (self.operation(method, path) for method, path in self._rows)

    @cached_property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(path for _, path in self._rows))

    def methods(self, path: str) -> tuple[str, ...]:
        return tuple(method for method in METHODS if (method, path) in self._rows)

    def find(self, method: str, path: str) -> Operation | None:
        """The operation of a path template, or None."""
        return self.operation(method, path) if (method, path) in self._rows else None

    def operation(self, method: str, path: str) -> Operation:
        """The operation of a path template such as ``/nodes/{node}/qemu``. Raises NotFoundError."""
        key = (method, path)
        if key not in self._made:
            row = self._rows.get(key)
            if row is None:
                raise NotFoundError(
                    f"Proxmox VE {self.release} has no {method} {path}", hint=did_you_mean(path, self.paths)
                )
            self._made[key] = self._make(row)
        return self._made[key]

    def match(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that a concrete path such as ``/nodes/pve1/qemu/100`` means, with its path parameters."""
        found = self.resolve(path)
        if found is None or (method, found[0]) not in self._rows:
            return None
        return self.operation(method, found[0]), found[1]

    def resolve(self, path: str) -> tuple[str, dict[str, str]] | None:
        """The template of a concrete path and the (decoded) path parameters; literal segments win over variables."""
        segments = [segment for segment in path.split("/") if segment]
        return self._walk(self._tree, segments, {})

    def _walk(self, node: _Node, segments: list[str], found: dict[str, str]) -> tuple[str, dict[str, str]] | None:
        if not segments:
            return (node.path, found) if node.path is not None else None
        head, rest = segments[0], segments[1:]
        if head in node.literal:
            return self._walk(node.literal[head], rest, found)
        if node.variable is None:
            return None
        name, child = node.variable
        if name in _GREEDY and rest and not child.literal:
            return self._walk(child, [], found | {name: unquote("/".join(segments))})
        return self._walk(child, rest, found | {name: unquote(head)})

    @cached_property
    def _tree(self) -> _Node:
        root = _Node()
        for path in self.paths:
            node = root
            for segment in path.strip("/").split("/") if path != "/" else []:
                if segment.startswith("{"):
                    if node.variable is None:
                        node.variable = (segment[1:-1], _Node())
                    node = node.variable[1]
                else:
                    node = node.literal.setdefault(segment, _Node())
            node.path = path
        return root

    # -- making ------------------------------------------------------------------------------------------------

    def _make(self, row: Mapping[str, Any]) -> Operation:
        selector = row.get("selector")
        return Operation(
            method=row["method"],
            path=row["path"],
            name=row["name"],
            params=self._named(row.get("params", {})),
            selector=self._param(selector["name"], selector["facts"]) if selector else None,
            variants={name: self._named(params) for name, params in row.get("variants", {}).items()},
            permissions=row.get("permissions"),
            returns=self._facts[row["returns"]] if "returns" in row else {},
            protected=bool(row.get("protected")),
            proxyto=row.get("proxyto"),
            allow_token=not row.get("no_token"),
            open=bool(row.get("open")),
        )

    def _named(self, params: Mapping[str, int]) -> dict[str, Param]:
        return {name: self._param(name, index) for name, index in params.items()}

    def _param(self, name: str, index: int) -> Param:
        key = (name, index)
        if key not in self._params:
            self._params[key] = Param(name, self._facts[index])
        return self._params[key]


@dataclass
class _Node:
    literal: dict[str, _Node] = field(default_factory=dict)
    variable: tuple[str, _Node] | None = None
    path: str | None = None


def _lookup(params: Mapping[str, Param], name: str) -> Param | None:
    found = params.get(name)
    if found is not None:
        return found if found.index is None else None
    numbered = _NUMBERED.match(name)
    if numbered is None:
        return None
    family = params.get(f"{numbered[1]}[n]")
    if family is None or family.index is None or not family.index[0] <= int(numbered[2]) <= family.index[1]:
        return None
    return family


@cache
def _load(release: str) -> Schema:
    return Schema.read(available()[release])
