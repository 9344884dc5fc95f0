"""The history: the revisions of a release, each with all that led to it."""

from __future__ import annotations

import json
import zlib
from typing import Any

from pvehelm.errors import NotFoundError, StoreError
from pvehelm.release.contents import BODIES, Contents
from pvehelm.release.journal import Journal, dump
from pvehelm.release.lease import Lease
from pvehelm.release.release import ReleaseKey, Revision, Status

# The columns of a revision ``v`` that ``summary`` reads.
SUMMARY = (
    "v.number, v.status, v.chart_name, v.chart_version, v.app_version, v.chart_digest, v.chart_origin, v.description, "
    "v.labels, v.created, v.updated, v.author, v.rollback_of, v.pvehelm_version"
)


class History(Contents, Journal):
    """The part of a store that keeps revisions, over its journal and its contents."""

    def put_revision(
        self, key: ReleaseKey, revision: Revision, *, lease: Lease | None = None, archive: bytes | None = None
    ) -> Revision:
        """Write a revision (new, or in place of the one of that number); the revision with its times.

        The release is made if need be. A `deployed` or `uninstalled` revision supersedes the deployed one before it.
        ``archive`` is the packaged chart, kept once however many revisions use it; None keeps the one that is there.
        A revision that is worked on is stored as `failed` ("interrupted") first, so that nothing ever needs unsticking.
        """
        if not revision.status.stored:
            raise ValueError(f"{revision.status} is shown, never stored")
        if not revision.complete:
            raise ValueError("a revision's summary can't be written back; read it with its bodies")
        now = self.clock()
        revision = revision._replace(created=revision.created or now, updated=revision.updated or now)
        with self.db.transaction():
            if lease is not None:
                self.check(lease)
            release = self.ensure_id(key)
            before = self._contents("release_id = ? AND number = ?", (release, revision.number))
            row = {
                "release_id": release,
                "number": revision.number,
                "status": str(revision.status),
                "chart_name": revision.chart_name,
                "chart_version": revision.chart_version,
                "app_version": revision.app_version,
                "chart_digest": revision.chart_digest,
                "chart_origin": _clean(revision.chart_origin),
                "description": _clean(revision.description),
                "labels": dump(revision.labels),
                "created": revision.created,
                "updated": revision.updated,
                "author": _clean(revision.user),
                "rollback_of": revision.rollback_of,
                "pvehelm_version": revision.pvehelm_version,
                "user_values": self._put_blob(dump(revision.user_values).encode()),
                "computed_values": self._put_blob(dump(revision.values).encode()),
                "manifest": self._put_blob(revision.manifest.encode(errors="surrogatepass")),
                "plan": None if revision.plan is None else self._put_blob(dump(revision.plan).encode()),
                "notes": self._put_blob(revision.notes.encode(errors="surrogatepass")),
                "events": self._put_blob(dump(revision.events).encode()),
                "archive": (before[-1] if before else None) if archive is None else self._put_blob(archive),
            }
            names = list(row)
            updates = ", ".join(f"{name} = excluded.{name}" for name in names[2:])
            self.db.execute(
                f"INSERT INTO revisions ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
                f"ON CONFLICT (release_id, number) DO UPDATE SET {updates}",
                tuple(row.values()),
            )
            self._supersede(release, revision.number, revision.status)
            self._collect(digest for digest in before if digest not in row.values())
        return revision

    def revisions(self, key: ReleaseKey, *, bodies: bool = False, limit: int = 0) -> list[Revision]:
        """The history, oldest first, of the newest ``limit`` (0: all); summaries unless ``bodies``. Empty for an
        unknown release."""
        sql = f"SELECT {SUMMARY} FROM revisions v WHERE v.release_id = ? ORDER BY v.number DESC LIMIT ?"
        with self.db.transaction(write=False):
            found = [summary(row) for row in self.db.rows(sql, (self.id_of(key), limit or 2**31 - 1))]
            found.reverse()
            return [self.revision(key, one.number) for one in found] if bodies else found

    def revision(self, key: ReleaseKey, number: int) -> Revision:
        """One whole revision. Raises NotFoundError that lists those there are."""
        with self.db.transaction(write=False):
            row = self.db.row(
                f"SELECT {SUMMARY}, {', '.join(f'v.{name}' for name in BODIES)} FROM revisions v "
                "WHERE v.release_id = ? AND v.number = ?",
                (self.id_of(key), number),
            )
            if row is None:
                raise self._no_revision(key, number)
            texts = {name: self._blob(row[name]).decode(errors="surrogatepass") for name in BODIES if row[name]}
        return summary(row)._replace(
            user_values=json.loads(texts["user_values"]),
            values=json.loads(texts["computed_values"]),
            manifest=texts["manifest"],
            plan=json.loads(texts["plan"]) if "plan" in texts else None,
            notes=texts["notes"],
            events=json.loads(texts["events"]),
            complete=True,
        )

    def archive(self, key: ReleaseKey, number: int) -> bytes | None:
        """The packaged chart of a revision, if it was kept."""
        with self.db.transaction(write=False):
            sql = "SELECT archive FROM revisions WHERE release_id = ? AND number = ?"
            row = self.db.row(sql, (self.id_of(key), number))
            if row is None:
                raise self._no_revision(key, number)
            return self._blob(row["archive"]) if row["archive"] else None

    def prune(self, key: ReleaseKey, history_max: int, *, lease: Lease | None = None) -> list[int]:
        """Drop the oldest revisions until ``history_max`` are left (0: no limit); their numbers.

        Repairs go first, since they repeat another revision: a reconciler that tries for hours leaves the history as it
        was. The deployed one and the newest are never dropped. What was journalled for a dropped revision goes with it,
        except intents without an outcome.
        """
        if history_max <= 0:
            return []
        with self.db.transaction():
            if lease is not None:
                self.check(lease)
            release = self.id_of(key)
            sql = "SELECT number, status, plan FROM revisions WHERE release_id = ? ORDER BY number"
            rows = self.db.rows(sql, (release,))
            spare = [row for row in rows[:-1] if row["status"] != Status.deployed]
            if len(rows) > history_max:
                spare.sort(key=lambda row: not self._is_repair(row["plan"]))
            gone = [row["number"] for row in spare[: max(0, len(rows) - history_max)]]
            left: list[str | None] = []
            for number in gone:
                left += self._contents("release_id = ? AND number = ?", (release, number))
                self.db.execute("DELETE FROM revisions WHERE release_id = ? AND number = ?", (release, number))
                self.db.execute(
                    "DELETE FROM journal WHERE release_id = ? AND revision = ? AND ok IS NOT NULL", (release, number)
                )
            self._collect(left)
        return gone

    def _is_repair(self, plan: str | None) -> bool:
        """Whether a revision's plan was one of setting back; only its beginning is read."""
        packed = self.db.value("SELECT data FROM blobs WHERE digest = ?", (plan,))
        try:
            return zlib.decompressobj().decompress(packed, 64).startswith(b'{"action":"repair"')
        except (zlib.error, TypeError):
            return False

    def _supersede(self, release: int, number: int, status: Status) -> None:
        if status in (Status.deployed, Status.uninstalled):
            self.db.execute(
                "UPDATE revisions SET status = 'superseded' "
                "WHERE release_id = ? AND number <> ? AND status = 'deployed'",
                (release, number),
            )

    def _no_revision(self, key: ReleaseKey, number: int) -> NotFoundError:
        known = ", ".join(str(one.number) for one in self.revisions(key))
        hint = f"there are: {known}" if known else "`pvehelm list -A`"
        return NotFoundError(f"release {key}: it has no revision {number}", hint=hint)


def _clean(text: str) -> str:
    """Text that every database takes: undecodable bytes of an argument shown as `?`, no NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")


def summary(row: Any) -> Revision:
    """The revision of a row of ``SUMMARY``. Raises StoreError for one that a newer pvehelm wrote."""
    try:
        status = Status(row["status"])
    except ValueError:
        from pvehelm import __version__

        raise StoreError(
            f"revision {row['number']} of {row['chart_name'] or 'a set'} is {row['status']!r}, which pvehelm "
            f"{__version__} does not know: pvehelm {row['pvehelm_version']} wrote it",
            hint="upgrade pvehelm; `pvehelm store verify` says which release it is",
        ) from None
    return Revision(
        number=row["number"],
        status=status,
        chart_name=row["chart_name"],
        chart_version=row["chart_version"],
        app_version=row["app_version"],
        chart_digest=row["chart_digest"],
        chart_origin=row["chart_origin"],
        description=row["description"],
        labels=json.loads(row["labels"]),
        created=row["created"],
        updated=row["updated"],
        user=row["author"],
        rollback_of=row["rollback_of"],
        pvehelm_version=row["pvehelm_version"],
        complete=False,
    )
