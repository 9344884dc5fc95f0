"""What a handler gets, and how it refuses."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from pvehelm.api.schema import Operation
from pvehelm.simulator import auth, tasks
from pvehelm.simulator.permissions import Rights
from pvehelm.simulator.tasks import TaskLog

if TYPE_CHECKING:
    from pvehelm.simulator.core import Simulator

# Call has methods of these names.
Str: TypeAlias = str
Int: TypeAlias = int
Bool: TypeAlias = bool
List: TypeAlias = list[str]

# Parameters that say what to do, and are nothing to be kept.
_CONTROL = frozenset({"digest", "delete", "force", "lock-token"})
MODIFIED = "detected modified configuration - file changed by other user? Try again."


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


class Call:
    """What a handler gets: the operation, its checked arguments and who asks.

    ``args`` has path parameters too; values are as the wire delivered them (texts, or JSON's numbers), booleans of
    JSON are 1 and 0, arrays are lists. ``beside`` is sent next to ``data`` (``total``, ``changes``).
    """

    def __init__(
        self, sim: Simulator, operation: Operation, args: dict[Str, Any], who: auth.Identity, rights: Rights
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
        self.beside: dict[Str, Any] = {}
        self.fail_task: Str | None = None
        # What was uploaded with the call.
        self.file: bytes | None = None

    @property
    def who(self) -> Str:
        """The name that permissions and tasks are recorded under: ``user@realm`` or ``user@realm!token``."""
        return self.token or self.user

    @property
    def is_root(self) -> Bool:
        """root@pam by ticket; a token of root is not root."""
        return self.who == "root@pam"

    @property
    def guest_kind(self) -> Str:
        """``qemu`` or ``lxc``: which kind of guest the path is about."""
        return "lxc" if "/lxc" in self.operation.path else "qemu"

    # -- arguments ---------------------------------------------------------------------------------------------

    def has(self, name: Str) -> Bool:
        return name in self.args

    def str(self, name: Str, default: Str = "") -> Str:
        value = self.args.get(name)
        return default if value is None else str(value)

    def int(self, name: Str, default: Int = 0) -> Int:
        value = self.args.get(name)
        return default if value is None or value == "" else int(float(value))

    def bool(self, name: Str, default: Bool = False) -> Bool:
        value = self.args.get(name)
        return default if value is None else str(value) not in ("0", "", "False")

    def list(self, name: Str) -> List:
        """A list parameter: an array, or a text split at comma, semicolon, NUL and space."""
        value = self.args.get(name)
        if value is None:
            return []
        if isinstance(value, (list, tuple)):
            return [str(item) for item in value]
        return split(str(value))

    def typed(self, name: Str) -> Any:
        """A value as it comes back in answers: booleans and integers as numbers, other texts as they are."""
        param, value = self.operation.param(name), self.args[name]
        if param is None:
            return value
        if param.type == "boolean":
            return 0 if str(value) == "0" else 1
        if param.type == "integer" and str(value) != "":
            return int(float(value))
        if param.type == "number" and str(value) != "":
            number = float(value)
            return int(number) if number.is_integer() else number
        return value

    def sent(self, *without: Str) -> dict[Str, Any]:
        """The arguments, typed: but for those in the path, those that say what to do, and ``without``."""
        skip = {*self.operation.path_names, *_CONTROL, *without}
        return {name: self.typed(name) for name in self.args if name not in skip}

    # -- refusing ----------------------------------------------------------------------------------------------

    def fail(self, message: Str, status: Int = 500) -> NoReturn:
        raise Failure(status, message)

    def bad(self, **errors: Str) -> NoReturn:
        """400 naming parameters; for names that are no Python identifiers raise ``bad_parameters``."""
        raise bad_parameters(errors)

    def bad_locked(self, name: Str, text: Str, prefix: Str = "") -> NoReturn:
        """A parameter error raised while a file is locked: 500 with everything in the message."""
        raise Failure(500, f"{prefix}400 Parameter verification failed.\n{name}: {text}")

    def found(self, collection: Str, key: Str, text: Str) -> dict[Str, Any]:
        """A document; 500 with ``text`` when it is not there."""
        found = self.state.collection(collection).get(key)
        if found is None:
            raise Failure(500, text)
        return found

    def require(self, path: Str, privs: Str | Sequence[Str], any: Bool = False) -> None:
        """403 unless the caller has every (``any``: one) privilege at ``path``."""
        bad = self.rights.missing(self.who, path, [privs] if isinstance(privs, str) else privs, any)
        if bad is not None:
            raise Failure(403, f"Permission check failed ({bad})")

    def may(self, path: Str, *privs: Str) -> Bool:
        """Whether the caller has one of ``privs`` at ``path``."""
        return self.rights.may(self.who, path, *privs)

    def check_digest(self, current: Str, message: Str = MODIFIED) -> None:
        """500 when the caller sent another digest than ``current``."""
        sent = self.args.get("digest")
        if sent and sent != current:
            raise Failure(500, message)

    # -- doing -------------------------------------------------------------------------------------------------

    def task(
        self,
        type: Str,
        id: Str,
        work: Callable[[TaskLog], None],
        *,
        node: Str | None = None,
        seconds: float | None = None,
        lock: Str | None = None,
        vmid: Str | Int | None = None,
    ) -> Str:
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

    def busy(self, vmid: Str | Int) -> Str | None:
        """The lock that a task still running holds on a guest (``clone``, ``create``...), or None."""
        return tasks.busy(self.state, str(vmid), self.now)

    def digest(self, value: Any) -> Str:
        """40 hexadecimal digits that change with ``value``."""
        return digest(value)

    def digest_of(self, collection: Str) -> Str:
        """The digest of a whole collection, as that of a configuration file."""
        return digest(dict(self.state.collection(collection).items()))


def digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def split(text: str) -> list[str]:
    """A list as Proxmox writes them: separated by comma, semicolon, NUL or white space."""
    return [part for part in re.split(r"[,;\0\s]+", text.strip()) if part]
