"""Privileges: inheritance, groups, pools, tokens, and the schema's check expressions."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.simulator.permissions import Rights, fill_in, normalise
from pvehelm.simulator.roles import built_in, privileges
from pvehelm.simulator.state import State

USERS = {"joe@pve": {"groups": ["ops"]}, "ann@pve": {}, "off@pve": {"enable": 0}, "root@pam": {}}


def rights(
    *entries: tuple[str, str, str, int], pools: dict[str, Any] | None = None, **tokens: dict[str, Any]
) -> Rights:
    """ACL entries as (path, subject, role, propagate); a subject is user@realm, user@realm!token or @group."""
    state = State(":memory:", base="conformance")
    for user, account in USERS.items():
        state.collection("users")[user] = {"enable": 1, **account}
    state.collection("groups")["ops"] = {}
    for number, (path, subject, role, propagate) in enumerate(entries):
        kind = "group" if subject.startswith("@") else "token" if "!" in subject else "user"
        state.collection("acl")[str(number)] = {
            "path": path, "type": kind, "ugid": subject.lstrip("@"), "roleid": role, "propagate": propagate,
        }  # fmt: skip
    for name, pool in (pools or {}).items():
        state.collection("pools")[name] = pool
    for name, token in tokens.items():
        state.collection("tokens")[f"joe@pve!{name}"] = token
    state.collection("roles")["Own"] = {"privs": ["VM.Audit"]}
    return Rights(state)


# entries, who, path, privilege -> has it?
CASES: list[tuple[list[tuple[str, str, str, int]], str, str, str, bool]] = [
    ([("/", "ann@pve", "PVEAuditor", 1)], "ann@pve", "/vms/100", "VM.Audit", True),
    ([("/", "ann@pve", "PVEAuditor", 0)], "ann@pve", "/vms/100", "VM.Audit", False),
    ([("/", "ann@pve", "PVEAuditor", 0)], "ann@pve", "/", "VM.Audit", True),
    ([("/vms", "ann@pve", "Own", 1)], "ann@pve", "/vms/100", "VM.Audit", True),
    ([("/vms", "ann@pve", "Own", 1)], "ann@pve", "/storage/x", "VM.Audit", False),
    # the nearer entry replaces the inherited one
    ([("/", "ann@pve", "PVEAdmin", 1), ("/vms", "ann@pve", "PVEVMUser", 1)], "ann@pve", "/vms/1", "VM.Allocate", False),
    ([("/", "ann@pve", "PVEAdmin", 1), ("/vms", "ann@pve", "NoAccess", 1)], "ann@pve", "/vms/1", "VM.Audit", False),
    ([("/", "ann@pve", "PVEAdmin", 1), ("/vms", "ann@pve", "NoAccess", 1)], "ann@pve", "/nodes/x", "Sys.Audit", True),
    # groups count unless the user has entries of its own at that path
    ([("/vms", "@ops", "PVEVMAdmin", 1)], "joe@pve", "/vms/100", "VM.Allocate", True),
    ([("/vms", "@ops", "PVEVMAdmin", 1)], "ann@pve", "/vms/100", "VM.Allocate", False),
    ([("/vms", "@ops", "PVEVMAdmin", 1), ("/vms", "joe@pve", "Own", 1)], "joe@pve", "/vms/1", "VM.Allocate", False),
    # two roles at one path add up
    ([("/vms", "ann@pve", "Own", 1), ("/vms", "ann@pve", "PVEPoolUser", 1)], "ann@pve", "/vms/1", "Pool.Audit", True),
    ([("/vms", "off@pve", "PVEVMAdmin", 1)], "off@pve", "/vms/100", "VM.Audit", False),
    ([], "nobody@pve", "/vms/100", "VM.Audit", False),
    ([], "root@pam", "/anything", "Sys.Modify", True),
    ([("/vms", "ann@pve", "Gone", 1)], "ann@pve", "/vms/100", "VM.Audit", False),
]


@pytest.mark.parametrize(("entries", "who", "path", "priv", "has"), CASES)
def test_privileges(entries: list[tuple[str, str, str, int]], who: str, path: str, priv: str, has: bool) -> None:
    assert (priv in rights(*entries).of(who, path)) == has


def test_pool_roles_reach_its_guests_and_storages_without_propagating() -> None:
    found = rights(("/pool/web", "ann@pve", "PVEAdmin", 1), pools={"web": {"vms": ["100"], "storage": ["st1"]}})
    assert found.of("ann@pve", "/vms/100")["VM.Allocate"] == 0
    assert "Datastore.AllocateSpace" in found.of("ann@pve", "/storage/st1")
    assert found.of("ann@pve", "/vms/101") == {}


def test_no_access_at_a_guest_beats_its_pool() -> None:
    found = rights(
        ("/pool/web", "ann@pve", "PVEAdmin", 1), ("/vms/100", "ann@pve", "NoAccess", 1), pools={"web": {"vms": ["100"]}}
    )
    assert found.of("ann@pve", "/vms/100") == {}


def test_separated_tokens_have_the_intersection() -> None:
    found = rights(
        ("/vms", "joe@pve", "PVEVMUser", 1), ("/vms", "joe@pve!t", "PVEVMAdmin", 1), t={"privsep": 1}, u={"privsep": 0}
    )
    assert found.of("joe@pve!t", "/vms/1") == found.of("joe@pve", "/vms/1")
    assert found.of("joe@pve!u", "/vms/1") == found.of("joe@pve", "/vms/1")
    assert "VM.Allocate" not in found.of("joe@pve!t", "/vms/1")
    assert found.of("joe@pve!gone", "/vms/1") == {}


def test_a_token_without_entries_has_nothing() -> None:
    assert rights(("/", "joe@pve", "Administrator", 1), t={"privsep": 1}).of("joe@pve!t", "/") == {}


PERM = ["perm", "/vms/{vmid}", ["VM.Audit", "VM.Allocate"]]
EXPRESSIONS: list[tuple[Any, dict[str, Any], str | None]] = [
    (PERM, {"vmid": 100}, "/vms/100, VM.Allocate"),
    ([*PERM, "any", 1], {"vmid": 100}, None),
    (["perm", "/nodes/{node}", ["Sys.Audit", "Sys.Modify"], "any", 1], {"node": "n"}, "/nodes/n, Sys.Audit|Sys.Modify"),
    (["or", PERM, ["perm", "/vms/{vmid}", ["VM.Audit"]]], {"vmid": 100}, None),
    (["and", PERM, ["perm", "/vms/{vmid}", ["VM.Audit"]]], {"vmid": 100}, "/vms/100, VM.Allocate"),
    (["perm", "/pool/{pool}", ["VM.Allocate"], "require_param", "pool"], {}, "/pool, VM.Allocate"),
    (["perm-modify", "{path}"], {"path": "/vms/100"}, "/vms/100, Permissions.Modify|VM.Allocate"),
    (["perm-modify", "{path}"], {"path": "/pool/web"}, None),
    (["userid-param", "self"], {"userid": "ann@pve"}, None),
    (["userid-param", "Realm.AllocateUser"], {"userid": "x@pve"}, "/access/realm/pve, Realm.AllocateUser"),
    (["userid-group", ["User.Modify"]], {"userid": "joe@pve"}, None),
    (["userid-group", ["User.Modify"]], {"userid": "root@pam"}, ""),
    (["userid-group", ["User.Modify"], "groups_param", "create"], {"userid": "x@pve"}, "/access/groups, User.Modify"),
    (["userid-group", ["User.Modify"], "groups_param", "create"], {"userid": "x@pve", "groups": "ops"}, None),
    (
        ["userid-group", ["User.Modify"], "groups_param", "update"],
        {"userid": "joe@pve", "groups": "ops,adm"},
        "/access/groups/adm, User.Modify",
    ),
]


@pytest.mark.parametrize(("expression", "args", "refusal"), EXPRESSIONS)
def test_check_expressions(expression: Any, args: dict[str, Any], refusal: str | None) -> None:
    found = rights(
        ("/vms", "ann@pve", "Own", 1),
        ("/pool/web", "ann@pve", "PVEPoolAdmin", 1),
        ("/access/groups/ops", "ann@pve", "PVEUserAdmin", 1),
    )
    assert found.check(expression, "ann@pve", args) == refusal


def test_every_expression_of_every_release_can_be_evaluated() -> None:
    from pvehelm.api.schema import Schema

    found = rights()
    for release in ("7.4", "8.4", "9.2"):
        for operation in Schema.load(release).operations():
            check = (operation.permissions or {}).get("check")
            if check:
                assert found.check(check, "ann@pve", {}) is not None, (operation.method, operation.path)


def test_roles_differ_by_release() -> None:
    assert "VM.Monitor" in privileges("8.4") - privileges("9.2")
    assert "VM.GuestAgent.Audit" in privileges("9.2") - privileges("8.4")
    for release in ("8.4", "9.2"):
        assert all(role <= privileges(release) for role in built_in(release).values())


def test_paths() -> None:
    assert normalise("vms//100/") == "/vms/100"
    assert normalise("") == "/"
    assert fill_in("/pool/{poolid}", {}) == "/pool/"


def test_what_a_user_may_grant() -> None:
    from tests.simulator.api import api

    root = api()
    root.ok("POST", "/pools", poolid="team")
    root.ok("POST", "/nodes/pve1/qemu", vmid=100, memory=64, pool="team")
    for user in ("lead@pve", "dev@pve"):
        root.ok("POST", "/access/users", userid=user, password="secret-123")
    root.ok("PUT", "/access/acl", path="/pool/team", users="lead@pve", roles="PVEPoolAdmin,PVEVMUser")
    lead = root.as_user("lead@pve", "secret-123")
    assert lead.put("/access/acl", path="/pool/team", users="dev@pve", roles="PVEVMUser").status == 200
    refused = lead.put("/access/acl", path="/pool/team", users="dev@pve", roles="PVEVMAdmin")
    assert (refused.status, "Cannot add role 'PVEVMAdmin'" in refused.message) == (500, True)
    assert lead.put("/access/acl", path="/pool/other", users="dev@pve", roles="PVEVMUser").status == 403
    assert lead.put("/pools", poolid="team", vms=100, delete=1).status == 403
    dev = root.as_user("dev@pve", "secret-123")
    assert set(dev.get("/access/permissions").data) == {"/pool/team", "/vms/100"}
    assert dev.get("/access/permissions", userid="lead@pve").status == 403
    assert [row["vmid"] for row in dev.get("/nodes/pve1/qemu").data] == [100]


def test_everything_is_shown_to_whom_the_root_path_was_given() -> None:
    from tests.simulator.api import api

    root = api()
    root.ok("POST", "/access/users", userid="ann@pve", password="secret-123")
    root.ok("PUT", "/access/acl", path="/", users="ann@pve", roles="PVEAuditor")
    shown = root.as_user("ann@pve", "secret-123").get("/access/permissions").data
    assert {"/", "/access", "/nodes", "/pool", "/storage", "/vms"} <= set(shown)
    assert shown["/vms"]["VM.Audit"] == 1
