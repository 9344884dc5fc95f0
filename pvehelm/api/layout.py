"""How the API's paths become Python names: attributes, keywords, classes and the modules they are found in.

Attributes are path segments, keywords are parameters, fields are keys of answers; in each what Python cannot spell
becomes ``_``. The wire's names stay the only truth: everything here maps a Python name to the wire's, never back.
Read by the navigation at run time and by the generator of the stubs, so that both say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, cached_property
from keyword import iskeyword
from typing import NamedTuple

from pvehelm.api.schema import METHODS, Facts, Operation, Param, Schema

VERBS = {"GET": "get", "POST": "post", "PUT": "put", "DELETE": "delete"}
ALIASES = {"POST": "create", "PUT": "update"}
LINES, STREAM = "lines", "stream"
SECTION_SIZE = 16
"""Operations below a path that earn it a module of its own."""

# Attributes of every pydantic model: an answer's key of that name gets an underscore (a test compares).
MODEL_NAMES = frozenset(
    [
        "construct",
        "copy",
        "dict",
        "from_orm",
        "json",
        "numbered",
        "parse_file",
        "parse_obj",
        "parse_raw",
        "schema",
        "schema_json",
        "update_forward_refs",
        "validate",
        "model_computed_fields",
        "model_config",
        "model_construct",
        "model_copy",
        "model_dump",
        "model_dump_json",
        "model_extra",
        "model_fields",
        "model_fields_set",
        "model_json_schema",
        "model_parametrized_name",
        "model_post_init",
        "model_rebuild",
        "model_validate",
        "model_validate_json",
        "model_validate_strings",
    ]
)

# Writes whose answer is a text, where the others of their kind begin a task.
TEXTS = frozenset(
    {
        ("POST", "/access/openid/auth-url"),
        ("POST", "/cluster/sdn/lock"),
        ("POST", "/nodes/{node}/qemu/{vmid}/monitor"),
        ("POST", "/nodes/{node}/storage/{storage}/content"),
        ("POST", "/nodes/{node}/wakeonlan"),
    }
)
# Tasks, or a word when there is nothing to do.
WORDS = frozenset({("POST", "/nodes/{node}/vzdump")})

# Names that the stubs need for themselves.
TAKEN = frozenset(
    {"Any", "Begin", "C", "Flag", "Iterate", "Literal", "Mapping", "MayBegin", "Model", "Path", "Properties", "Read"}
    | {"Required", "Sequence", "Texts", "TypeAlias", "TypedDict", "Unpack", "Write"}
)


def python_name(name: str) -> str:
    """A wire name as an identifier: ``base-id`` -> ``base_id``, ``net[n]`` -> ``net``, ``in`` -> ``in_``."""
    text = re.sub(r"\W", "_", name.removesuffix("[n]"), flags=re.ASCII)
    if not text.strip("_") or text[0].isdigit():
        text = f"n_{text}"
    return f"{text}_" if iskeyword(text) else text


def segment_name(segment: str) -> str:
    """A path segment as an attribute; those that a path's own methods have get an underscore."""
    text = python_name(segment)
    return f"{text}_" if text in (*VERBS.values(), LINES, STREAM) else text


def field_name(name: str) -> str:
    """An answer's key as a field of a model."""
    text = python_name(name).lstrip("_")
    return f"{text}_" if text in MODEL_NAMES else text


def camel(text: str) -> str:
    """``disk-list`` -> ``DiskList``."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", text))


def segments(template: str) -> list[str]:
    return [segment for segment in template.split("/") if segment]


def join(parts: list[str]) -> str:
    return "/" + "/".join(parts)


class Name(NamedTuple):
    """What a name of a section's module stands for: a path's class, or the model of an operation's answer."""

    kind: str
    template: str
    method: str = ""
    trail: tuple[str, ...] = ()


class Keywords:
    """The keywords of an operation: ``plain`` parameters and numbered ``families``, by Python name.

    A name may be both (``numa``, ``numa[n]``): a map by index means the family.
    """

    def __init__(self, operation: Operation) -> None:
        self.plain: dict[str, Param] = {}
        self.families: dict[str, Param] = {}
        variants = list(operation.variants.values())
        # What only some variants need is not needed by the call as such; the check knows which one is meant.
        self.required = {
            python_name(name)
            for name, param in operation.everything.items()
            if param.required and (name not in _varying(operation) or all(name in variant for variant in variants))
        }
        for name, param in operation.everything.items():
            if name not in operation.path_names:
                (self.plain if param.index is None else self.families)[python_name(name)] = param


def _varying(operation: Operation) -> set[str]:
    return {name for variant in operation.variants.values() for name in variant if name not in operation.params}


class Layout:
    """The names of one schema."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    # -- the tree of paths -------------------------------------------------------------------------------------

    @cached_property
    def tree(self) -> dict[str, dict[str, str]]:
        """Every path, those without methods included, and below it ``{segment: path}``; ``{node}`` is a segment."""
        tree: dict[str, dict[str, str]] = {"/": {}}
        for path in self.schema.paths:
            parts = segments(path)
            for depth, part in enumerate(parts):
                here, there = join(parts[:depth]), join(parts[: depth + 1])
                tree.setdefault(here, {})[part] = there
                tree.setdefault(there, {})
        return tree

    def attributes(self, template: str) -> dict[str, str]:
        """Attribute -> path below."""
        below = self.tree.get(template, {})
        return {segment_name(part): path for part, path in below.items() if not part.startswith("{")}

    def variable(self, template: str) -> tuple[str, str] | None:
        """The parameter's name and the path that a call of ``template`` leads to, or None."""
        below = self.tree.get(template, {})
        return next(((part[1:-1], path) for part, path in below.items() if part.startswith("{")), None)

    def methods(self, template: str) -> dict[str, str]:
        """Method name, aliases included -> HTTP method."""
        found = {VERBS[verb]: verb for verb in self.schema.methods(template)}
        taken = self.attributes(template)
        found |= {
            ALIASES[verb]: verb for verb in tuple(found.values()) if verb in ALIASES and ALIASES[verb] not in taken
        }
        return found

    def has_lines(self, template: str) -> bool:
        """Is it a log that is read page by page (rows of ``n`` and ``t``)?"""
        operation = self.schema.find("GET", template)
        if operation is None or not {"start", "limit"} <= set(operation.params):
            return False
        items = operation.returns.get("items") or {}
        return {"n", "t"} <= set(items.get("properties") or {})

    def has_stream(self, template: str) -> bool:
        """Is the answer a file, always or when asked for with ``download``?"""
        operation = self.schema.find("GET", template)
        return operation is not None and (operation.returns.get("type") == "any" or "download" in operation.params)

    def answer_kind(self, operation: Operation) -> str:
        """``Read``, ``Write``, ``Begin`` (a task) or ``MayBegin`` (perhaps a task): see ``api.methods``."""
        if operation.method == "GET":
            return "Read"
        key = (operation.method, operation.path)
        if operation.returns.get("type") != "string" or key in TEXTS:
            return "Write"
        return "MayBegin" if operation.returns.get("optional") or key in WORDS else "Begin"

    def is_upload(self, template: str) -> bool:
        """Does POST take a file (which the node's proxy leaves under ``tmpfilename``)?"""
        operation = self.schema.find("POST", template)
        return operation is not None and "tmpfilename" in operation.params

    # -- sections ----------------------------------------------------------------------------------------------

    @cached_property
    def sections(self) -> dict[str, str]:
        """Module name -> the path it begins at: the first segments, and every branch of some size below them."""
        sizes: dict[str, int] = {}
        for operation in self.schema.operations():
            parts = segments(operation.path)
            for depth in range(1, len(parts) + 1):
                if not parts[depth - 1].startswith("{"):
                    sizes[join(parts[:depth])] = sizes.get(join(parts[:depth]), 0) + 1
        found = {"root": "/"}
        for path, size in sizes.items():
            parts = segments(path)
            if len(parts) == 1 or (len(parts) > 1 and size >= SECTION_SIZE):
                words = [part for part in parts if not part.startswith("{")]
                found[python_name("_".join(words)).lower()] = path
        return dict(sorted(found.items()))

    def section_of(self, template: str) -> str:
        """The module that holds a path's class."""
        inside = [name for name, path in self.sections.items() if path == "/" or f"{template}/".startswith(f"{path}/")]
        return max(inside, key=lambda name: len(self.sections[name]))

    @cached_property
    def _members(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {name: [] for name in self.sections}
        for template in self.tree:
            found[self.section_of(template)].append(template)
        return found

    def templates(self, section: str) -> list[str]:
        """The paths of a module, parents first."""
        return sorted(self._members[section])

    @cached_property
    def _class_names(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for section, members in self._members.items():
            start = max(0, len(segments(self.sections[section])) - 1)
            taken: set[str] = set(TAKEN)
            for template in sorted(members):
                name = "".join(map(camel, segments(template)[start:])) or "Root"
                if name in TAKEN:
                    name = "".join(map(camel, segments(template)))
                while name in taken:
                    name += "_"
                taken.add(name)
                names[template] = name
        return names

    def class_name(self, template: str) -> str:
        """``/nodes/{node}/qemu/{vmid}/config`` -> ``QemuVmidConfig``; unique in its module."""
        return self._class_names[template]

    def model_name(self, operation: Operation, trail: tuple[str, ...] = ()) -> str:
        """``QemuVmidConfigData``, for rows ``QemuRow``: the model of an answer, or of the object at ``trail`` in it."""
        verb = "" if operation.method == "GET" else VERBS[operation.method].capitalize()
        kind = "Row" if operation.returns.get("type") == "array" else "Data"
        return self.class_name(operation.path) + verb + kind + "".join(map(camel, trail))

    def names(self, section: str) -> dict[str, Name]:
        """What the module of that name holds."""
        found: dict[str, Name] = {}
        for template in self.templates(section):
            found[self.class_name(template)] = Name("path", template)
        for template in self.templates(section):
            for method in METHODS:
                operation = self.schema.find(method, template)
                for trail in objects(operation.returns) if operation else ():
                    assert operation is not None
                    found[self.model_name(operation, trail)] = Name("model", template, method, trail)
        return found


@cache
def layout_of(schema: Schema) -> Layout:
    return Layout(schema)


def properties(facts: Facts) -> Facts:
    """The keys of an object in an answer; of alternatives, all of them (optional then)."""
    found = dict(facts.get("properties") or {})
    for part in facts.get("oneOf") or ():
        for name, sub in (part.get("properties") or {}).items():
            found.setdefault(name, {**sub, "optional": 1})
    return found


def objects(facts: Facts, trail: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where an answer holds objects with known keys, outermost first; rows of a list have the list's trail."""
    while facts.get("type") == "array" and isinstance(facts.get("items"), dict):
        facts = facts["items"]
    found = properties(facts)
    if found:
        yield trail
    for name, sub in found.items():
        if isinstance(sub, dict):
            yield from objects(sub, (*trail, name))
