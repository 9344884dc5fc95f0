"""The history of a release, written by hand."""

from __future__ import annotations

from typing import Any

from pvehelm.release.lease import Lease
from pvehelm.release.release import ReleaseKey, Status
from pvehelm.release.store import Store


def restate(
    store: Store, key: ReleaseKey, number: int, status: Status, *, lease: Lease | None = None, **more: Any
) -> None:
    """Say how a revision ended, as a verb does at its end."""
    store.put_revision(key, store.revision(key, number)._replace(status=status, updated=0.0, **more), lease=lease)
