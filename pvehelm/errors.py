"""Every error that pvehelm raises on purpose.

    PvehelmError                 exit 1   something failed; carries Problems
    ├── UsageError               exit 64  the command line makes no sense
    ├── InvalidError             exit 1   chart, template, values, manifest or schema is wrong
    ├── NotFoundError            exit 1   a release, revision, kind, chart or object that is not there
    ├── RefusedError             exit 3   would destroy, take over or exceed what the user allowed
    ├── LeaseHeldError           exit 4   another process works on the same scope
    ├── FencedError              exit 4   our lease was taken over while we worked
    ├── StoppedError             exit 130 the user asked to stop; what was running was finished
    ├── StoreError               exit 1   the release store cannot be read or written
    ├── ApiError                 exit 1   the server answered with a status of 400 or more
    │   └── AuthError            exit 1   ... 401: no, wrong or expired credentials
    ├── TransportError           exit 1   no answer: refused, reset, timed out, bad certificate
    ├── TaskError                exit 1   a task ended with something else than OK
    └── UnseenError              exit 1   what was begun goes on, and looking at it is not allowed or fails

Lower layers raise with facts; only the faces print.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong: where it is (``file:line:column``, a parameter, a value path), what, and what to do."""

    where: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class PvehelmError(Exception):
    """Root of the tree: a message and, where there are several, all problems at once."""

    exit_code = 1

    def __init__(self, message: str, problems: Iterable[Problem] = (), *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.problems = tuple(problems)
        self.hint = hint
        # In a traceback, where nothing else prints them.
        for problem in self.problems:
            self.add_note(str(problem))

    def __str__(self) -> str:
        return self.message


class UsageError(PvehelmError):
    exit_code = 64


class InvalidError(PvehelmError):
    """Input is wrong; ``problems`` lists everything that is."""


class NotFoundError(PvehelmError):
    """Something named by the user does not exist."""


class RefusedError(PvehelmError):
    """Not done because the user has not allowed it."""

    exit_code = 3


class LeaseHeldError(PvehelmError):
    exit_code = 4


class FencedError(PvehelmError):
    exit_code = 4


class StoppedError(PvehelmError):
    """Stopped half-way by a signal, in good order."""

    exit_code = 130


class StoreError(PvehelmError):
    """The release store cannot be read or written."""


class ApiError(PvehelmError):
    """The server refused a call. ``errors`` maps parameter names to the server's texts."""

    def __init__(
        self,
        status: int,
        message: str,
        errors: Mapping[str, str] | None = None,
        *,
        method: str = "",
        path: str = "",
        hint: str = "",
    ) -> None:
        self.status = status
        self.errors = dict(errors or {})
        self.method = method
        self.path = path
        self.reason = message.strip()
        request = f"{method} {path}: " if method else ""
        super().__init__(
            f"{request}{status} {self.reason}".rstrip(),
            [Problem(name, text.strip()) for name, text in self.errors.items()],
            hint=hint,
        )


class AuthError(ApiError):
    """401: the credentials are missing, wrong or expired."""


class TransportError(PvehelmError):
    """No usable answer. ``sent`` says whether the server may have begun to execute the request."""

    def __init__(self, message: str, *, sent: bool, method: str = "", path: str = "", hint: str = "") -> None:
        request = f"{method} {path}: " if method else ""
        super().__init__(request + message, hint=hint)
        self.sent = sent
        self.method = method
        self.path = path


class UnseenError(PvehelmError):
    """What a call has begun can't be looked at, for the ``reason``; nobody knows how it ends."""

    def __init__(self, reason: PvehelmError) -> None:
        super().__init__(f"what was begun goes on unseen: {reason}", reason.problems, hint=reason.hint)


class TaskError(PvehelmError):
    """A task ended badly; ``exitstatus`` is the server's own word, ``log`` its last lines."""

    def __init__(self, upid: str, exitstatus: str, log: Iterable[str] = ()) -> None:
        self.upid = upid
        self.exitstatus = exitstatus
        self.log = tuple(log)
        super().__init__(f"task {upid} failed: {exitstatus}", [Problem("task log", line) for line in self.log])
