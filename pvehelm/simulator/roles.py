"""The privileges that exist and the roles that are built in, by release."""

from __future__ import annotations

from functools import cache

from pvehelm.simulator.state import State

# Privileges by area and by who has them: only Administrator (root), area administrators, users, auditors.
_AREAS: dict[str, dict[str, str]] = {
    "VM": {
        "admin": "VM.Config.Disk VM.Config.CPU VM.Config.Memory VM.Config.Network VM.Config.HWType VM.Config.Options "
        "VM.Allocate VM.Clone VM.Migrate VM.Snapshot VM.Snapshot.Rollback",
        "user": "VM.Config.CDROM VM.Config.Cloudinit VM.Console VM.Backup VM.PowerMgmt",
        "audit": "VM.Audit",
    },
    "Sys": {
        "root": "Sys.PowerMgmt Sys.Modify Sys.Incoming Sys.AccessNetwork",
        "admin": "Sys.Console Sys.Syslog",
        "audit": "Sys.Audit",
    },
    "Datastore": {
        "admin": "Datastore.Allocate Datastore.AllocateTemplate",
        "user": "Datastore.AllocateSpace",
        "audit": "Datastore.Audit",
    },
    "SDN": {"admin": "SDN.Allocate", "user": "SDN.Use", "audit": "SDN.Audit"},
    "User": {"root": "Realm.Allocate Permissions.Modify", "admin": "User.Modify Group.Allocate Realm.AllocateUser"},
    "Pool": {"admin": "Pool.Allocate", "audit": "Pool.Audit"},
    "Mapping": {"admin": "Mapping.Modify", "user": "Mapping.Use", "audit": "Mapping.Audit"},
}
_NEWER = {
    "VM": {
        "admin": "VM.Replicate VM.GuestAgent.Unrestricted",
        "user": "VM.GuestAgent.FileRead VM.GuestAgent.FileWrite VM.GuestAgent.FileSystemMgmt",
        "audit": "VM.GuestAgent.Audit",
    }
}
_OLDER = {"VM": {"admin": "VM.Monitor"}}


def _groups(release: str, *levels: str, areas: tuple[str, ...] = ()) -> frozenset[str]:
    extra = _NEWER if int(release.split(".")[0]) >= 9 else _OLDER
    return frozenset(
        priv
        for area in areas or tuple(_AREAS)
        for level in levels
        for table in (_AREAS, extra)
        for priv in table.get(area, {}).get(level, "").split()
    )


@cache
def privileges(release: str) -> frozenset[str]:
    """Every privilege of a release."""
    return _groups(release, "root", "admin", "user", "audit")


@cache
def built_in(release: str) -> dict[str, frozenset[str]]:
    """The fixed roles of a release."""

    def area(name: str, *levels: str) -> frozenset[str]:
        return _groups(release, *levels, areas=(name,))

    whole, using = ("admin", "user", "audit"), ("user", "audit")
    return {
        "Administrator": privileges(release),
        "NoAccess": frozenset(),
        "PVEAdmin": _groups(release, *whole) - {"Mapping.Modify"},
        "PVEAuditor": _groups(release, "audit"),
        "PVEDatastoreAdmin": area("Datastore", *whole),
        "PVEDatastoreUser": area("Datastore", *using),
        "PVEMappingAdmin": area("Mapping", *whole),
        "PVEMappingUser": area("Mapping", *using),
        "PVEPoolAdmin": area("Pool", *whole),
        "PVEPoolUser": area("Pool", *using),
        "PVESDNAdmin": area("SDN", *whole),
        "PVESDNUser": area("SDN", *using),
        "PVESysAdmin": area("Sys", "admin", "audit"),
        "PVETemplateUser": frozenset({"VM.Audit", "VM.Clone"}),
        "PVEUserAdmin": area("User", "admin"),
        "PVEVMAdmin": area("VM", *whole),
        "PVEVMUser": area("VM", *using),
    }


def role_privileges(state: State, role: str, release: str) -> frozenset[str] | None:
    """The privileges of a built-in or own role; None when there is no such role."""
    fixed = built_in(release)
    if role in fixed:
        return fixed[role]
    own = state.collection("roles").get(role)
    return None if own is None else frozenset(own.get("privs", ()))
