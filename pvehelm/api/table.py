"""One table of ``kinds.toml``: what the schema does not say about a kind, as data.

Every key is described at the head of ``kinds.toml``; an unknown key is an error, so that a typo is no silent default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from pvehelm.api.privilege import Privileges
from pvehelm.api.releases import version_key
from pvehelm.errors import InvalidError

_NOTHING: Mapping[str, Any] = {}
STRATEGIES = ("item", "singleton", "list", "entries", "verb", "switch", "guest", "hook")


class _Row:
    """What TOML says; the attributes of a class are the keys that there may be, and what holds without them.

    No dataclass: making those of sixty attributes takes longer than reading the tables.
    """

    def __init__(self, row: Mapping[str, Any] = _NOTHING, where: str = "") -> None:
        given = {key.replace("-", "_"): _frozen(value) for key, value in row.items()}
        unknown = sorted(given.keys() - type(self).__annotations__.keys())
        if unknown:
            raise InvalidError(f"kinds.toml: {where}: unknown key {', '.join(unknown)}")
        self.__dict__.update(given)


class FieldRule(_Row):
    """Corrections of one field of a spec."""

    wire: str = ""
    required: bool = False
    create_only: bool = False
    # A secret the server never shows; a plain value it does not show either.
    write_only: bool = False
    recorded: bool = False
    # Part of what addresses the object: in the key, not among the fields.
    identity: bool = False
    # Sent with the creation and never compared.
    once: bool = False
    # The value holds guests: "vmid" (100), "sid" (vm:100).
    guest: str = ""
    # Kinds the value names.
    references: tuple[str, ...] = ()
    # What the server means when the field is not there.
    absent: Any = None
    # Values the server treats alike: written -> stored.
    alike: Mapping[str, str] = _NOTHING
    # The two words a YAML boolean stands for where no enumeration says so.
    words: tuple[str, ...] = ()
    # Facts of a field that no parameter of the schema describes, or that correct it.
    facts: Mapping[str, Any] = _NOTHING
    # Another operation that sets the field: "PUT /access/password".
    setter: str = ""
    # The field is a set that the update operation adds to, and removes from with delete=1.
    membership: bool = False
    # Releases that have the field.
    since: str = ""
    until: str = ""
    # The server keeps only the first line of it.
    first_line: bool = False
    # Keys of the property string that are lists without an order.
    sets: tuple[str, ...] = ()
    # What is not ASCII in it comes back broken.
    garbled: bool = False
    # Formats do not apply (the server does not check it either).
    unchecked: bool = False
    # Where a row of the server has it, when under another name; how an identity is compared with it: "cidr" (a network
    # in an identifier such as zone-10.0.0.0-24), "basename" (what follows the last / or : of a volume id or path),
    # "stem" (that, with any ending).
    column: str = ""
    compare: str = ""
    # What the server puts in front of the value.
    strip: str = ""
    # The value of an identity that is left out.
    default: str = ""


class Children(_Row):
    """Rows below an item that are one list of it: the rules of a group, the entries of a set."""

    field: str
    shape: str = "ordered"
    id: str = ""
    path: str = ""
    item: str = ""
    # rule type -> scopes that have it
    types: Mapping[str, Sequence[str]] = _NOTHING
    requires: Mapping[str, str] = _NOTHING


class Table(_Row):
    """A kind's table."""

    name: str
    strategy: str
    plural: str = ""
    short: tuple[str, ...] = ()
    path: str = ""
    create: str = ""
    update: str = ""
    delete: str = ""
    index: str = ""
    get: str = ""
    id: str = ""
    name_template: str = ""
    read: str = "list"
    index_params: Mapping[str, Any] = _NOTHING
    delete_params: Mapping[str, Any] = _NOTHING
    # Kinds that it has use for without naming them: theirs come first.
    follows: tuple[str, ...] = ()
    # Its guest can't be removed while it is there; the parameters of its removal until the guest is made anew.
    away: Mapping[str, Any] | None = None
    # Finds the guest in its name.
    guest_name: str = ""
    scopes: tuple[str, ...] = ()
    evidence: str = "schema"
    # True for the whole kind, else what of it needs --allow-privileged: see ``api.privilege``.
    privileged: bool | tuple[str, ...] = False
    since: str = ""
    until: str = ""
    drop: tuple[str, ...] = ()
    hints: Mapping[str, str] = _NOTHING
    required: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    conflicts: tuple[tuple[str, str], ...] = ()
    type_options: str = ""
    digest: str = ""
    unset: str = ""
    rename: bool = False
    replaces: bool = False
    along: tuple[str, ...] = ()
    # Names that are the server's own (a regular expression).
    reserved: str = ""
    nested: str = ""
    parent: str = ""
    keep: Mapping[str, str] = _NOTHING
    signed: str = ""
    # Where lists and items differ from what is usual.
    id_column: str = ""
    id_prefix: str = ""
    rows: str = ""
    match: Mapping[str, Any] = _NOTHING
    locate: Mapping[str, str] = _NOTHING
    pairs: tuple[str, ...] = ()
    lift: tuple[str, ...] = ()
    constants: Mapping[str, Any] = _NOTHING
    data: bool = False
    hides: bool = False
    elsewhere: str = ""
    # What a group of kinds has in common: "PUT /cluster/sdn" makes the changes of all of them count.
    commit: str = ""
    lock: str = ""
    # Fields that only root@pam may set: "hookscript", or "features~REGEX" for values that match.
    root: tuple[str, ...] = ()
    # What `get` shows beside the name: "HEAD=path" or "HEAD=path:form"; more of it with -o wide.
    columns: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    # Permission checks that the schema does not say.
    rights: Mapping[str, Any] = _NOTHING
    # Privileges on the guest that single parameters ask for.
    options: Mapping[str, Any] = _NOTHING
    fields: Mapping[str, FieldRule] = _NOTHING
    children: Children | None = None

    @classmethod
    def make(cls, name: str, row: Mapping[str, Any]) -> Table:
        """A table from TOML. Raises InvalidError naming what is unknown in it."""
        rules = {key: FieldRule(rule, f"{name}.fields.{key}") for key, rule in row.get("fields", {}).items()}
        below = row.get("children")
        children = Children(below, f"{name}.children") if below else None
        made = cls({**row, "name": name, "fields": rules, "children": children}, name)
        if made.strategy not in STRATEGIES:
            raise InvalidError(f"kinds.toml: {name}: unknown strategy {made.strategy!r}")
        return made

    @cached_property
    def privileges(self) -> Privileges:
        """What of the kind needs the user's word."""
        return Privileges(self.privileged if isinstance(self.privileged, tuple) else ())

    def has_release(self, release: str) -> bool:
        """Whether a release (``9.2``) has the kind."""
        return in_release(release, self.since, self.until)

    @cached_property
    def name_pattern(self) -> re.Pattern[str] | None:
        """How ``metadata.name`` splits into several path variables (``{userid}!{tokenid}``)."""
        if not self.name_template:
            return None
        parts = re.split(r"\{([^}]+)\}", self.name_template)
        text = "".join(f"(?P<{part}>.+)" if index % 2 else re.escape(part) for index, part in enumerate(parts))
        return re.compile(text)


def in_release(release: str, since: str, until: str) -> bool:
    version = version_key(release)
    return (not since or version >= version_key(since)) and (not until or version < version_key(until))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
