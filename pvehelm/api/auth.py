"""Who we are to a node: an API token, or a user's ticket that is renewed as it ages.

The flows do no input or output: ``login`` is a generator that yields Requests, is sent the answers' ``data`` (or has
the ApiError thrown into it) and ends when ``headers`` are good. The client drives it, one at a time.
Secrets never stand in a repr, a log or an error; ``hide`` removes them from a text of the server's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any, TypeAlias
from urllib.parse import quote as percent_encode

from pvehelm.api.exchange import Request
from pvehelm.errors import AuthError, InvalidError

Flow: TypeAlias = Generator[Request, Any, None]
Secret: TypeAlias = str | Callable[[], str]

LIFETIME = 7200.0
"""Seconds that a ticket lives on the server."""
_FAILED_FOR = 30.0
# What may stand in a cookie as it is (RFC 6265). A node takes a ticket either way; other servers take it as it came.
_IN_COOKIE = "!#$&'()*+-./:<=>?@[]^_`{|}~"
_REALM_NAME = r"[A-Za-z][A-Za-z0-9.\-_]+"


class Auth:
    """What the client asks of credentials. The base class is nobody: no headers, no login."""

    @property
    def identity(self) -> str:
        """``user@realm`` or ``user@realm!token`` as permissions name it; '' for nobody."""
        return ""

    def headers(self, method: str) -> dict[str, str]:
        """Headers for a request of that method; raises AuthError when a login is needed first."""
        return {}

    def due(self, now: float) -> bool:
        """Must ``login`` run before the next request? ``now`` in seconds of the client's clock, which nobody sets."""
        return False

    def login(self, now: float) -> Flow:
        """Get or renew what ``headers`` needs; raises AuthError."""
        yield from ()

    @property
    def generation(self) -> int:
        """Counts logins, so that a 401 to an older request is told from one to the newest."""
        return 0

    def rejected(self, generation: int) -> bool:
        """The server answered 401 to a request made with that generation. True when a (new) login may help."""
        return False

    def usable(self, now: float) -> bool:
        """Would ``headers`` still be taken, so that a renewal that could not be made now is no reason to fail?"""
        return False

    def hint(self, reason: str) -> str:
        """What a person should do about a final 401."""
        return "this call needs credentials"

    def hide(self, text: str) -> str:
        """``text`` without secrets."""
        return text


class TokenAuth(Auth):
    """An API token: one header, no login, no CSRF token. ``token_id`` is ``USER@REALM!NAME``; raises InvalidError."""

    def __init__(self, token_id: str, secret: Secret) -> None:
        self.token_id = token_id.strip()
        if not re.fullmatch(rf"[^\s:/!=]+@{_REALM_NAME}![A-Za-z][A-Za-z0-9.\-_]*", self.token_id):
            raise InvalidError(
                f"not an API token's id: {token_id!r}", hint="USER@REALM!NAME, for example root@pam!helm"
            )
        self._secret: Secret = _checked(secret, "the token's secret") if isinstance(secret, str) else secret

    def __repr__(self) -> str:
        return f"TokenAuth({self.token_id!r})"

    @property
    def identity(self) -> str:
        return self.token_id

    def headers(self, method: str) -> dict[str, str]:
        if not isinstance(self._secret, str):
            self._secret = _checked(self._secret(), "the token's secret")
        return {"Authorization": f"PVEAPIToken={self.token_id}={self._secret}"}

    def hint(self, reason: str) -> str:
        return f"is {self.token_id} still there, enabled and not expired, its user too, and is this its secret?"

    def hide(self, text: str) -> str:
        return _hide(text, self._secret)


class TicketAuth(Auth):
    """A user's password, exchanged for a ticket (cookie and CSRF token) when first needed.

    ``user`` is ``NAME@REALM``, or ``NAME`` with ``realm``. ``password`` may be a function, asked at each login
    by password. The ticket is renewed with itself from ``renew_after`` seconds on, with the password when it was
    refused or is too old. A password that was just refused is not sent again for half a minute: many calls at once must
    not lock an account. Raises InvalidError for a user name without realm.
    """

    def __init__(self, user: str, password: Secret, *, realm: str | None = None, renew_after: float = 3600.0) -> None:
        name, at, own_realm = user.rpartition("@")
        if realm and at and re.fullmatch(_REALM_NAME, own_realm) and own_realm != realm:
            raise InvalidError(f"user {user!r} is not of realm {realm!r}")
        if realm and not user.endswith(f"@{realm}"):
            user = f"{user}@{realm}"
        elif not realm and not (name and re.fullmatch(_REALM_NAME, own_realm)):
            raise InvalidError(f"user {user!r} has no realm", hint=f"write {name or user}@pam or {name or user}@pve")
        self.user = user
        self._password: Secret = _checked(password, "the password") if isinstance(password, str) else password
        self._renew_after = renew_after
        self._ticket = ""
        self._csrf = ""
        self._issued = 0.0
        self._generation = 0
        self._refused: tuple[float, str, AuthError] | None = None
        self._known: set[str] = {self._password} if isinstance(self._password, str) else set()

    def __repr__(self) -> str:
        return f"TicketAuth({self.user!r})"

    @property
    def identity(self) -> str:
        return self.user

    @property
    def generation(self) -> int:
        return self._generation

    def headers(self, method: str) -> dict[str, str]:
        if not self._ticket:
            raise AuthError(401, "not logged in")
        headers = {"Cookie": f"PVEAuthCookie={percent_encode(self._ticket, safe=_IN_COOKIE)}"}
        if method != "GET":
            headers["CSRFPreventionToken"] = self._csrf
        return headers

    def due(self, now: float) -> bool:
        # A clock that was set back makes the age negative: then nothing is known about it.
        return not self._ticket or not 0 <= now - self._issued < self._renew_after

    def login(self, now: float) -> Flow:
        if self._ticket and 0 <= now - self._issued < LIFETIME - 60:
            try:
                answer = yield self._request(self._ticket)
            except AuthError:
                self._ticket = ""
            else:
                self._accept(answer, now)
                return
        password = self._password if isinstance(self._password, str) else _checked(self._password(), "the password")
        self._known.add(password)
        if self._refused:
            when, what, error = self._refused
            if what == password and 0 <= now - when < _FAILED_FOR:
                raise AuthError(error.status, error.reason, method="POST", path="/access/ticket", hint=error.hint)
        self._refused = None
        try:
            answer = yield self._request(password)
        except AuthError as error:
            hint = f"wrong password for {self.user}, wrong realm, or the user is disabled or expired"
            failure = AuthError(401, error.reason, method="POST", path="/access/ticket", hint=hint)
            self._refused = (now, password, failure)
            raise failure from None
        self._accept(answer, now)

    def rejected(self, generation: int) -> bool:
        if generation == self._generation:
            self._ticket = ""
        return True

    def usable(self, now: float) -> bool:
        return bool(self._ticket) and 0 <= now - self._issued < LIFETIME - 60

    def hint(self, reason: str) -> str:
        return f"the login of {self.user} works, but its ticket is refused: was the user disabled or has it expired?"

    def hide(self, text: str) -> str:
        return _hide(text, *self._known, self._ticket, self._csrf)

    def _request(self, password: str) -> Request:
        return Request("POST", "/access/ticket", {"username": self.user, "password": password})

    def _accept(self, answer: Any, now: float) -> None:
        ticket = answer.get("ticket") if isinstance(answer, dict) else None
        if not isinstance(ticket, str) or not ticket:
            raise AuthError(401, "the login was answered without a ticket", method="POST", path="/access/ticket")
        if answer.get("NeedTFA") or ticket.startswith("PVE:!tfa!"):
            raise AuthError(
                401,
                f"user {self.user} has a second factor, which a program cannot show",
                method="POST",
                path="/access/ticket",
                hint="use an API token (pveum user token add USER NAME), or a user without a second factor",
            )
        self._ticket, self._csrf = ticket, str(answer.get("CSRFPreventionToken") or "")
        self._issued = now
        self._generation += 1


def _checked(secret: str, what: str) -> str:
    """The secret without a final line end; raises InvalidError (that does not show it) for what fits no header."""
    secret = secret.rstrip("\r\n")
    if not secret:
        raise InvalidError(f"{what} is empty")
    if what.startswith("the token") and not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise InvalidError(f"{what} has blanks, line ends or other characters that no secret has")
    return secret


def _hide(text: str, *secrets: Secret) -> str:
    for secret in secrets:
        if isinstance(secret, str) and len(secret) >= 4:
            text = text.replace(secret, "********")
    return text
