"""The simulator's core: from a request to an answer, as the real server was observed to do it.

The order of refusals is fixed: unknown verb 501, login 401, body 501/506/500, unknown path 501, conflicting
parameters 400, privileges 403, node, parameters 400, then the handler. Handlers register for path templates with
``@handler``; what nobody registered for is answered by ``crud``.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import quote

from pvehelm.api.schema import Operation, Schema
from pvehelm.simulator import auth, faults
from pvehelm.simulator.call import MODIFIED, Call, Failure, bad_parameters, digest, split
from pvehelm.simulator.permissions import Rights
from pvehelm.simulator.requests import BODY_LIMIT, BodyError, is_upload, parse_body, parse_form, parse_upload
from pvehelm.simulator.state import State
from pvehelm.simulator.tasks import TaskFailure, TaskLog

__all__ = [
    "BODY_LIMIT",
    "MODIFIED",
    "Call",
    "Failure",
    "Outcome",
    "Request",
    "Response",
    "Simulator",
    "TaskFailure",
    "TaskLog",
    "bad_parameters",
    "digest",
    "handler",
    "of_guests",
    "split",
]

_IGNORED = "_dc"
CPU_MODELS = "generic:/cluster/qemu/custom-cpu-models"


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
    """What becomes of a request: wait ``delay`` seconds, then send ``response`` or, when None, cut the connection;
    ``cut`` cuts it in the middle of the body."""

    response: Response | None
    delay: float = 0.0
    cut: bool = False


Handler = Callable[[Call], Any]
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


def of_guests(suffix: str) -> tuple[str, ...]:
    """The path templates of something below a guest, of both kinds."""
    return tuple(f"/nodes/{{node}}/{kind}/{{vmid}}{suffix}" for kind in ("qemu", "lxc"))


@cache
def _load_behaviours() -> None:
    import importlib
    import pkgutil

    import pvehelm.simulator.behaviours as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


# The schema describes what is below the root, not the root itself.
_ROOT = Operation(
    "GET", "/", "index", {}, permissions={"user": "all"}, returns={"type": "array", "links": ["{subdir}"]}
)


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
        """How long such a task is running: setting ``task-seconds``, a number or {type: number, "*": number}."""
        setting = self.state.value("task-seconds", 0)
        if isinstance(setting, dict):
            return float(setting.get(type) or setting.get("*") or 0)
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
                if "offline" in effects:
                    self._switch_off(effects["offline"])
                if "status" not in effects or effects.get("executed"):
                    response = self._respond(request, path, effects.get("task-fail"))
                if "status" in effects:
                    status = int(effects["status"])
                    failure = Failure(status, effects.get("message") or f"injected fault {status}")
                    response = _error(failure, empty=status >= 595)
                if "task-lost" in effects:
                    self._forget_task(response)
            except Exception as error:  # the server must answer whatever happens
                return Outcome(_error(Failure(500, f"simulator: {type(error).__name__}: {error}")))
            cut = effects.get("drop") == "body"
            return Outcome(None if effects.get("drop") == "after" else response, delay, cut)

    def _switch_off(self, node: str) -> None:
        with self.state.transaction():
            nodes = self.state.collection("nodes")
            nodes[node] = {**nodes[node], "status": "offline"}

    def _forget_task(self, response: Response) -> None:
        upid = json.loads(response.body).get("data") if response.status == 200 else None
        if isinstance(upid, str) and upid in self.state.collection("tasks"):
            with self.state.transaction():
                del self.state.collection("tasks")[upid]

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
        file: bytes | None = None
        if operation is not None and operation.path.endswith("/upload") and is_upload(request.headers):
            sent, file = parse_upload(request.headers, request.body)
        else:
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
        problems = {problem.where: problem.what for problem in operation.check(args)}
        problems |= self._missing_models(operation, args)
        if problems:
            raise bad_parameters(problems)
        call = Call(self, operation, _plain(operation, args), who, rights)
        call.fail_task, call.file = fail_task, file
        return _success(self._dispatch(call), call.beside)

    def _missing_models(self, operation: Operation, args: Mapping[str, Any]) -> dict[str, str]:
        """Formats cannot know the cluster's own CPU models; the real check of the format does."""
        found = {}
        for name, value in args.items():
            param = operation.param(name)
            if param is not None and param.format == "pve-vm-cpu-conf":
                model = re.search(r"(?:^|,)(?:cputype=)?custom-([^,=]+)", str(value))
                if model and model[1] not in self.state.collection(CPU_MODELS):
                    found[name] = f"invalid format - Custom cputype '{model[1]}' not found"
        return found

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
            text = f"failed to get address info for: {node}: Name or service not known"
            raise Failure(500, f"hostname lookup '{node}' failed - {text}")
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
        raise Failure(403, f"Permission check failed ({bad})" if bad else "Permission check failed")


def _plain(operation: Operation, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in the shape that handlers get them."""
    found: dict[str, Any] = {}
    for name, value in args.items():
        param = operation.param(name)
        whole = isinstance(value, float) and value.is_integer() and (param is None or param.type == "integer")
        if whole or isinstance(value, bool):
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
    # A total of nothing is not worth mentioning.
    return _json(200, "OK", {"data": data, **{name: value for name, value in beside.items() if value}}, {})


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
