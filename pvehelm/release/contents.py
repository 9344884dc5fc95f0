"""The contents: texts and archives of revisions, each kept once under its digest however many refer to it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

from pvehelm.errors import StoreError
from pvehelm.release.database import Database

BODIES = ("user_values", "computed_values", "manifest", "plan", "notes", "events")
CONTENTS = (*BODIES, "archive")


class Contents:
    """The part of a store that keeps them, for whoever keeps revisions."""

    db: Database

    def _put_blob(self, data: bytes) -> str:
        digest = _digest(data)
        if self.db.value("SELECT 1 FROM blobs WHERE digest = ?", (digest,)) is None:
            sql = "INSERT INTO blobs (digest, size, data) VALUES (?, ?, ?) ON CONFLICT (digest) DO NOTHING"
            self.db.execute(sql, (digest, len(data), zlib.compress(data)))
        return digest

    def _blob(self, digest: str) -> bytes:
        packed = self.db.value("SELECT data FROM blobs WHERE digest = ?", (digest,))
        try:
            data = zlib.decompress(packed)
        except (zlib.error, TypeError):
            data = None
        if data is None or digest != _digest(data):
            raise StoreError(
                f"release store {self.db.path}: content {digest} is damaged or missing",
                hint="put a copy from a backup in its place; `pvehelm store verify` shows what else is damaged",
            )
        return data

    def _collect(self, digests: Iterable[str | None]) -> None:
        """Drop those of these contents that no revision refers to any more."""
        several = set(filter(None, digests))
        if len(several) > 20:  # asking for each of them would cost more than looking through all
            self.collect()
            return
        used = " OR ".join(f"r.{name} = blobs.digest" for name in CONTENTS)
        for digest in several:
            sql = f"DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM revisions r WHERE {used})"
            self.db.execute(sql, (digest,))

    def collect(self) -> int:
        """Drop content that no revision refers to; how many pieces."""
        used = " UNION ".join(f"SELECT {name} FROM revisions WHERE {name} IS NOT NULL" for name in CONTENTS)
        return self.db.execute(f"DELETE FROM blobs WHERE digest NOT IN ({used})")

    def _contents(self, where: str, params: tuple[Any, ...]) -> list[str | None]:
        """The digests of everything that these revisions refer to."""
        return [
            one
            for row in self.db.rows(f"SELECT {', '.join(CONTENTS)} FROM revisions WHERE {where}", params)
            for one in tuple(row)
        ]


def _digest(data: bytes) -> str:
    import hashlib  # 2 ms that `list` need not spend

    return f"sha256:{hashlib.sha256(data).hexdigest()}"
