"""The part of the store that keeps the audit trail: texts in a chain of hashes (``audit`` says what is in them)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.errors import Problem

if TYPE_CHECKING:
    from pvehelm.release.audit import AuditEntry
    from pvehelm.release.database import Database

FIRST = "0" * 64
BROKEN = "somebody wrote to the store without pvehelm; a backup shows what was there"


def digest(body: str) -> str:
    import hashlib  # 2 ms that `list` need not spend

    return hashlib.sha256(body.encode()).hexdigest()


class Trail:
    """The part of the store that keeps the audit trail."""

    db: Database
    clock: Callable[[], float]

    def append(self, facts: Mapping[str, Any]) -> int:
        """Add an entry (fields of AuditEntry; number, time and hashes are given here); its number."""
        with self.db.transaction():
            last = self.db.row("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
            seq, previous = (int(last["seq"]) + 1, str(last["hash"])) if last is not None else (1, FIRST)
            body = {"seq": seq, "at": self.clock(), **facts, "previous": previous}
            self.put_entry(json.dumps(body, separators=(",", ":"), default=str), facts)
        return seq

    def put_entry(self, body: str, facts: Mapping[str, Any]) -> None:
        """Write an entry's text as it is, with the columns that it is found by."""
        places = [str(facts.get(name) or "") for name in ("cluster", "namespace", "release")]
        self.db.execute(
            "INSERT INTO audit (seq, cluster, namespace, release, body, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (json.loads(body)["seq"], *places, body, digest(body)),
        )

    def trail(
        self, *, cluster: str | None = None, namespace: str | None = None, release: str | None = None
    ) -> list[AuditEntry]:
        """The entries, oldest first; of one cluster, namespace or release."""
        wanted = [("cluster = ?", cluster), ("namespace = ?", namespace), ("release = ?", release)]
        given = [(sql, value) for sql, value in wanted if value is not None]
        where = " AND ".join(sql for sql, _ in given) or "1 = 1"
        rows = self.db.rows(
            f"SELECT body, hash FROM audit WHERE {where} ORDER BY seq", tuple(value for _, value in given)
        )
        from pvehelm.release.audit import read

        return [read(row["body"], row["hash"]) for row in rows]

    def verify_trail(self) -> tuple[int, str, Problem | None]:
        """How many entries there are, the hash of the last one, and the first that is not what was written."""
        count, previous = 0, FIRST
        for row in self.db.rows("SELECT seq, body, hash FROM audit ORDER BY seq"):
            count += 1
            where = f"audit entry {row['seq']}"
            try:
                body = json.loads(row["body"])
                found = (body["seq"], body["previous"])
            except (ValueError, KeyError, TypeError):
                return count, previous, Problem(where, "its text is damaged", BROKEN)
            if row["hash"] != digest(row["body"]):
                return count, previous, Problem(where, "it was changed: its hash is of another text", BROKEN)
            if row["seq"] != count or found != (row["seq"], previous):
                what = "it was changed" if found[1] == previous else "entries before it were changed or taken out"
                return count, previous, Problem(where, f"the chain is broken: {what}", BROKEN)
            inner = body.get("imported")
            if inner is not None and digest(inner["body"]) != inner["hash"]:
                return count, previous, Problem(where, "it was changed in the store that it came from", BROKEN)
            previous = row["hash"]
        return count, previous, None
