"""Copies of a store, or of some of its releases: rows from one store to another, and a file between them.

A row is ``(table, {column: value})``; what refers to a release by number keeps the number that it has in the copy.
Secrets are copied sealed, as they are: whoever reads them needs the key that sealed them.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pvehelm.errors import InvalidError, LeaseHeldError, Problem, RefusedError, StoreError
from pvehelm.release.contents import CONTENTS
from pvehelm.release.health import is_whole
from pvehelm.release.lease import shown
from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store

FORMAT = 1
# In the order in which they can be filled; those with a release's number in them; those with a key of their own.
TABLES = (
    "meta",
    "blobs",
    "releases",
    "revisions",
    "inventory",
    "reservations",
    "journal",
    "secrets",
    "leases",
    "audit",
)
OF_RELEASE = ("revisions", "inventory", "reservations", "journal", "secrets")
NUMBERED = ("journal",)
HINT = "a file that `pvehelm store export` wrote"
Row = tuple[str, dict[str, Any]]


class Copied(NamedTuple):
    """What a copy brought: rows by table, and the keys of its releases."""

    rows: Mapping[str, int]
    releases: tuple[ReleaseKey, ...]
    # The ids of the keys that seal the secrets that came with it.
    key_ids: tuple[str, ...] = ()


def rows(store: Store, keys: Collection[ReleaseKey] | None = None) -> Iterator[Row]:
    """Everything in a store, or all that belongs to some releases. Call it inside a transaction."""
    if keys is None:
        for table in TABLES:
            order = {"journal": "id", "audit": "seq", "releases": "id"}.get(table)
            for row in store.db.rows(f"SELECT * FROM {table}" + (f" ORDER BY {order}" if order else "")):
                if not (table == "meta" and row["name"] == "moved"):
                    yield table, _plain(row)
        return
    for key in keys:
        number = store.id_of(key)
        known = store.meta()
        for name in store.notes_about(key):
            yield "meta", {"name": name, "value": known[name]}
        contents = {
            digest
            for row in store.db.rows(f"SELECT {', '.join(CONTENTS)} FROM revisions WHERE release_id = ?", (number,))
            for digest in tuple(row)
            if digest
        }
        for digest in sorted(contents):
            yield "blobs", _plain(store.db.row("SELECT * FROM blobs WHERE digest = ?", (digest,)))
        yield "releases", _plain(store.db.row("SELECT * FROM releases WHERE id = ?", (number,)))
        for table in OF_RELEASE:
            order = " ORDER BY id" if table in NUMBERED else ""
            for row in store.db.rows(f"SELECT * FROM {table} WHERE release_id = ?{order}", (number,)):
                yield table, _plain(row)
        for row in store.db.rows("SELECT * FROM leases WHERE scope = ?", (key.scope,)):
            yield "leases", _plain(row)
        sql = "SELECT * FROM audit WHERE cluster = ? AND namespace = ? AND release = ? ORDER BY seq"
        for row in store.db.rows(sql, tuple(key)):
            yield "audit", _plain(row)


def _plain(row: Any) -> dict[str, Any]:
    return {name: row[name] for name in row.keys()}  # noqa: SIM118 (a row's own iteration gives values)


def load(store: Store, copy: Iterable[Row], *, replace: bool = False) -> Copied:
    """Fill what is copied into a store, all or nothing.

    Raises RefusedError with everything that is in the way: releases that are there already (unless ``replace``: then
    theirs go, but their audit trail stays), objects and VMIDs that another release of this store has.
    """
    counts: dict[str, int] = {}
    numbers: dict[int, int] = {}
    keys: list[ReleaseKey] = []
    sealed: set[str] = set()
    trail: list[dict[str, Any]] = []
    with store.transaction():
        problems: list[Problem] = []
        for table, row in copy:
            counts[table] = counts.get(table, 0) + 1
            if table == "audit":
                trail.append(row)
            elif table == "releases":
                key = ReleaseKey(row["cluster"], row["namespace"], row["name"])
                keys.append(key)
                problems += _in_the_way(store, key, str(row["uid"]), replace)
                if not problems:
                    numbers[row["id"]] = store.db.insert(*_insert(table, _without(row, "id")))
            elif table == "leases":
                # A number that was given to somebody once is never given again.
                sql, values = _insert(table, {**row, "held": 0})
                store.db.execute(
                    f"{sql} ON CONFLICT (scope) DO UPDATE SET held = 0, fence = "
                    "CASE WHEN excluded.fence > leases.fence THEN excluded.fence ELSE leases.fence END + 1",
                    values,
                )
            elif table in OF_RELEASE:
                if problems:
                    continue
                row = {
                    **_without(row, *(["id"] if table in NUMBERED else [])),
                    "release_id": numbers[row["release_id"]],
                }
                problems += _taken(store, table, row)
                sealed |= {row["key_id"]} if table == "secrets" else set()
                if not problems:
                    store.db.execute(*_insert(table, row))
            elif table in TABLES:
                sql, values = _insert(table, row)
                # What is damaged here comes back with a copy that has it whole.
                whole = table == "blobs" and is_whole(row)
                # Of what is noted about releases the copy's counts, where its releases do.
                noted = replace and table == "meta" and ":" in row["name"]
                other = "(name) DO UPDATE SET value = excluded.value" if noted else "DO NOTHING"
                other = "(digest) DO UPDATE SET size = excluded.size, data = excluded.data" if whole else other
                store.db.execute(f"{sql} ON CONFLICT {other}", values)
            else:
                raise InvalidError(f"the copy has a table {table!r} that this pvehelm does not know", hint=NEWER)
        if problems:
            raise RefusedError("the copy does not fit into this store; nothing was changed", problems)
        _join(store, trail)
        if replace:
            store.collect()
    return Copied(counts, tuple(keys), tuple(sorted(sealed)))


NEWER = "upgrade pvehelm: a newer one wrote it"


def _without(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _insert(table: str, row: Mapping[str, Any]) -> tuple[str, tuple[Any, ...]]:
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())


def _in_the_way(store: Store, key: ReleaseKey, uid: str, replace: bool) -> Iterator[Problem]:
    holder = store.holder(key.scope)
    if holder is not None:
        raise LeaseHeldError(
            f"{shown(key.scope)} is being worked on by {holder.holder} ({holder.purpose}): "
            f"host {holder.host}, pid {holder.pid}",
            hint="wait for it, or see pvehelm unlock",
        )
    number = store.id_of(key)
    if number > 0 and replace:
        if (old := store.uid(key)) != uid:
            store.db.execute("DELETE FROM meta WHERE name LIKE ?", (f"%:{old}",))
        store.db.execute("DELETE FROM releases WHERE id = ?", (number,))
    elif number > 0 and (store.find(key, bodies=False) or len(store.inventory(key))):
        yield Problem(str(key), "it is there already", "--replace puts the copy in its place")
    elif number > 0:
        store.db.execute("DELETE FROM releases WHERE id = ?", (number,))
    other = store.db.row("SELECT namespace, name FROM releases WHERE uid = ?", (uid,))
    if other is not None and (number < 0 or not replace) and (other["namespace"], other["name"]) != key[1:]:
        yield Problem(str(key), f"release {other['namespace']}/{other['name']} is the same one under another name")


def _taken(store: Store, table: str, row: Mapping[str, Any]) -> Iterator[Problem]:
    """What another release of the store has already."""
    if table == "reservations":
        sql = "SELECT r.namespace, r.name FROM reservations s JOIN releases r ON r.id = s.release_id WHERE "
        found = store.db.row(f"{sql}s.cluster = ? AND s.vmid = ?", (row["cluster"], row["vmid"]))
        what = f"VMID {row['vmid']}"
    elif table == "inventory" and row["vmid"] is None:
        sql = "SELECT r.namespace, r.name, i.body FROM inventory i JOIN releases r ON r.id = i.release_id WHERE "
        found = store.db.row(f"{sql}i.cluster = ? AND i.identity = ?", (row["cluster"], row["identity"]))
        if found is not None and json.loads(found["body"])["fields"].keys().isdisjoint(
            json.loads(row["body"])["fields"]
        ):
            found = None  # the same settings, but other ones of them
        what = row["ref"]
    else:
        return
    if found is not None:
        yield Problem(
            what, f"release {found['namespace']}/{found['name']} has it", "uninstall it with --keep-resources"
        )


def _join(store: Store, trail: list[dict[str, Any]]) -> None:
    """The audit trail of the copy: as it is where there is none yet and it is whole, else inside new entries."""
    if store.db.value("SELECT 1 FROM audit LIMIT 1") is None and trail and trail[0]["seq"] == 1:
        whole = [row["seq"] for row in trail] == list(range(1, len(trail) + 1))
        if whole:
            for row in trail:
                store.db.execute(*_insert("audit", row))
            return
    known = {row["hash"] for row in store.db.rows("SELECT hash FROM audit")}
    for row in store.db.rows("SELECT body FROM audit WHERE body LIKE ?", ('%"imported":%',)):
        known.add(json.loads(row["body"]).get("imported", {}).get("hash"))
    seqs: dict[int, int] = {}
    for row in trail:
        if row["hash"] in known:
            continue
        body = json.loads(row["body"])
        if "imported" in body:
            body = json.loads(body["imported"]["body"])
        place = {name: row[name] for name in ("cluster", "namespace", "release")}
        begun = {"begun": seqs[body["begun"]]} if body.get("begun") in seqs else {}
        seqs[row["seq"]] = store.append({**place, **begun, "imported": {"body": row["body"], "hash": row["hash"]}})


# -- moving ----------------------------------------------------------------------------------------------------


def move(source: Store, target: Store) -> Copied:
    """Everything of ``source`` into ``target``, which is empty or was moved from before; then ``source`` says where
    its releases went, and refuses to be used.

    Raises LeaseHeldError while somebody works, RefusedError where ``target`` has releases of its own.
    """
    with source.transaction():
        busy = [scope for scope in _held(source) if source.holder(scope) is not None]
        if busy:
            holder = source.holder(busy[0])
            assert holder is not None
            raise LeaseHeldError(
                f"{shown(busy[0])} is being worked on by {holder.holder} ({holder.purpose}): "
                f"host {holder.host}, pid {holder.pid}",
                hint="a store is moved while nobody works; wait for it",
            )
        with target.transaction():
            if target.meta().get("moved"):
                for table in reversed(TABLES):
                    target.db.execute(f"DELETE FROM {table}")
            elif target.db.value("SELECT 1 FROM releases LIMIT 1") or target.db.value("SELECT 1 FROM audit LIMIT 1"):
                raise RefusedError(
                    f"store {target.db.path} is in use already",
                    hint="move into an empty one; `store export` and `store import` bring two together",
                )
            copied = load(target, rows(source))
            for table, count in copied.rows.items():
                found = target.db.value(f"SELECT count(*) FROM {table}")
                if found != count:
                    raise StoreError(f"store {target.db.path}: {table} has {found} rows instead of {count}")
        source.set_meta("moved", target.db.path)
    return copied


def _held(store: Store) -> list[str]:
    return [str(row["scope"]) for row in store.db.rows("SELECT scope FROM leases WHERE held = 1")]


# -- the file --------------------------------------------------------------------------------------------------


def write(store: Store, keys: Collection[ReleaseKey] | None, *, by: str, made: float) -> bytes:
    """A copy as one file: gzipped lines of JSON, the last one with a digest of those before."""
    import gzip

    with store.db.transaction(write=False):
        header = {"pvehelm": "store", "format": FORMAT, "schema": store.db.version(), "made": made, "by": by}
        lines = [json.dumps(header)]
        for table, row in rows(store, keys):
            lines.append(json.dumps([table, {name: _to_json(value) for name, value in row.items()}]))
    text = "\n".join(lines) + "\n"
    return gzip.compress(f"{text}{json.dumps({'rows': len(lines) - 1, 'digest': _digest(text)})}\n".encode(), 6)


def damaged(store: Store, keys: Collection[ReleaseKey] | None) -> list[str]:
    """The digests of what a copy of these releases has that is not whole."""
    with store.db.transaction(write=False):
        return [row["digest"] for table, row in rows(store, keys) if table == "blobs" and not is_whole(row)]


def parse(data: bytes) -> tuple[dict[str, Any], list[Row]]:
    """A file's header and rows. Raises InvalidError for anything but a whole, unchanged copy of a format we know."""
    try:
        text = zlib.decompress(data, wbits=31).decode()
        body, _, tail = text.rstrip("\n").rpartition("\n")
        end = json.loads(tail)
        header, *lines = [json.loads(line) for line in body.split("\n")]
        if header.get("pvehelm") != "store":
            raise ValueError("it is something else")
        if header["format"] > FORMAT:
            raise InvalidError(f"the copy is of format {header['format']}", hint=NEWER)
        if end["rows"] != len(lines) or end["digest"] != _digest(body + "\n"):
            raise InvalidError("the copy is damaged: its digest is of another text", hint="copy it again")
        found = [(str(table), {name: _from_json(value) for name, value in row.items()}) for table, row in lines]
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidError(f"this is no copy of a store, or not all of it: {error}", hint=f"it takes {HINT}") from None
    return header, found


def chosen(copy: Iterable[Row], wanted: Collection[tuple[str | None, str]]) -> list[Row]:
    """Of a copy's rows those of the releases that are called so: (namespace or None, name). Raises InvalidError."""
    found = list(copy)
    keys = {row["id"]: ReleaseKey(row["cluster"], row["namespace"], row["name"]) for t, row in found if t == "releases"}
    mine = {
        number for number, key in keys.items() if any(key.name == n and ns in (None, key.namespace) for ns, n in wanted)
    }
    missing = [name for ns, name in wanted if not any(keys[one].name == name for one in mine)]
    if missing:
        known = ", ".join(sorted(str(key) for key in keys.values())) or "none"
        raise InvalidError(f"the copy has no release {', '.join(missing)}", hint=f"it has: {known}")
    scopes = {keys[number].scope for number in mine}
    uids = {row["uid"] for t, row in found if t == "releases" and row["id"] in mine}
    whose = uids | {f"{keys[number].cluster}/{keys[number]}" for number in mine}
    places = {tuple(keys[number]) for number in mine}
    digests = {row[name] for t, row in found if t == "revisions" and row["release_id"] in mine for name in CONTENTS}

    def belongs(table: str, row: Mapping[str, Any]) -> bool:
        if table in OF_RELEASE:
            return row["release_id"] in mine
        tests = {
            "releases": lambda: row["id"] in mine,
            "blobs": lambda: row["digest"] in digests,
            "leases": lambda: row["scope"] in scopes,
            "audit": lambda: (row["cluster"], row["namespace"], row["release"]) in places,
            "meta": lambda: row["name"].partition(":")[2] in whose,
        }
        # What nobody knows is for whoever loads it to refuse.
        return tests.get(table, lambda: True)()

    return [(table, row) for table, row in found if belongs(table, row)]


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _to_json(value: Any) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes | memoryview) else value


def _from_json(value: Any) -> Any:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value
