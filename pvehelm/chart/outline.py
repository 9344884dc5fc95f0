"""A chart drawn from manifests that exist: what several have in common becomes a template, what differs a value.

Numbered objects (those with a ``vmid``) are put into groups of their like. A group is one template that loops over a
map of the values, so that one more of its kind is a few lines of values.yaml. All other manifests are templates as they
stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pvehelm.chart.metadata import NAME
from pvehelm.chart.plain import scalars
from pvehelm.chart.yaml import dump
from pvehelm.errors import UsageError

Manifest = Mapping[str, Any]
Path = tuple[str | int, ...]
# Always a value, whether it differs or not: what one changes first.
SALIENT: frozenset[Path] = frozenset(
    {("spec", "node"), ("spec", "vmid"), ("spec", "memory"), ("spec", "memory", "size"), ("spec", "cpu", "cores")}
)
# What a new member of a group may leave out, though those that are there have it.
GIVEN: frozenset[Path] = frozenset({("spec", "vmid")})
# What makes an object itself says nothing about its likeness to others.
OWN = ("vmid", "node", "description", "tags")
LIKE = 0.6
SECRET = "secret://"
_MARKUP = re.compile(r"\{[{%#]")
_MISSING: Any = object()


def outline(name: str, documents: Sequence[tuple[Manifest, Sequence[str]]]) -> dict[str, str]:
    """The files of a chart that renders these manifests, by path; each manifest comes with notes for its reader.

    Raises UsageError when ``name`` is no chart name.
    """
    if not NAME.match(name):
        raise UsageError(f"{name!r} is no chart name", hint="--name NAME: letters, digits, '-', '_' and '.'")
    numbered = [manifest for manifest, _ in documents if "vmid" in manifest["spec"]]
    groups = _named_groups(_grouped(numbered))
    values: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    files: dict[str, str] = {}
    for label, members in groups.items():
        group = _Group(label, members)
        files[f"templates/{_file(label)}.yaml"] = group.template()
        values[label] = group.values
        properties[label] = group.schema()
    secrets: dict[str, str] = {}
    plain: dict[str, list[str]] = {}
    for manifest, _ in documents:
        if "vmid" not in manifest["spec"]:
            plain.setdefault(_file(manifest["kind"]), []).append(_literal(manifest, secrets))
    for kind, texts in plain.items():
        path = f"templates/{kind}.yaml" if f"templates/{kind}.yaml" not in files else f"templates/{kind}-others.yaml"
        files[path] = "---\n".join(texts)
    if secrets:
        values["secrets"] = dict.fromkeys(secrets, "")
        properties["secrets"] = {"type": "object", "additionalProperties": {"type": "string"}}
    notes = [
        f"{manifest['kind']}/{manifest['metadata']['name']}: {note}" for manifest, found in documents for note in found
    ]
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "additionalProperties": True,
    }
    return {
        "Chart.yaml": _CHART.replace("@NAME@", name),
        "values.yaml": _values_text(values, groups),
        "values.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        "README.md": _readme(name, notes),
        **files,
    }


_CHART = """\
apiVersion: v2
name: @NAME@
description: Drawn from objects that were there
type: application
version: 0.1.0
engine: jinja2
"""


def _values_text(values: Mapping[str, Any], groups: Mapping[str, Sequence[Manifest]]) -> str:
    lines = ["# What differs between objects of a kind; what they have in common is in the templates.\n"]
    for name, value in values.items():
        count = len(groups.get(name, ()))
        comment = f"\n# {count} by name; one more is made by one more entry.\n" if count else "\n"
        if name == "secrets":
            comment = "\n# Given at install, never here: --set secrets.NAME=secret://env/VARIABLE\n"
        lines.append(comment + dump({name: value}, width=None))
    return "".join(lines)


def _readme(name: str, notes: Iterable[str]) -> str:
    known = "".join(f"* {note}\n" for note in notes)
    return (
        f"# {name}\n\nDrawn from objects that were there. The first install takes them over and changes nothing:\n\n"
        f"```sh\npvehelm plan install {name} . --take-ownership all\n"
        f"pvehelm install {name} . --take-ownership all\n```\n" + (f"\nTo know:\n\n{known}" if known else "")
    )


# -- who is like whom --------------------------------------------------------------------------------------------


def _grouped(manifests: Sequence[Manifest]) -> list[list[Manifest]]:
    """Manifests of one build together: by the stem of their names, and the single ones by what they say."""
    found: dict[tuple[Any, ...], list[Manifest]] = {}
    for manifest in manifests:
        found.setdefault((*_build(manifest), _stem(manifest["metadata"]["name"])), []).append(manifest)
    groups: list[list[Manifest]] = [members for members in found.values() if len(members) > 1]
    for (single,) in [members for members in found.values() if len(members) == 1]:
        like = next((g for g in groups if _build(g[0]) == _build(single) and _likeness(g[0], single) >= LIKE), None)
        if like is None:
            groups.append([single])
        else:
            like.append(single)
    return groups


def _build(manifest: Manifest) -> tuple[Any, ...]:
    """What has to be equal for two manifests to be of one build: their kind, and how many parts of each sort."""
    spec = manifest["spec"]
    parts = [(key, len(value)) for key, value in sorted(spec.items()) if isinstance(value, list) and key not in OWN]
    return (manifest["kind"], bool(spec.get("isTemplate")), "cloudInit" in spec, *parts)


def _stem(name: str) -> str:
    return re.sub(r"[-._]*\d+\Z", "", name) or name


def _likeness(one: Manifest, other: Manifest) -> float:
    """How much of what two manifests say is the same, from 0 to 1."""
    left, right = (dict(scalars({k: v for k, v in m["spec"].items() if k not in OWN})) for m in (one, other))
    keys = left.keys() | right.keys()
    return sum(left.get(key, _MISSING) == right.get(key, _MISSING) for key in keys) / len(keys) if keys else 1.0


def _named_groups(groups: Sequence[list[Manifest]]) -> dict[str, list[Manifest]]:
    """Groups by a name that is a word of values.yaml: the stem that they share, else what they are."""
    named: dict[str, list[Manifest]] = {}
    for members in groups:
        stems = {_stem(member["metadata"]["name"]) for member in members}
        kind = members[0]["kind"]
        label = _camel([stems.pop()]) if len(stems) == 1 else f"{kind[0].lower()}{kind[1:]}s"
        unique, number = label, 2
        while unique in named or unique in ("global", "secrets"):
            unique, number = f"{label}{number}", number + 1
        named[unique] = members
    return named


# -- one group ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    """A place of a template that is filled from the values."""

    name: str
    optional: bool


@dataclass
class _Group:
    """Manifests of one build, taken apart into what they share and what each has of its own."""

    label: str
    members: Sequence[Manifest]
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    optional: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.values = {member["metadata"]["name"]: {} for member in self.members}
        whole = [
            {
                "metadata": {key: value for key, value in member["metadata"].items() if key != "name"},
                "spec": member["spec"],
            }
            for member in self.members
        ]
        self.tree = self._merged((), whole)

    def template(self) -> str:
        first = self.members[0]
        loop = f"{{% for name, it in {_access('Values', self.label)}.items() %}}\n---\n"
        head = f"apiVersion: {first['apiVersion']}\nkind: {first['kind']}\nmetadata:\n  name: {{{{ name | toJson }}}}\n"
        return (
            loop
            + head
            + "".join(_rows(self.tree["metadata"], 2))
            + "spec:\n"
            + "".join(_rows(self.tree["spec"], 2))
            + "{% endfor %}\n"
        )

    def schema(self) -> dict[str, Any]:
        rows = list(self.values.values())
        names = list(dict.fromkeys(name for row in rows for name in row)) + sorted(self.optional)
        properties = {name: _type([row[name] for row in rows if name in row]) for name in dict.fromkeys(names)}
        required = sorted(name for name in properties if name not in self.optional)
        one: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return {"type": "object", "additionalProperties": one | ({"required": required} if required else {})}

    def _merged(self, path: Path, values: list[Any]) -> Any:
        """The tree of a template: maps and lists of trees, plain values that all share, and places for the others."""
        first = values[0]
        maps = all(isinstance(value, Mapping) for value in values)
        lists = all(isinstance(value, list) and all(isinstance(i, Mapping) for i in value) for value in values)
        if maps and (len(path) < 2 or first):
            keys = dict.fromkeys(key for value in values for key in value)
            made = {key: self._tried((*path, key), [value.get(key, _MISSING) for value in values]) for key in keys}
            if len(path) < 2 or any(not _may_miss(tree) for tree in made.values()):
                for tree, key in ((tree, key) for key, tree in made.items()):
                    made[key] = self._settled(tree, (*path, key), [value.get(key, _MISSING) for value in values])
                return made
        elif lists and first and all(len(value) == len(first) for value in values):
            items = [[value[index] for value in values] for index in range(len(first))]
            return [self._merged((*path, index), rows) for index, rows in enumerate(items)]
        elif path not in SALIENT and all(value == first for value in values) and not _odd(first):
            return first
        return self._place(path, values)

    def _tried(self, path: Path, values: list[Any]) -> Any:
        """A first look that leaves no values behind: whether a place may be missing decides about what is around it."""
        return _Value("", True) if any(value is _MISSING or _is_secret(value) for value in values) else None

    def _settled(self, tree: Any, path: Path, values: list[Any]) -> Any:
        return self._place(path, values) if _may_miss(tree) else self._merged(path, values)

    def _place(self, path: Path, values: list[Any]) -> _Value:
        name = _camel([str(part) for part in _words(path)])
        while any(name in row for row in self.values.values()):
            name += "Too"
        optional = path in GIVEN
        for row, value in zip(self.values.values(), values, strict=True):
            if value is _MISSING or _is_secret(value):
                optional = True
            else:
                row[name] = value
        if optional:
            self.optional.add(name)
        return _Value(name, optional)


def _may_miss(tree: Any) -> bool:
    return isinstance(tree, _Value) and tree.optional


def _is_secret(value: Any) -> bool:
    """References are the user's to give: those in a chart's own text are not resolved."""
    return isinstance(value, str) and SECRET in value


def _odd(value: Any) -> bool:
    """Whether a text can't stand in a template as it is."""
    return bool(_MARKUP.search(dump(value, width=None))) or _is_secret(value)


def _words(path: Path) -> list[str]:
    """``("spec", "disks", 0, "size")`` as ``disk0``, ``size``."""
    words: list[str] = []
    for part in path[1:]:
        if isinstance(part, int):
            words[-1] = f"{words[-1].removesuffix('s')}{part}"
        else:
            words.append(part)
    return words


def _rows(tree: Mapping[str, Any], depth: int) -> list[str]:
    """The lines of a map; those that may be missing last, so that a list's item begins with one that is there."""
    pad = " " * depth
    rows: list[str] = []
    for key, inner in sorted(tree.items(), key=lambda item: _may_miss(item[1])):
        word = dump({key: 0}, width=None).rpartition(":")[0]
        if isinstance(inner, _Value):
            line = f"{pad}{word}: {{{{ {_access('it', inner.name)} | toJson }}}}\n"
            test = f'{{% if "{inner.name}" in it %}}\n'
            rows += [test, line, "{% endif %}\n"] if inner.optional else [line]
        elif isinstance(inner, Mapping) and inner and _has_place(inner):
            rows += [f"{pad}{word}:\n", *_rows(inner, depth + 2)]
        elif isinstance(inner, list) and _has_place(inner):
            rows.append(f"{pad}{word}:\n")
            for item in inner:
                first, *rest = (
                    [f"{{{{ {_access('it', item.name)} | toJson }}}}\n"]
                    if isinstance(item, _Value)
                    else _rows(item, depth + 4)
                )
                rows += [f"{pad}  - {first.lstrip()}", *rest]
        else:
            rows += [pad + line for line in dump({key: inner}, width=None).splitlines(keepends=True)]
    return rows


def _has_place(tree: Any) -> bool:
    if isinstance(tree, Mapping):
        return any(_has_place(inner) for inner in tree.values())
    return any(_has_place(inner) for inner in tree) if isinstance(tree, list) else isinstance(tree, _Value)


def _access(of: str, name: str) -> str:
    """``it.memory``, or ``it["items"]`` where a name would mean something else."""
    return f"{of}.{name}" if name.isidentifier() and not hasattr(dict, name) else f'{of}["{name}"]'


def _type(values: Sequence[Any]) -> dict[str, Any]:
    words: list[tuple[type[Any], str]] = [
        (bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), (list, "array"), (dict, "object"),
    ]  # fmt: skip
    found = sorted({next((word for kind, word in words if isinstance(value, kind)), "null") for value in values})
    return {"type": found[0] if len(found) == 1 else found} if found else {"type": "string"}


# -- the others --------------------------------------------------------------------------------------------------


def _literal(manifest: Manifest, secrets: dict[str, str]) -> str:
    """A manifest as a template; secrets are left for the values, and what looks like markup is shielded."""
    spec, rows = dict(manifest["spec"]), ""
    for key, value in list(spec.items()):
        if _is_secret(value):
            name = _camel([manifest["metadata"]["name"], key])
            secrets[name] = str(value)
            place = _access("Values.secrets", name)
            rows += f"{{% if {place} %}}\n  {key}: {{{{ {place} | toJson }}}}\n{{% endif %}}\n"
            del spec[key]
    body = dump({**manifest, "spec": spec}, width=None) if spec else dump({**manifest, "spec": {}}, width=None)
    if rows:
        if not spec:
            body = body.removesuffix("spec: {}\n") + "spec:\n"
        return _shielded(body) + rows
    return _shielded(body)


def _shielded(text: str) -> str:
    return f"{{% raw %}}\n{text}{{% endraw %}}\n" if _MARKUP.search(text) else text


def _camel(words: Sequence[str]) -> str:
    parts = [part for word in words for part in re.split(r"[^A-Za-z0-9]+", word) if part]
    if not parts:
        return "objects"
    made = parts[0][0].lower() + parts[0][1:] + "".join(part[0].upper() + part[1:] for part in parts[1:])
    return made if made[0].isalpha() else f"n{made}"


def _file(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
