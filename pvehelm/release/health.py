"""Whether a store is sound, and what in it can go."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.contents import CONTENTS
from pvehelm.release.release import ReleaseKey, Status
from pvehelm.release.store import Store

BACKUP = "restore the store from a backup, or `pvehelm store import` a copy"


class Freed(NamedTuple):
    """What a store let go of."""

    contents: int
    entries: int
    claims: int
    releases: int
    before: int
    after: int


def problems(store: Store) -> Iterator[Problem]:
    """What is wrong: damaged content, rows that refer to nothing, two owners of one object, a broken audit trail."""
    for text in store.db.check():
        yield Problem("database", text, BACKUP)
    yield from _contents(store)
    yield from _revisions(store)
    yield from _ownership(store)
    yield from _secrets(store)
    *_, broken = store.verify_trail()
    if broken is not None:
        yield broken


def _contents(store: Store) -> Iterator[Problem]:
    users = {
        digest: f"release {row['namespace']}/{row['name']} revision {row['number']}"
        for row in store.db.rows(
            f"SELECT r.namespace, r.name, v.number, {', '.join(f'v.{name}' for name in CONTENTS)} "
            "FROM revisions v JOIN releases r ON r.id = v.release_id"
        )
        for digest in tuple(row)[3:]
        if digest
    }
    known = [str(row["digest"]) for row in store.db.rows("SELECT digest FROM blobs ORDER BY digest")]
    for digest in known:
        if not is_whole(store.db.row("SELECT * FROM blobs WHERE digest = ?", (digest,))):
            yield Problem(users.get(digest, "content"), f"content {digest} is damaged", BACKUP)
    for digest in sorted(users.keys() - set(known)):
        yield Problem(users[digest], f"content {digest} is missing", BACKUP)


def is_whole(row: Any) -> bool:
    """Whether a row of contents has what its digest names."""
    try:
        data = zlib.decompress(row["data"])
    except (zlib.error, TypeError):
        return False
    return bool(len(data) == row["size"] and row["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}")


def _revisions(store: Store) -> Iterator[Problem]:
    stored = {str(one) for one in Status if one.stored}
    for row in store.db.rows(
        "SELECT r.namespace, r.name, v.number, v.status FROM revisions v LEFT JOIN releases r ON r.id = v.release_id"
    ):
        where = f"release {row['namespace']}/{row['name']} revision {row['number']}"
        if row["name"] is None:
            yield Problem(f"revision {row['number']}", "it belongs to no release", BACKUP)
        if row["status"] not in stored:
            yield Problem(where, f"status {row['status']!r} means nothing", BACKUP)
    for row in store.db.rows(
        "SELECT r.namespace, r.name, count(*) AS several FROM revisions v JOIN releases r ON r.id = v.release_id "
        "WHERE v.status = 'deployed' GROUP BY r.namespace, r.name, r.id HAVING count(*) > 1"
    ):
        yield Problem(f"release {row['namespace']}/{row['name']}", f"{row['several']} revisions are deployed at once")


def _ownership(store: Store) -> Iterator[Problem]:
    seen: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for row in store.db.rows(
        "SELECT r.namespace, r.name, i.* FROM inventory i LEFT JOIN releases r ON r.id = i.release_id "
        "ORDER BY i.cluster, i.identity, r.namespace, r.name"
    ):
        where = f"release {row['namespace']}/{row['name']}: {row['ref']}"
        try:
            fields = set(json.loads(row["body"])["fields"])
        except (ValueError, KeyError, TypeError):
            yield Problem(where, "its record is damaged", "pvehelm store rebuild")
            continue
        if row["name"] is None:
            yield Problem(row["ref"], "it belongs to no release", BACKUP)
        other, leaves = seen.setdefault((row["cluster"], row["identity"]), (where, fields))
        if other != where and (row["vmid"] is not None or leaves & fields):
            yield Problem(where, f"{other} is the same object", "uninstall one of them with --keep-resources")
        if row["vmid"] is not None:
            sql = "SELECT release_id FROM reservations WHERE cluster = ? AND vmid = ?"
            if store.db.value(sql, (row["cluster"], row["vmid"])) != row["release_id"]:
                yield Problem(where, f"VMID {row['vmid']} is not reserved for it")


def _secrets(store: Store) -> Iterator[Problem]:
    for row in store.db.rows(
        "SELECT r.cluster, r.namespace, r.name AS release, s.name FROM secrets s JOIN releases r ON r.id = s.release_id"
        " ORDER BY r.namespace, r.name, s.name"
    ):
        try:
            store.get_secret(ReleaseKey(row["cluster"], row["namespace"], row["release"]), row["name"])
        except PvehelmError as error:
            where = f"release {row['namespace']}/{row['release']}: secret://release/{row['name']}"
            yield Problem(where, str(error), error.hint)


def counts(store: Store) -> dict[str, Any]:
    """What is in the store, for who looks at it."""
    found: dict[str, Any] = {
        table: store.db.value(f"SELECT count(*) FROM {table}")
        for table in ("releases", "revisions", "inventory", "journal", "blobs", "secrets", "audit")
    }
    found["open"] = store.db.value("SELECT count(*) FROM journal WHERE ok IS NULL")
    return found | {"schema": store.db.version(), "bytes": store.db.size()}


# What nothing needs any more: steps with a known outcome of revisions that others took the place of.
_ENTRIES = (
    "FROM journal WHERE ok IS NOT NULL AND NOT EXISTS (SELECT 1 FROM revisions v WHERE v.release_id = "
    "journal.release_id AND v.number = journal.revision AND (v.status <> 'superseded' OR v.number = "
    "(SELECT max(m.number) FROM revisions m WHERE m.release_id = v.release_id)))"
)
# VMIDs that were reserved for a creation that never was.
_CLAIMS = (
    "FROM reservations WHERE created < ? AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.release_id = "
    "reservations.release_id AND i.vmid = reservations.vmid) AND NOT EXISTS (SELECT 1 FROM journal j WHERE "
    "j.release_id = reservations.release_id AND j.ref = reservations.ref AND j.ok IS NULL)"
)
# Names that something was begun under, and nothing came of it.
_RELEASES = (
    "FROM releases WHERE created < ? AND NOT EXISTS (SELECT 1 FROM revisions v WHERE v.release_id = releases.id) "
    "AND NOT EXISTS (SELECT 1 FROM inventory i WHERE i.release_id = releases.id) "
    "AND NOT EXISTS (SELECT 1 FROM journal j WHERE j.release_id = releases.id AND j.ok IS NULL) "
    "AND NOT EXISTS (SELECT 1 FROM secrets s WHERE s.release_id = releases.id)"
)


def collect(store: Store, *, dry_run: bool = False, stale: float = 3600.0) -> Freed:
    """Let go of content nobody refers to, closed journal entries of superseded revisions, claims and names that are
    older than ``stale`` seconds and came to nothing. The numbers of leases and the audit trail are kept for good."""
    before = store.db.size()
    old = store.clock() - stale
    with store.transaction():
        if dry_run:
            used = " UNION ".join(f"SELECT {name} FROM revisions WHERE {name} IS NOT NULL" for name in CONTENTS)
            contents = store.db.value(f"SELECT count(*) FROM blobs WHERE digest NOT IN ({used})")
            entries = store.db.value(f"SELECT count(*) {_ENTRIES}")
            claims = store.db.value(f"SELECT count(*) {_CLAIMS}", (old,))
            releases = store.db.value(f"SELECT count(*) {_RELEASES}", (old,))
            return Freed(contents, entries, claims, releases, before, before)
        entries = store.db.execute(f"DELETE {_ENTRIES}")
        claims = store.db.execute(f"DELETE {_CLAIMS}", (old,))
        releases = store.db.execute(f"DELETE {_RELEASES}", (old,))
        contents = store.collect()
    store.db.compact()
    return Freed(contents, entries, claims, releases, before, store.db.size())
