"""The simulator's core: from a request to an answer, as the real server was observed to do it.

The order of refusals is fixed: unknown verb 501, login 401, body 501/506/500, unknown path 501, conflicting
parameters 400, privileges 403, node, parameters 400, then the handler. Handlers register for path templates with
``@handler``; what nobody registered for is answered by ``crud``.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn
from urllib.parse import quote

from pvehelm.api.schema import Operation, Schema
from pvehelm.simulator import auth, faults, tasks
from pvehelm.simulator.permissions import Rights
from pvehelm.simulator.requests import BODY_LIMIT, BodyError, parse_body, parse_form
from pvehelm.simulator.state import State
from pvehelm.simulator.tasks import TaskFailure, TaskLog

__all__ = ["BODY_LIMIT", "Call", "Failure", "Outcome", "Request", "Response", "Simulator", "TaskFailure", "TaskLog"]

REASONS = {400: "Parameter verification failed.", 403: "Permission check failed"}
MODIFIED = "detected modified configuration - file changed by other user? Try again."
_IGNORED = "_dc"


@dataclass(frozen=True, slots=True)
class Request:
    """``path`` is raw (percent-encoded) and begins after ``/api2/json``; header names are lower-case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    reason: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of a request: wait ``delay`` seconds, then send ``response`` or, when None, cut the connection."""

    response: Response | None
    delay: float = 0.0


class Failure(Exception):
    """Ends a request with an error answer; ``errors`` names parameters, ``keep`` keeps what was done until then."""

    def __init__(
        self, status: int, message: str, errors: Mapping[str, str] | None = None, *, keep: bool = False
    ) -> None:
        super().__init__(message)
        self.keep = keep
        self.status = status
        self.message = message
        self.errors = dict(errors) if errors else None


def bad_parameters(errors: Mapping[str, str]) -> Failure:
    """The 400 answer that names parameters."""
    return Failure(400, "Parameter verification failed.", errors)


Handler = Callable[["Call"], Any]
_HANDLERS: dict[tuple[str, str], Handler] = {}


def handler(method: str, *paths: str) -> Callable[[Handler], Handler]:
    """Register a function for one method of one or more path templates."""

    def register(function: Handler) -> Handler:
        for path in paths:
            if (method, path) in _HANDLERS:
                raise ValueError(f"{method} {path} has two handlers")
            _HANDLERS[method, path] = function
        return function

    return register


@cache
def _load_behaviours() -> None:
    import importlib
    import pkgutil

    import pvehelm.simulator.behaviours as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


class Call:
    """What a handler gets: the operation, its checked arguments and who asks.

    ``args`` has path parameters too; values are as the wire delivered them (texts, or JSON's numbers), booleans of
    JSON are 1 and 0, arrays are lists. ``beside`` is sent next to ``data`` (``total``, ``changes``).
    """

    def __init__(
        self, sim: Simulator, operation: Operation, args: dict[str, Any], who: auth.Identity, rights: Rights
    ) -> None:
        self.sim = sim
        self.state = sim.state
        self.operation = operation
        self.args = args
        self.user = who.user
        self.token = who.token
        self.rights = rights
        self.now = sim.now
        self.node = str(args.get("node") or sim.local_node())
        self.beside: dict[str, Any] = {}
        self.fail_task: str | None = None

    @property
    def who(self) -> str:
        """The name that permissions and tasks are recorded under: ``user@realm`` or ``user@realm!token``."""
        return self.token or self.user

    @property
    def is_root(self) -> bool:
        """root@pam by ticket; a token of root is not root."""
        return self.who == "root@pam"

    # -- arguments ---------------------------------------------------------------------------------------------

    def has(self, name: str) -> bool:
        return name in self.args

    def str(self, name: str, default: str = "") -> str:
        value = self.args.get(name)
        return default if value is None else str(value)

    def int(self, name: str, default: int = 0) -> int:
        value = self.args.get(name)
        return default if value is None or value == "" else int(float(value))

    def bool(self, name: str, default: bool = False) -> bool:
        value = self.args.get(name)
        return default if value is None else str(value) not in ("0", "", "False")

    def list(self, name: str) -> list[str]:
        """A list parameter: an array, or a text split at comma, semicolon, NUL and space."""
        value = self.args.get(name)
        if value is None:
            return []
        if isinstance(value, (list, tuple)):
            return [str(item) for item in value]
        return split(str(value))

    # -- refusing ----------------------------------------------------------------------------------------------

    def fail(self, message: str, status: int = 500, errors: Mapping[str, str] | None = None) -> NoReturn:
        raise Failure(status, message, errors)

    def bad(self, **errors: str) -> NoReturn:
        """400 naming parameters; underscores in the keyword stand for themselves, use a mapping for others."""
        raise bad_parameters(errors)

    def require(self, path: str, privs: str | Sequence[str], any: bool = False) -> None:
        """403 unless the caller has every (``any``: one) privilege at ``path``."""
        bad = self.rights.missing(self.who, path, [privs] if isinstance(privs, str) else privs, any)
        if bad is not None:
            raise Failure(403, f"Permission check failed ({bad})")

    def may(self, path: str, *privs: str) -> bool:
        """Whether the caller has one of ``privs`` at ``path``."""
        return self.rights.may(self.who, path, *privs)

    def check_digest(self, current: str, message: str = MODIFIED) -> None:
        """500 when the caller sent another digest than ``current``."""
        sent = self.args.get("digest")
        if sent and sent != current:
            raise Failure(500, message)

    # -- doing -------------------------------------------------------------------------------------------------

    def task(
        self,
        type: str,
        id: str,
        work: Callable[[TaskLog], None],
        *,
        node: str | None = None,
        seconds: float | None = None,
        lock: str | None = None,
        vmid: str | int | None = None,
    ) -> str:
        """Do the work as a task and return its UPID. The work raises TaskFailure to fail.

        ``seconds`` is its duration (None: what the state's setting ``task-seconds`` says, 0 by default); until then it
        is running, and the guest ``vmid`` shows ``lock``.
        """
        if seconds is None:
            seconds = self.sim.task_seconds(type)
        return tasks.run(
            self.state,
            node or self.node,
            self.who,
            type,
            str(id),
            work,
            now=self.now,
            seconds=seconds,
            fail=self.fail_task,
            lock=lock,
            vmid=None if vmid is None else str(vmid),
        )

    def busy(self, vmid: str | int) -> str | None:
        """The lock that a task still running holds on a guest (``clone``, ``create``...), or None."""
        return tasks.busy(self.state, str(vmid), self.now)

    def digest(self, value: Any) -> str:
        """40 hexadecimal digits that change with ``value``."""
        return digest(value)


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def split(text: str) -> list[str]:
    """A list as Proxmox writes them: separated by comma, semicolon, NUL or white space."""
    return [part for part in re.split(r"[,;\0\s]+", text.strip()) if part]


# The schema describes what is below the root, not the root itself.
_ROOT = Operation("GET", "/", "index", {}, permissions={"user": "all"}, returns={"type": "array", "links": ["{subdir}"]})


class Simulator:
    """A Proxmox API in a box. ``latency`` is milliseconds added to every answer."""

    def __init__(
        self,
        state: State,
        *,
        release: str = "9.2",
        clock: Callable[[], float] = time.time,
        latency: float = 0.0,
    ) -> None:
        _load_behaviours()
        self.state = state
        self.schema = Schema.load(release)
        self.release = release
        self.clock = clock
        self.latency = latency
        self._lock = threading.RLock()

    @property
    def now(self) -> float:
        return self.clock()

    def local_node(self) -> str:
        """The node that answers requests which name none."""
        return next(iter(self.state.collection("nodes")), "localhost")

    def task_seconds(self, type: str) -> float:
        """How long a task of this type is running: setting ``task-seconds``, a number or {type: number, "*": number}."""
        setting = self.state.value("task-seconds", 0)
        if isinstance(setting, dict):
            return float(setting.get(type, setting.get("*", 0)))
        return float(setting)

    # -- answering ---------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Response:
        """Answer a request, waiting as long as latency and faults say. A dropped answer comes as status 0."""
        outcome = self.process(request)
        if outcome.delay:
            time.sleep(outcome.delay)
        return outcome.response or Response(0, "connection dropped", {}, b"")

    def process(self, request: Request) -> Outcome:
        """Execute a request without waiting. Never raises."""
        with self._lock:
            path = decode_path(request.path)
            try:
                effects = faults.take(self.state, request.method, path)
                delay = self.latency / 1000 + float(effects.get("delay", 0))
                if effects.get("drop") == "before":
                    return Outcome(None, delay)
                if "status" in effects:
                    status = int(effects["status"])
                    return Outcome(_error(Failure(status, f"injected fault {status}"), empty=status >= 595), delay)
                response = self._respond(request, path, effects.get("task-fail"))
            except Exception as error:  # the server must answer whatever happens
                return Outcome(_error(Failure(500, f"simulator: {type(error).__name__}: {error}")))
            return Outcome(None if effects.get("drop") == "after" else response, delay)

    def _respond(self, request: Request, path: str, fail_task: str | None) -> Response:
        if request.method not in ("GET", "POST", "PUT", "DELETE"):
            return Response(501, f"method '{request.method}' not available", {"connection": "close"}, b"")
        # Logins are signed, not stored, so they need no write lock.
        write = request.method != "GET" and path != "/access/ticket"
        self.state.begin(write)
        try:
            response = self._execute(request, path, fail_task)
        except auth.Unauthorized as refusal:
            self.state.rollback()
            return Response(401, str(refusal), {"connection": "close"}, b"")
        except BodyError as error:
            self.state.rollback()
            return _text_error(error.status, str(error))
        except Failure as failure:
            if failure.keep:
                self.state.commit()
            else:
                self.state.rollback()
            return _error(failure, empty=failure.status == 595)
        except BaseException:
            self.state.rollback()
            raise
        self.state.commit()
        return response

    def _execute(self, request: Request, path: str, fail_task: str | None) -> Response:
        resolved = self.schema.resolve("/" + "/".join(quote(part, safe="") for part in path.split("/") if part))
        operation = self.schema.find(request.method, resolved[0]) if resolved else None
        if request.method == "GET" and not path.strip("/"):
            operation, resolved = _ROOT, ("/", {})
        who = self._identify(request, operation)
        sent = parse_body(request.method, request.headers, request.body)
        if operation is None or resolved is None:
            shown = "/" + "/".join(part for part in path.split("/") if part)
            raise Failure(501, f"Method '{request.method} {shown}' not implemented")
        sent.update(parse_form(request.query))
        sent.pop(_IGNORED, None)
        args = self._merge(sent, resolved[1])
        if who.token and not operation.allow_token:
            raise Failure(
                403, f"Permission check failed (URI '{path}' not available with API token, need proper ticket)."
            )
        rights = Rights(self.state, self.release)
        _authorise(operation, who, rights, args)
        if operation.proxyto == "node":
            self._reach(str(args.get("node", "")))
        problems = operation.check(args)
        if problems:
            raise bad_parameters({problem.where: problem.what for problem in problems})
        call = Call(self, operation, _plain(operation, args), who, rights)
        call.fail_task = fail_task
        return _success(self._dispatch(call), call.beside)

    def _dispatch(self, call: Call) -> Any:
        found = _HANDLERS.get((call.operation.method, call.operation.path))
        if found is None:
            from pvehelm.simulator.crud import generic

            found = generic
        return found(call)

    def _identify(self, request: Request, operation: Operation | None) -> auth.Identity:
        open_to_all = operation is not None and (operation.permissions or {}).get("user") == "world"
        if not open_to_all:
            return auth.identify(self.state, request.method, request.headers, self.now, self.release)
        if auth.uses_token(request.headers):
            token = auth.token_id(request.headers)
            return auth.Identity(token.partition("!")[0], token)
        return auth.NOBODY

    @staticmethod
    def _merge(sent: dict[str, Any], in_path: Mapping[str, str]) -> dict[str, Any]:
        for name, value in in_path.items():
            if name in sent and str(sent[name]) != value:
                text = "duplicate parameter (already defined in URI) with conflicting values!"
                raise bad_parameters({name: text})
        return {**sent, **in_path}

    def _reach(self, node: str) -> None:
        if node == "localhost":
            return
        found = self.state.collection("nodes").get(node)
        if found is None:
            raise Failure(500, f"hostname lookup '{node}' failed - failed to get address info for: {node}")
        if found.get("status") == "offline":
            raise Failure(595, "No route to host")


def _authorise(operation: Operation, who: auth.Identity, rights: Rights, args: Mapping[str, Any]) -> None:
    if who.name == "root@pam":
        return
    permissions = operation.permissions
    if not permissions:
        raise Failure(403, "Permission check failed (user != root@pam)")
    if permissions.get("user") == "world" or (permissions.get("user") == "all" and who.name):
        return
    bad = rights.check(permissions["check"], who.name, args)
    if bad is not None:
        raise Failure(403, f"Permission check failed ({bad})")


def _plain(operation: Operation, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in the shape that handlers get them."""
    found: dict[str, Any] = {}
    for name, value in args.items():
        param = operation.param(name)
        if isinstance(value, bool):
            value = int(value)
        elif isinstance(value, float) and value.is_integer() and (param is None or param.type == "integer"):
            value = int(value)
        if param is not None and param.type == "array":
            value = value if isinstance(value, list) else [value]
        elif isinstance(value, list):
            value = ",".join(str(item) for item in value)
        found[name] = value
    return found


def decode_path(raw: str) -> str:
    """Percent-decoding of a path; the server takes the bytes as Latin-1."""
    return re.sub("%([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), raw) or "/"


def _success(data: Any, beside: Mapping[str, Any]) -> Response:
    return _json(200, "OK", {"data": data, **beside}, {})


def _json(status: int, reason: str, value: Any, headers: dict[str, str]) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Response(status, reason, {"content-type": "application/json;charset=UTF-8", **headers}, body)


def _error(failure: Failure, *, empty: bool = False) -> Response:
    reason = failure.message.split("\n")[0]
    if empty:
        return Response(failure.status, reason, {"connection": "close"}, b"")
    answer: dict[str, Any] = {"data": None, "message": failure.message.rstrip("\n") + "\n"}
    if failure.errors is not None:
        answer["errors"] = failure.errors
    return _json(failure.status, reason, answer, {"connection": "close"})


def _text_error(status: int, message: str) -> Response:
    headers = {"content-type": "text/html; charset=UTF-8", "connection": "close"}
    return Response(status, message.split("\n")[0], headers, message.encode())
