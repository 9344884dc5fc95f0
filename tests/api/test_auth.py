"""Tokens and tickets: what is sent when, who logs in, and what never shows."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
import pytest

from pvehelm.api.auth import LIFETIME, Auth, TicketAuth, TokenAuth
from pvehelm.api.client import Client, Retries
from pvehelm.errors import AuthError, InvalidError, TransportError
from tests.api.serving import Scripted, Time, fine, refused

SECRET = "11111111-2222-3333-4444-555555555555"
PASSWORD = "correct horse; battery=staple"


class Realm:
    """A node that gives out tickets and checks them."""

    def __init__(self, password: str = PASSWORD) -> None:
        self.password = password
        self.valid: set[str] = set()
        self.logins: list[str] = []
        self.count = 0
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response | Exception:
        if request.url.path.endswith("/access/ticket"):
            if self.down:
                return httpx.ReadError("down")
            form = parse_qs(request.content.decode())
            given = form["password"][0]
            self.logins.append("ticket" if given.startswith("PVE:") else "password")
            if given != self.password and given not in self.valid:
                return refused(401, "authentication failure", message="authentication failure\n")
            self.count += 1
            ticket = f"PVE:{form['username'][0]}:{self.count}::a+b/c="
            self.valid.add(ticket)
            return fine({"username": "u", "ticket": ticket, "CSRFPreventionToken": f"csrf{self.count}"})
        cookie = unquote(request.headers.get("cookie", "").removeprefix("PVEAuthCookie="))
        if cookie not in self.valid:
            return refused(401, "No ticket")
        number = cookie.split(":")[2]
        if request.method != "GET" and request.headers.get("csrfpreventiontoken") != f"csrf{number}":
            return refused(401, "Permission denied - invalid csrf token")
        assert request.method != "GET" or "csrfpreventiontoken" not in request.headers
        return fine(int(number))


class Session:
    def __init__(self, realm: Any, auth: Auth | None = None, retries: Retries | None = None) -> None:
        self.time = Time()
        self.transport = Scripted(realm)
        self.auth = auth or TicketAuth("joe@pve", PASSWORD)
        self.client = Client(
            "pve1",
            self.auth,
            transport=self.transport,
            sleep=self.time.sleep,
            clock=self.time.clock,
            retries=retries or Retries(attempts=1),
        )


def test_token_is_one_header() -> None:
    auth = TokenAuth("joe@pve!helm", SECRET + "\n")
    assert auth.headers("POST") == {"Authorization": f"PVEAPIToken=joe@pve!helm={SECRET}"}
    assert not auth.due(0.0)
    assert list(auth.login(0.0)) == []
    assert SECRET not in repr(auth)


def test_token_secret_from_a_function_is_asked_once() -> None:
    asked: list[int] = []
    auth = TokenAuth("joe@pve!helm", lambda: asked.append(1) or SECRET)  # type: ignore[func-returns-value]
    assert not asked
    assert auth.headers("GET") == auth.headers("PUT")
    assert len(asked) == 1


@pytest.mark.parametrize(
    "text", ["", "joe", "joe@pve", "joe!helm", "joe@pve!", "joe@pve!a b", "j/e@pve!x", "joe@pve!x=1"]
)
def test_no_token_ids(text: str) -> None:
    with pytest.raises(InvalidError, match="token"):
        TokenAuth(text, SECRET)


@pytest.mark.parametrize("text", ["", "\n", "abc\r\nX-Evil: 1", "a b", "ü"])
def test_no_token_secrets(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        TokenAuth("joe@pve!helm", text)
    assert not text.strip() or text not in str(caught.value)


def test_refused_token_is_not_tried_again() -> None:
    session = Session(lambda request: refused(401, "Authentication failed!"), TokenAuth("joe@pve!helm", SECRET))
    with pytest.raises(AuthError) as caught:
        asyncio.run(session.client.get("/version"))
    assert "joe@pve!helm" in caught.value.hint
    assert SECRET not in str(caught.value) + caught.value.hint
    assert len(session.transport.requests) == 1


@pytest.mark.parametrize(
    ("user", "realm", "meant"),
    [
        ("joe@pve", None, "joe@pve"),
        ("joe", "pam", "joe@pam"),
        ("joe@pam", "pam", "joe@pam"),
        ("joe@example.org@ldap", None, "joe@example.org@ldap"),
    ],
)
def test_users_and_realms(user: str, realm: str | None, meant: str) -> None:
    assert TicketAuth(user, "x", realm=realm).user == meant


@pytest.mark.parametrize(("user", "realm"), [("joe", None), ("@pve", None), ("joe@", None), ("joe@pve", "pam")])
def test_users_without_realm(user: str, realm: str | None) -> None:
    with pytest.raises(InvalidError, match="realm"):
        TicketAuth(user, "x", realm=realm)


def test_login_happens_once_for_many_calls() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        assert await asyncio.gather(*(session.client.get("/x") for _ in range(30))) == [1] * 30
        assert await session.client.post("/x") == 1
        assert await session.client.delete("/x") == 1
        assert realm.logins == ["password"]

    asyncio.run(main())


def test_ticket_is_renewed_with_itself() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        session.time.now += 3599
        await session.client.get("/x")
        assert realm.logins == ["password"]
        session.time.now += 2
        assert await asyncio.gather(*(session.client.post("/x") for _ in range(9))) == [2] * 9
        assert realm.logins == ["password", "ticket"]

    asyncio.run(main())


def test_old_ticket_is_not_sent_as_password() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        session.time.now += LIFETIME + 1
        await session.client.get("/x")
        assert realm.logins == ["password", "password"]
        # A clock that was set back says nothing about the ticket's age.
        session.time.now -= 10 * LIFETIME
        await session.client.get("/x")
        assert realm.logins == ["password"] * 3

    asyncio.run(main())


def test_renewal_that_is_refused_falls_back_to_the_password() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        realm.valid.clear()
        session.time.now += 4000
        assert await session.client.get("/x") == 2
        assert realm.logins == ["password", "ticket", "password"]

    asyncio.run(main())


def test_renewal_that_cannot_be_made_now_does_not_stop_work() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        realm.down = True
        session.time.now += 4000
        assert await session.client.get("/x") == 1
        session.time.now += 4000
        with pytest.raises(TransportError):
            await session.client.get("/x")

    asyncio.run(main())


@pytest.mark.parametrize("trouble", [httpx.ReadError("reset"), refused(596)])
def test_a_lost_login_is_made_again_even_for_a_write(trouble: Any) -> None:
    async def main() -> None:
        realm = Realm()
        troubles = [trouble]

        def respond(request: httpx.Request) -> httpx.Response | Exception:
            return troubles.pop() if troubles else realm(request)

        session = Session(respond, retries=Retries())
        assert await session.client.post("/x") == 1
        assert session.transport.heard == ["POST /access/ticket", "POST /access/ticket", "POST /x"]
        troubles.append(trouble)
        session = Session(respond)
        with pytest.raises(TransportError, match="POST /access/ticket") as caught:
            await session.client.post("/x")
        assert not caught.value.sent

    asyncio.run(main())


def test_401_in_mid_run_logs_in_once_and_repeats_even_a_write() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        realm.valid.clear()
        assert await asyncio.gather(*(session.client.post("/x") for _ in range(8))) == [2] * 8
        assert realm.logins == ["password", "password"]

    asyncio.run(main())


def test_second_401_is_final() -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/access/ticket"):
            return fine({"ticket": "PVE:x", "CSRFPreventionToken": "c"})
        return refused(401, "Permission denied - invalid csrf token")

    session = Session(respond)
    with pytest.raises(AuthError, match="PUT /x: 401 Permission denied") as caught:
        asyncio.run(session.client.put("/x"))
    assert "joe@pve" in caught.value.hint
    assert session.transport.heard == ["POST /access/ticket", "PUT /x"] * 2


def test_wrong_password_is_sent_once_whoever_waits() -> None:
    async def main() -> None:
        realm = Realm("another")
        session = Session(realm)
        outcomes = await asyncio.gather(*(session.client.get("/x") for _ in range(12)), return_exceptions=True)
        assert all(isinstance(outcome, AuthError) for outcome in outcomes)
        assert realm.logins == ["password"]
        error = outcomes[-1]
        assert isinstance(error, AuthError)
        assert "wrong password for joe@pve" in error.hint
        assert PASSWORD not in str(error) + repr(error) + error.hint
        # Later the realm may be back, or the password another one.
        session.time.now += 60
        realm.password = PASSWORD
        assert await session.client.get("/x") == 1

    asyncio.run(main())


def test_password_from_a_function_is_asked_at_each_login() -> None:
    async def main() -> None:
        passwords = ["first-password", "second-password"]
        realm = Realm("first-password")
        session = Session(realm, TicketAuth("joe@pve", lambda: passwords.pop(0)))
        assert await session.client.get("/x") == 1
        realm.valid.clear()
        realm.password = "second-password"
        assert await session.client.get("/x") == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        {"ticket": "PVE:!tfa!%7B%22totp%22%3Atrue%7D:65::x", "NeedTFA": 1, "CSRFPreventionToken": "c"},
        {"ticket": "PVE:!tfa!x", "CSRFPreventionToken": "c"},
    ],
)
def test_second_factor_is_said_plainly(answer: dict[str, Any]) -> None:
    with pytest.raises(AuthError, match="second factor") as caught:
        asyncio.run(Session(lambda request: fine(answer)).client.get("/x"))
    assert "API token" in caught.value.hint


def test_login_answered_with_nonsense() -> None:
    with pytest.raises(AuthError, match="without a ticket"):
        asyncio.run(Session(lambda request: fine("hello")).client.get("/x"))


def test_nothing_secret_shows() -> None:
    async def main() -> None:
        realm = Realm()
        session = Session(realm)
        await session.client.get("/x")
        ticket = next(iter(realm.valid))
        assert session.auth.hide(f"a {ticket} b {PASSWORD} c csrf1") == "a ******** b ******** c ********"
        assert PASSWORD not in repr(session.auth) + repr(session.client)
        assert ticket not in repr(session.auth)

    asyncio.run(main())


def test_nobody() -> None:
    auth = Auth()
    assert auth.headers("POST") == {}
    assert not auth.rejected(0)
    assert asyncio.run(Session(lambda request: fine(1), auth).client.get("/x")) == 1
