"""Access entries: one path and role, one row of the server's list per subject (AccessControl)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from pvehelm.api import scopes, values
from pvehelm.api.item import Item
from pvehelm.api.kind import Get, Key, Live, Manifest, Step, Wanted
from pvehelm.api.singleton import ending

if TYPE_CHECKING:
    from pvehelm.api.checks import Checks


class Entries(Item):
    """The entries of one path and role: each listed subject is a leaf whose value is ``propagate``.

    ``fields`` is ``{"user:joe@pve": 1, "group:ops": 1, ...}`` (a dot in a name is ``%2E``: leaves keep theirs for
    sub-keys); other subjects on the same path and role belong to others and stay.
    """

    always_there = True
    several = True
    SUBJECTS: ClassVar[Mapping[str, str]] = {"users": "user", "groups": "group", "tokens": "token"}
    PARAMS: ClassVar[Mapping[str, str]] = {word: name for name, word in SUBJECTS.items()}

    def check_more(self, checks: Checks) -> None:
        """The path has to be one that access can be given on."""
        path = checks.spec.get("path")
        if not isinstance(path, str) or values.is_open(path):
            return
        parts = [part for part in path.split("/") if part]
        roots = ("access", "mapping", "nodes", "pool", "sdn", "storage", "vms")
        if parts and parts[0] not in roots:
            hint = f"/ or one below {', '.join(f'/{root}' for root in roots)}"
            checks.report(("spec", "path"), f"'{path}' is no path of access control", hint)
        elif not re.fullmatch(r"[A-Za-z0-9._@!/-]*", path):
            checks.report(("spec", "path"), f"'{path}' is no path of access control")

    def _lower(self, resource: Manifest, resolve: Callable[[str], str]) -> Wanted:
        plain = super()._lower(resource, resolve)
        given = plain.fields.get("propagate")
        spread = 1 if given is None else given
        fields: dict[str, int] = {}
        origins: dict[str, tuple[str | int, ...]] = {}
        for name, word in self.SUBJECTS.items():
            for index, subject in enumerate(plain.fields.get(name) or []):
                fields[_subject_leaf(word, subject)] = spread
                origins[_subject_leaf(word, subject)] = ("spec", name, index)
        needs = [*plain.needs, *_acl_path_needs(str(resource.spec.get("path", "")))]
        path = "/" + "/".join(part for part in str(plain.key["path"]).split("/") if part)
        if path.startswith("/vms/") and scopes.is_guest_ref(path.removeprefix("/vms/")):
            guest = path.removeprefix("/vms/")
            path = f"/vms/{self._guest(guest, 'vmid', resolve, needs)}"
        return Wanted(
            ref=plain.ref,
            kind=plain.kind,
            name=plain.name,
            namespace=plain.namespace,
            key={"path": path, "role": plain.key["roles"]},
            fields=fields,
            needs=tuple(dict.fromkeys(needs)),
            privileged=plain.privileged,
            origins=origins,
        )

    async def read(self, key: Key, get: Get) -> Live | None:
        """See Kind.read: always there, entry by entry."""
        found: dict[str, int] = {}
        for row in await get("/access/acl") or []:
            if row.get("path") == key["path"] and row.get("roleid") == key["role"] and row.get("type") in self.PARAMS:
                found[_subject_leaf(row["type"], row["ugid"])] = int(str(row.get("propagate", 1) or 0))
        return Live(key=key, fields=found, extra={"vacant": True})

    def same(self, leaf: str, wanted: Any, live: Any) -> bool:
        """See Kind.same."""
        if wanted is None or live is None:
            return wanted is None and live is None
        return int(wanted) == int(live)

    def refusal(self, leaf: str, before: Any, after: Any, live: Live) -> str:
        return "create-only" if leaf in ("path", "role") else ""

    def create(self, wanted: Wanted, context: Mapping[str, Any]) -> list[Step]:
        """See Kind.create."""
        steps = self.update(Live(wanted.key, {}), dict(wanted.fields), wanted)
        return [replace(steps[0], creates=True), *steps[1:]] if steps else []

    def update(self, live: Live, changes: Mapping[str, Any], wanted: Wanted | None) -> list[Step]:
        """See Kind.update: one call for all subjects that get the same, one for those that go.

        Without ``wanted`` all that is owned is given back, and the last step ends that.
        """
        groups: dict[Any, dict[str, list[str]]] = {}
        written: dict[Any, list[str]] = {}
        for leaf, value in changes.items():
            word, _, subject = leaf.replace("%2E", ".").partition(":")
            groups.setdefault(value, {}).setdefault(self.PARAMS[word], []).append(subject)
            written.setdefault(value, []).append(leaf)
        steps: list[Step] = []
        # Giving comes before taking.
        for value in sorted(groups, key=lambda value: value is None):
            subjects = {name: ",".join(listed) for name, listed in sorted(groups[value].items())}
            sent = {"path": live.key["path"], "roles": live.key["role"], **subjects}
            sent |= {"delete": 1} if value is None else {"propagate": int(value)}
            note = "take the role away" if value is None else "give the role"
            steps.append(Step("PUT", "/access/acl", sent, writes=tuple(written[value]), note=note))
        return ending(steps) if wanted is None else steps

    def delete(self, live: Live) -> list[Step]:
        """Takes the role from every subject in ``live.fields``: pass a Live that holds only what is owned."""
        return self.update(live, dict.fromkeys(live.fields), None)


def _subject_leaf(word: str, subject: str) -> str:
    return f"{word}:{str(subject).replace('.', '%2E')}"


def _acl_path_needs(path: str) -> list[str]:
    """What an access path names: ``/pool/x`` a Pool, ``/storage/x`` a Storage."""
    head, _, rest = path.strip("/").partition("/")
    kind = {"pool": "Pool", "storage": "Storage"}.get(head)
    return [f"{kind}/{rest}"] if kind and rest else []
