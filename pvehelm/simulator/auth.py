"""Logins: passwords, tickets with a signature, CSRF tokens and API tokens.

A ticket is ``PVE:USER:HEXTIME::SIGNATURE`` and valid for two hours; a CSRF token is ``HEXTIME:SIGNATURE`` of the same
user. Nothing of either is stored, so logging in needs no write; the key belongs to the state.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from pvehelm.simulator.permissions import Rights
from pvehelm.simulator.state import State

LIFETIME = 7200
_TICKET = re.compile(r"PVE:([^:]+):([0-9A-F]{8})::([A-Za-z0-9+/=]+)\Z")
_TOKEN = re.compile(r"([^\s=!]+@[^\s=!]+![A-Za-z][A-Za-z0-9._-]+)=([0-9a-f-]{36})\Z")


class Unauthorized(Exception):
    """The request is refused with 401, an empty body and this reason."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: ``user`` (``name@realm``, empty for nobody) and the whole token id when a token was used."""

    user: str = ""
    token: str | None = None

    @property
    def name(self) -> str:
        """What permissions and tasks are recorded under."""
        return self.token or self.user


NOBODY = Identity()


def hash_password(password: str) -> str:
    salt = secrets.token_hex(8)
    return f"{salt}${_digest(salt, password)}"


def _digest(salt: str, password: str) -> str:
    return hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 100).hex()


def password_fits(stored: str | None, password: str) -> bool:
    if not stored:
        return False
    salt, _, digest = stored.partition("$")
    return hmac.compare_digest(digest, _digest(salt, password))


def _sign(state: State, text: str) -> str:
    key = str(state.value("secret")).encode()
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def make_ticket(state: State, user: str, now: float) -> tuple[str, str]:
    """A ticket and its CSRF token."""
    plain = f"PVE:{user}:{int(now):08X}"
    csrf = f"{int(now):08X}"
    return f"{plain}::{_sign(state, plain)}", f"{csrf}:{_sign(state, f'csrf:{csrf}:{user}')}"


def ticket_user(state: State, ticket: str, now: float) -> str | None:
    """The user whose valid ticket this is."""
    found = _TICKET.match(ticket)
    if found is None:
        return None
    user, stamp, signature = found.groups()
    age = now - int(stamp, 16)
    if not -300 <= age <= LIFETIME:
        return None
    fits = hmac.compare_digest(signature, _sign(state, f"PVE:{user}:{stamp}"))
    return user if fits else None


def csrf_fits(state: State, user: str, token: str, now: float) -> bool:
    stamp, _, signature = token.partition(":")
    if not re.fullmatch(r"[0-9A-F]{8}", stamp) or not -300 <= now - int(stamp, 16) <= LIFETIME:
        return False
    return hmac.compare_digest(signature, _sign(state, f"csrf:{stamp}:{user}"))


def login(state: State, user: str, password: str, now: float, release: str) -> bool:
    """Whether a password or a valid ticket of the user opens the door."""
    account = state.collection("users").get(user)
    if account is None or not Rights(state, release).enabled(user, now):
        return False
    if password.startswith("PVE:") and ticket_user(state, password, now) == user:
        return True
    return password_fits(account.get("password"), password)


def identify(state: State, method: str, headers: Mapping[str, str], now: float, release: str) -> Identity:
    """Who sends a request. Raises Unauthorized."""
    authorization = headers.get("authorization", "")
    rights = Rights(state, release)
    if authorization.startswith("PVEAPIToken="):
        found = _TOKEN.match(unquote(authorization.removeprefix("PVEAPIToken=")))
        token = state.collection("tokens").get(found[1]) if found else None
        if not found or not token or not hmac.compare_digest(str(token["value"]), found[2]):
            raise Unauthorized("Authentication failed!")
        if not rights.enabled(found[1], now):
            raise Unauthorized("Authentication failed!")
        return Identity(found[1].partition("!")[0], found[1])
    ticket = _ticket(headers)
    if not ticket:
        raise Unauthorized("No ticket")
    user = ticket_user(state, ticket, now)
    if user is None or not rights.enabled(user, now):
        raise Unauthorized("Authentication failed!")
    if method != "GET" and not csrf_fits(state, user, headers.get("csrfpreventiontoken", ""), now):
        raise Unauthorized("Permission denied - invalid csrf token")
    return Identity(user)


def _ticket(headers: Mapping[str, str]) -> str:
    for source in (headers.get("cookie", ""), headers.get("authorization", "")):
        for part in source.split(";"):
            name, _, value = part.strip().partition("=")
            if name == "PVEAuthCookie":
                return unquote(value.strip().strip('"'))
    return ""


def uses_token(headers: Mapping[str, str]) -> bool:
    return headers.get("authorization", "").startswith("PVEAPIToken=")


def token_id(headers: Mapping[str, str]) -> str:
    return headers.get("authorization", "").removeprefix("PVEAPIToken=").partition("=")[0]


def new_secret() -> str:
    """A token's secret: a random UUID."""
    import uuid

    return str(uuid.uuid4())
