"""What a release shall be and how to go about it: what install, upgrade, rollback, uninstall and repair differ in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pvehelm import __version__
from pvehelm.api.kind import Kind
from pvehelm.chart.manifest import Resource, parse
from pvehelm.release.context import Context
from pvehelm.release.plan import Allowed, Plan
from pvehelm.release.release import Release, ReleaseKey, Revision, Status


@dataclass(frozen=True)
class Desire:
    """What a release shall be, and what its next revision records beside the plan."""

    action: str
    resources: tuple[Resource, ...]
    record: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    # The revision that this was made from (0: none): values and templates saw it, so it must still be the newest.
    base: int | None = None
    # Secrets that were plain in the manifests: name -> text, to be sealed when the plan is carried out.
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Options:
    """How to go about it."""

    allowed: Allowed = field(default_factory=Allowed)
    dry_run: bool = False
    atomic: bool = False
    wait: bool = False
    timeout: float | None = None
    create_namespace: bool = False
    history_max: int = 10
    keep_resources: bool = False
    keep_history: bool = False
    reuse_empty: bool = True
    no_hooks: bool = False
    # Before the first change: a snapshot of every guest, a backup (to the only storage there is unless one is named).
    snapshot: bool = False
    backup: bool = False
    backup_storage: str = ""
    # Guests are restarted for what waits for it: "never" or "if-needed".
    reboot: str = "never"
    # A rollback takes the disks back, too.
    restore_disks: bool = False
    # When the operation's time is over, by the client's clock.
    ends: float | None = None

    def within(self, wanted: float, now: float) -> float:
        """``wanted`` seconds, or what the operation has left of its time, if that is less: a little less, so that what
        was waited for can still be said."""
        if self.ends is None:
            return wanted
        return max(0.0, min(wanted, self.ends - min(1.0, 0.05 * (self.timeout or 0)) - now))

    # What a release that is yet to be made shall be marked with; a new one when empty.
    uid: str = ""


def placed(resources: Iterable[Resource], kinds: Iterable[Kind], namespace: str) -> tuple[Resource, ...]:
    """The resources with the namespace of their release where they have none, so that a record of them says by itself
    where its guests belong."""
    namespaced = {kind.name for kind in kinds if kind.namespaced}
    return tuple(
        replace(r, namespace=namespace, metadata={**r.metadata, "namespace": namespace})
        if r.kind in namespaced and not r.namespace and namespace != "default"
        else r
        for r in resources
    )


def last_deployed(ctx: Context, key: ReleaseKey) -> Revision | None:
    """The newest revision that was deployed without failing, whole; None when there is none since an uninstall."""
    number = was_deployed(ctx, key)
    return ctx.store.revision(key, number) if number else None


def was_deployed(ctx: Context, key: ReleaseKey) -> int:
    """The number of the newest revision that was deployed without failing; 0 when there is none since an uninstall."""
    good = 0
    for r in ctx.store.revisions(key):
        if r.status is Status.uninstalled:
            good = 0
        elif r.status in (Status.deployed, Status.superseded):
            good = r.number
    return good


def back_to(target: Revision) -> Desire:
    """The desired state of an earlier revision."""
    resources = parse(target.manifest, file=f"revision {target.number}") if target.manifest.strip() else []
    record = {
        "chart_name": target.chart_name,
        "chart_version": target.chart_version,
        "app_version": target.app_version,
        "chart_digest": target.chart_digest,
        "chart_origin": target.chart_origin,
        "user_values": target.user_values,
        "values": target.values,
        "manifest": target.manifest,
        "notes": target.notes,
        "labels": target.labels,
        "rollback_of": target.number,
        "description": f"Rollback to {target.number}",
    }
    return Desire("rollback", tuple(resources), record, target.notes)


def described(desire: Desire) -> str:
    done = {
        "install": "Install complete",
        "upgrade": "Upgrade complete",
        "uninstall": "Uninstallation complete",
        "apply": "Apply complete",
    }
    return str(desire.record.get("description") or done.get(desire.action, f"{desire.action} complete"))


def same_input(current: Revision, desire: Desire) -> bool:
    """Same chart, user values and manifest: with an empty plan there is nothing to record."""
    record = desire.record
    return (
        current.status is Status.deployed
        and desire.action in ("install", "upgrade", "rollback", "recover", "apply", "repair")
        and current.chart_digest == record.get("chart_digest", "")
        and current.user_values == record.get("user_values", {})
        and current.manifest == record.get("manifest", "")
        and (not record.get("labels") or current.labels == record.get("labels"))
    )


# What recover must know of the command it finishes.
REMEMBERED = ("create_namespace", "keep_history", "keep_resources", "no_hooks", "restore_disks")


def remembered(revision: Revision, options: Options) -> Options:
    """``options`` with those that the command gave which began this revision."""
    given = (revision.plan or {}).get("options") or {}
    more: dict[str, Any] = {name: True for name in REMEMBERED if given.get(name)}
    return replace(options, **more)


def begun(ctx: Context, release: Release | None, desire: Desire, made: Plan, options: Options) -> Revision:
    """The revision that a plan begins: failed until it is done."""
    given = {name: True for name in REMEMBERED if getattr(options, name)}
    record = desire.record
    number = (release.current.number if release else 0) + 1
    now = ctx.clock()
    return Revision(
        number=number,
        # A process that dies leaves exactly this: a failed revision with its journal.
        status=Status.failed,
        chart_name=record.get("chart_name", ""),
        chart_version=record.get("chart_version", ""),
        app_version=record.get("app_version", ""),
        chart_digest=record.get("chart_digest", ""),
        chart_origin=record.get("chart_origin", ""),
        user_values=record.get("user_values", {}),
        values=record.get("values", {}),
        manifest=record.get("manifest", ""),
        plan=made.as_dict() | ({"options": given} if given else {}) | _beside(record),
        notes=desire.notes or record.get("notes", ""),
        description="interrupted",
        labels=dict(record.get("labels") or {}),
        created=now,
        updated=now,
        user=ctx.user,
        rollback_of=record.get("rollback_of"),
        events=[],
        pvehelm_version=__version__,
    )


def _beside(record: Mapping[str, Any]) -> dict[str, Any]:
    """What ``lookup`` told the templates, for who wants to know later why they rendered as they did; what a recovery
    has still to run of the hooks."""
    return {name: record[name] for name in ("lookups", "hooks") if record.get(name)}
