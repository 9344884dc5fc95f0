"""Logins: tickets, CSRF tokens, API tokens."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from pvehelm.simulator import auth
from tests.simulator.api import Api, api

NOW = 1_700_000_000.0


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


@pytest.fixture
def root(clock: list[float]) -> Api:
    return api(clock=lambda: clock[0])


REASONS = [
    ({}, "No ticket"),
    ({"authorization": "Bearer"}, "No ticket"),
    ({"cookie": "other=1"}, "No ticket"),
    ({"cookie": "PVEAuthCookie=garbage"}, "Authentication failed!"),
    ({"cookie": "PVEAuthCookie=PVE:root@pam:11111111::abc"}, "Authentication failed!"),
    ({"authorization": "PVEAPIToken=garbage"}, "Authentication failed!"),
    ({"authorization": "PVEAPIToken=root@pam!x=00000000-0000-0000-0000-000000000000"}, "Authentication failed!"),
]


@pytest.mark.parametrize(("headers", "reason"), REASONS)
def test_401_has_a_reason_and_no_body(root: Api, headers: dict[str, str], reason: str) -> None:
    answer = root.send("GET", "/version", headers=headers)
    assert (answer.status, answer.reason, answer.text) == (401, reason, "")


def test_ticket_in_three_places(root: Api) -> None:
    ticket, _ = auth.make_ticket(root.simulator.state, "root@pam", NOW)
    for headers in (
        {"cookie": f"PVEAuthCookie={ticket}"},
        {"cookie": f"a=b; PVEAuthCookie={quote(ticket, safe='')}; c=d"},
        {"authorization": f"PVEAuthCookie={ticket}"},
    ):
        assert root.send("GET", "/version", headers=headers).status == 200


def test_ticket_expires_and_renews(root: Api, clock: list[float]) -> None:
    ticket, _ = auth.make_ticket(root.simulator.state, "root@pam", NOW)
    clock[0] += auth.LIFETIME - 1
    renewed = root.login("root@pam", ticket)
    clock[0] += 10
    assert root.send("GET", "/version", headers={"cookie": f"PVEAuthCookie={ticket}"}).status == 401
    assert root.send("GET", "/version", headers=renewed).status == 200


def test_ticket_of_the_future_or_of_another_cluster_is_refused(root: Api) -> None:
    future, _ = auth.make_ticket(root.simulator.state, "root@pam", NOW + 3600)
    foreign, _ = auth.make_ticket(api().simulator.state, "root@pam", NOW)
    for ticket in (future, foreign):
        assert root.send("GET", "/version", headers={"cookie": f"PVEAuthCookie={ticket}"}).status == 401


def test_writes_need_the_csrf_token_of_the_same_user(root: Api) -> None:
    root.ok("POST", "/access/users", userid="joe@pve", password="secret-123")
    joe = root.as_user("joe@pve", "secret-123")
    for token in (None, "12345678:abc", joe.headers["csrfpreventiontoken"]):
        headers = {"cookie": root.headers["cookie"]}
        if token:
            headers["csrfpreventiontoken"] = token
        answer = root.send("POST", "/pools", b"poolid=x", headers)
        assert (answer.status, answer.reason) == (401, "Permission denied - invalid csrf token")
    assert root.get("/pools").data == []


def test_failed_logins_say_so_in_json(root: Api) -> None:
    for body in (
        b"username=root%40pam&password=wrong",
        b"username=no%40pve&password=x",
        b"username=root&password=proxmox",
    ):
        answer = root.send("POST", "/access/ticket", body)
        assert (answer.status, answer.reason) == (401, "authentication failure")
        assert answer.message == "authentication failure\n"
    assert root.send("POST", "/access/ticket", b"username=root&realm=pam&password=proxmox").status == 200


def test_disabled_and_expired_accounts_are_out_at_once(root: Api) -> None:
    root.ok("POST", "/access/users", userid="joe@pve", password="secret-123")
    joe = root.as_user("joe@pve", "secret-123")
    token = root.ok("POST", "/access/users/joe@pve/token/t1", privsep=0)
    bot = root.as_token("joe@pve!t1", token["value"])
    for change in ({"enable": 0}, {"enable": 1, "expire": int(NOW) - 1}):
        root.ok("PUT", "/access/users/joe@pve", **change)
        assert joe.get("/version").status == 401
        assert bot.get("/version").status == 401
    root.ok("PUT", "/access/users/joe@pve", expire=0)
    assert joe.get("/version").status == 200
    assert bot.get("/version").status == 200
    root.ok("PUT", "/access/users/joe@pve/token/t1", expire=int(NOW) - 1)
    assert bot.get("/version").status == 401


def test_tokens_need_no_csrf_and_may_not_log_in(root: Api) -> None:
    token = root.ok("POST", "/access/users/root@pam/token/t1", privsep=0)
    bot = root.as_token(token["full-tokenid"], token["value"])
    assert bot.post("/pools", poolid="p").status == 200
    for method, path in (("POST", "/access/ticket"), ("PUT", "/access/password")):
        answer = bot.call(method, path, {"username": "root@pam", "password": "proxmox"})
        assert answer.status == 403
        assert "not available with API token" in answer.reason


def test_token_answers_what_was_sent(root: Api) -> None:
    assert root.ok("POST", "/access/users/root@pam/token/aa")["info"] == {"privsep": 1}
    assert root.ok("POST", "/access/users/root@pam/token/bb", privsep=0)["info"] == {"privsep": "0"}
    again = root.post("/access/users/root@pam/token/aa")
    assert (again.status, again.errors) == (400, ["tokenid"])


def test_passwords_are_not_stored_and_never_shown(root: Api) -> None:
    root.ok("POST", "/access/users", userid="joe@pve", password="secret-123")
    stored = root.simulator.state.collection("users")["joe@pve"]
    assert "secret-123" not in str(stored)
    assert "password" not in root.get("/access/users/joe@pve").data
    assert "password" not in root.get("/access/users").data[1]


PASSWORDS = [("joe@pve", 200), ("joe@pam", 500), ("joe@corp", 500), ("joe@nosuch", 500)]


@pytest.mark.parametrize(("userid", "status"), PASSWORDS)
def test_passwords_are_kept_by_some_realms_only(root: Api, userid: str, status: int) -> None:
    root.ok("POST", "/access/domains", realm="corp", type="ad", server1="127.0.0.1", domain="example.org")
    assert root.post("/access/users", userid=userid, password="secret-123").status == status
    assert (root.get(f"/access/users/{userid}").status == 200) == (status == 200)
    assert root.delete(f"/access/users/{userid}").status == 200
    root.ok("POST", "/access/users", userid=userid)
    assert root.put("/access/password", userid=userid, password="secret-123").status == status
