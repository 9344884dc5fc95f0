"""One exchange with the API, without any input or output: what a call looks like on the wire, what an answer means.

``build`` and ``interpret`` are pure. Importing this module does not import httpx.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as percent_encode

from pvehelm.errors import ApiError, AuthError, InvalidError, Problem, PvehelmError, TransportError

if TYPE_CHECKING:
    import httpx

    from pvehelm.api.upload import Upload

BODY_LIMIT = 512 * 1024
"""Bytes of a request body that a node accepts."""
LINE_LIMIT = 8 * 1024
"""Bytes of a request line that a node accepts."""
PASSING = frozenset(range(502, 600))
"""Statuses that say something about the way to the node, not about the call: of its own proxy, or of one in between."""
# HTTP's own words for the statuses that both a node and a proxy before it use.
_WORDS = {404: "not found", 500: "internal server error"}

_IN_QUERY = frozenset({"GET", "DELETE"})
_METHODS = frozenset({"GET", "POST", "PUT", "DELETE"})
_NESTED_CHECK = re.compile(r"\s*(?:([^\n]*): )?(?:400 )?Parameter verification failed\.\s*\n(.*)", re.DOTALL)
_NESTED_LINE = re.compile(r"([A-Za-z0-9_][\w.\[\]-]*): (.*)")
# Words for statuses that come without any text: the proxy in front of a daemon or node that does not answer.
_SILENT = {
    401: "not logged in",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timeout",
    595: "the node or its API daemon cannot be reached",
    596: "the connection to the node broke before its answer was complete",
    597: "the node's answer broke off",
    599: "the node did not answer in time",
}


class ForeignAnswerError(TransportError):
    """An answer came, but not from this API. Trying again is no use."""


@dataclass(frozen=True, slots=True)
class Request:
    """A call: method, path without ``/api2/json`` whose segments are percent-encoded (see ``quote``), parameters.

    Values of ``params``: str, int, float, bool (sent as 0/1), None (not sent), or a list of scalars (repeated key).
    ``body``: a file that goes along (POST only).
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict, repr=False)
    body: Upload | None = field(default=None, repr=False)

    @property
    def reads(self) -> bool:
        """Does it only read, so that it may be repeated at will?"""
        return self.method == "GET"


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer: ``data``, and what stands beside it (``total`` of lists, ``changes`` of networks)."""

    data: Any
    total: int | None = None
    changes: str | None = None
    status: int = 200


def maybe_executed(error: PvehelmError) -> bool:
    """After this error of a write, may the server have done it all the same? Then look for the task or the object."""
    if isinstance(error, TransportError):
        return error.sent
    return isinstance(error, ApiError) and error.status in PASSING


def quote(segment: object) -> str:
    """One path segment, percent-encoded (slashes too). Raises InvalidError when empty: that would be another path."""
    text = str(segment)
    if not text:
        raise InvalidError("an empty name cannot stand in an API path")
    try:
        encoded = percent_encode(text, safe="")
    except UnicodeEncodeError:
        raise InvalidError(f"{text!r} cannot be written as UTF-8") from None
    return encoded.replace(".", "%2E") if text in (".", "..") else encoded


def encode(params: Mapping[str, Any]) -> str:
    """Parameters as ``a=1&b=2`` with everything but letters, digits and ``-._~`` percent-encoded.

    The server splits at ``&`` and ``;`` and ends a value at its second ``=``, so none of them may stand for itself.
    Raises InvalidError that names every value without a wire form.
    """
    pairs: list[str] = []
    problems: list[Problem] = []
    for name, value in params.items():
        try:
            key = percent_encode(name, safe="")
            pairs += [f"{key}={percent_encode(item, safe='')}" for item in texts(value)]
        except UnicodeEncodeError:
            problems.append(Problem(repr(name), "cannot be written as UTF-8"))
        except ValueError as error:
            problems.append(Problem(name, str(error)))
    if problems:
        raise InvalidError("parameters that cannot be sent: " + ", ".join(p.where for p in problems), problems)
    return "&".join(pairs)


def texts(value: Any) -> Iterable[str]:
    """What a value is on the wire: one text, several (a repeated key), or none. Raises ValueError."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple, set, frozenset)):
        if not value:
            raise ValueError("an empty list has no wire form; send an empty text or use the call's `delete`")
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [_text(item) for item in items]
    return (_text(value),)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    raise ValueError(f"a value of type {type(value).__name__} has no wire form")


def build(request: Request, headers: Mapping[str, str], base_url: str = "https://localhost:8006") -> httpx.Request:
    """The HTTP request: parameters in the query (GET, DELETE) or as a form body (POST, PUT).

    Raises InvalidError for what no server would take: a bad path or method, values without a wire form, too much text.
    """
    import httpx

    method, path = request.method, request.path
    if method not in _METHODS:
        raise InvalidError(f"{method} {path}: the API knows GET, POST, PUT and DELETE")
    if not path.startswith("/") or not path.isascii() or re.search(r"[\s?#\\\x00-\x1f]", path):
        raise InvalidError(f"{method} {path}: not an API path", hint="start with / and percent-encode every name in it")
    if any(segment in (".", "..") for segment in path.split("/")):
        raise InvalidError(f"{method} {path}: not an API path", hint="percent-encode the dots of a name")
    encoded = encode(request.params) if request.body is None else ""
    target = "/api2/json" + path
    content: Any = None
    sent = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "pvehelm", **headers}
    if method in _IN_QUERY:
        target += f"?{encoded}" if encoded else ""
    elif request.body is not None:
        before, after = request.body.frame(request.params)
        content = request.body.body(before, after)
        sent["Content-Type"] = request.body.content_type
        sent["Content-Length"] = str(len(before) + request.body.size + len(after))
    else:
        content = encoded.encode("ascii")
        sent["Content-Type"] = "application/x-www-form-urlencoded"
        if len(content) > BODY_LIMIT:
            raise InvalidError(f"{method} {path}: {len(content)} bytes; a node accepts {BODY_LIMIT}")
    if len(target) + len(method) + 11 > LINE_LIMIT:
        raise InvalidError(f"{method} {path}: parameters of {len(encoded)} bytes; a node accepts {LINE_LIMIT} here")
    return httpx.Request(method, base_url + target, headers=sent, content=content)


def interpret(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> Any:
    """The ``data`` of an answer; raises ApiError, AuthError, or TransportError when it is no answer of this API."""
    return interpret_answer(status, reason, headers, body).data


def interpret_answer(status: int, reason: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Like ``interpret``, with what stands beside ``data``."""
    document = _json(body)
    if 200 <= status < 300:
        if isinstance(document, dict) and "data" in document:
            total = document.get("total")
            return Answer(
                document["data"],
                int(total) if isinstance(total, (int, str)) and re.fullmatch(r"\d+", str(total)) else None,
                document.get("changes"),
                status,
            )
        kind = headers.get("content-type") or "no content type"
        raise ForeignAnswerError(
            f"the answer ({status}, {len(body)} bytes, {kind}) is not one of the Proxmox VE API",
            sent=True,
            hint="is this address the API of a Proxmox VE node (port 8006)?",
        )
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere")
        hint = "redirects are not followed: credentials would go along; name the final address"
        raise ApiError(status, f"the server points to {where}", hint=hint)
    if status in _WORDS and not _is_of_node(status, reason, document, body):
        # What became of the call, something in between does not know, nor whether there is what was asked for.
        foreign = TransportError if status == 500 else ForeignAnswerError
        raise foreign(
            f"the answer ({f'{status} {reason}'.strip()}, {len(body)} bytes) is not one of the Proxmox VE API",
            sent=True,
            hint="is this address a node's API (port 8006)? If a proxy is in front of it, its log says what went wrong",
        )
    message, errors = _complaint(status, reason, document, body)
    if status == 401:
        raise AuthError(status, message, errors)
    raise ApiError(status, message, errors, hint=_hint(status, message))


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _is_of_node(status: int, reason: str, document: Any, body: bytes) -> bool:
    """Whether a node itself said 404 or 500, not a proxy before it, whichever form that one has for its failures.

    A node's answers have ``data``, also those that have none (before 8.0 nothing else, the message being the reason);
    the few that are texts or empty bear the message as their reason, where proxies have HTTP's own words.
    """
    if isinstance(document, dict):
        return "data" in document
    words = reason.strip()
    if not words or words.lower() == _WORDS[status]:
        return False
    return not body.strip() or body.decode("utf-8", "replace").lstrip().startswith(words)


def _complaint(status: int, reason: str, document: Any, body: bytes) -> tuple[str, dict[str, str]]:
    """The fullest text the server gave, and its texts by parameter."""
    errors: dict[str, str] = {}
    message = ""
    if isinstance(document, dict):
        given = document.get("errors")
        if isinstance(given, dict):
            errors = {str(name): _plain(text) for name, text in given.items()}
        elif given:
            message = _plain(given)
        message = _plain(document.get("message") or message)
    elif body and document is None and not body.lstrip().startswith(b"<"):
        # Text bodies repeat the reason, often with more.
        message = body[:2000].decode("utf-8", "replace").strip()
    if len(reason.strip()) > len(message):
        message = reason.strip()
    # A check that failed below a configuration lock arrives as 500 with the errors inside the text.
    nested = _NESTED_CHECK.fullmatch(message)
    if nested and not errors:
        errors = _nested_errors(nested[2])
        if errors:
            message = (f"{nested[1]}: " if nested[1] else "") + "Parameter verification failed."
    return message or _SILENT.get(status, "no reason given"), errors


def _nested_errors(text: str) -> dict[str, str]:
    errors: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        found = _NESTED_LINE.fullmatch(line.strip())
        if found:
            last = found[1]
            errors[last] = found[2]
        elif last and line.strip():
            errors[last] += "\n" + line.strip()
    return errors


def _plain(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value)).strip()


def _hint(status: int, message: str) -> str:
    if status == 403:
        return "give the user or token a role with this privilege on this path (a token with privsep needs its own ACL)"
    if status == 501 and "not implemented" in message:
        return "this server's version does not know the call"
    if status in (595, 596, 599):
        return "is the node online, and does `systemctl status pvedaemon` on it look well?"
    return ""
