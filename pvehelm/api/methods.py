"""Operations as methods, and what they mean to a type checker: written once, they have the colour of their client.

``ProxmoxClient(...)`` gives paths of colour ``Async`` whose methods are awaited, ``ProxmoxClient.sync(...)`` those of
``Sync`` whose methods return; ``.raw`` turns either into one whose answers are plain data. In the stubs the classes
below are decorators that keep a method's keywords; at run time they hold the operation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from pvehelm.api.layout import LINES, STREAM

if TYPE_CHECKING:
    import inspect

    from pvehelm.api.paths import Path
    from pvehelm.api.schema import Schema
    from pvehelm.api.session import SyncTask
    from pvehelm.api.task import Task

C = TypeVar("C")
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
M = TypeVar("M", bound="Method[..., Any]")
Awaits: TypeAlias = Coroutine[Any, Any, R]


class Async:
    """The colour of a client whose methods are awaited."""


class Sync:
    """The colour of a client whose methods return."""


class AsyncRaw:
    """``Async``, with plain data for answers."""


class SyncRaw:
    """``Sync``, with plain data for answers."""


Flag: TypeAlias = bool | Literal[0, 1]
"""A boolean parameter."""
Texts: TypeAlias = str | Sequence[str | int]
"""A list of names: one by one, or the text with commas."""
Properties: TypeAlias = str | Mapping[str, Any]
"""A property string: its keys, or the text."""


class Method(Generic[P, R]):
    """An operation as a method of its path; ``kind`` is ``call``, ``lines`` or ``stream``."""

    schema: Schema
    verb: str
    template: str
    kind: str

    if TYPE_CHECKING:

        def __init__(self, function: Callable[Concatenate[Any, P], R]) -> None: ...

    else:

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            return self if instance is None else BoundMethod(instance, self)

    @classmethod
    def of(cls: type[M], schema: Schema, verb: str, template: str, kind: str = "call") -> M:
        """The method of an operation."""
        made = cls.__new__(cls)
        made.schema, made.verb, made.template, made.kind = schema, verb, template, kind
        made.__doc__ = f"{verb} {template}"
        return made

    def __repr__(self) -> str:
        return f"<{self.verb} {self.template}>"

    @property
    def __signature__(self) -> inspect.Signature:
        """Keywords, those that must be given without a default: what ``help`` and consoles show."""
        import inspect

        from pvehelm.api.arguments import keywords_of

        known = keywords_of(self.schema.operation(self.verb, self.template))
        keyword_only = inspect.Parameter.KEYWORD_ONLY
        found = [
            inspect.Parameter(name, keyword_only, default=inspect.Parameter.empty if name in known.required else None)
            for name in known.plain
        ]
        found += [
            inspect.Parameter(name, keyword_only, default=None) for name in known.families if name not in known.plain
        ]
        return inspect.Signature(found)


class BoundMethod:
    """An operation of a place, ready to be called with keywords."""

    __slots__ = ("_method", "_path")

    def __init__(self, path: Path[Any], method: Method[..., Any]) -> None:
        self._path, self._method = path, method

    def __repr__(self) -> str:
        return f"<{self._method.verb} {self._path!r}>"

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return f"{self._method.verb} {self._method.template}"

    @property
    def __signature__(self) -> inspect.Signature:
        return self._method.__signature__

    def __call__(self, *, raw: bool = False, **params: Any) -> Any:
        """The answer (a coroutine of it): a model, a Task, plain data with ``raw``; an iterator for lines and streams.

        Raises InvalidError with all problems of ``params`` before anything is sent, NotFoundError when the server's
        version has no such operation; then what ``api.client`` raises.
        """
        driver, values, method = self._path._driver, self._path._values, self._method
        session = driver.session
        if method.kind == LINES:
            return driver.iterate(session.lines(method.template, values, params))
        if method.kind == STREAM:
            return driver.iterate(session.stream(method.template, values, params))
        raw = raw or driver.raw
        return driver.run(session.call(method.verb, method.template, values, params, raw=raw, wrap=driver.task))


class Reads(Protocol[P, R_co]):
    """A GET: ``raw=True`` gives plain data."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    @overload
    def __call__(self, *, raw: Literal[True], **kwargs: Any) -> Any: ...


class ReadsLater(Protocol[P, R_co]):
    """``Reads``, to be awaited."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaits[R_co]: ...
    @overload
    def __call__(self, *, raw: Literal[True], **kwargs: Any) -> Awaits[Any]: ...


class Read(Method[P, R]):
    """A GET."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Path[Async], owner: Any = ...) -> ReadsLater[P, R]: ...
        @overload
        def __get__(self, instance: Path[Sync], owner: Any = ...) -> Reads[P, R]: ...
        @overload
        def __get__(self, instance: Path[AsyncRaw], owner: Any = ...) -> Callable[P, Awaits[Any]]: ...
        @overload
        def __get__(self, instance: Path[SyncRaw], owner: Any = ...) -> Callable[P, Any]: ...
        def __get__(self, instance: Any, owner: Any = ...) -> Any: ...


class Write(Method[P, R]):
    """A POST, PUT or DELETE whose answer is no task."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Path[Async], owner: Any = ...) -> Callable[P, Awaits[R]]: ...
        @overload
        def __get__(self, instance: Path[Sync], owner: Any = ...) -> Callable[P, R]: ...
        @overload
        def __get__(self, instance: Path[AsyncRaw], owner: Any = ...) -> Callable[P, Awaits[Any]]: ...
        @overload
        def __get__(self, instance: Path[SyncRaw], owner: Any = ...) -> Callable[P, Any]: ...
        def __get__(self, instance: Any, owner: Any = ...) -> Any: ...


class Begin(Method[P, R]):
    """Begins a task."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Path[Async], owner: Any = ...) -> Callable[P, Awaits[Task]]: ...
        @overload
        def __get__(self, instance: Path[Sync], owner: Any = ...) -> Callable[P, SyncTask]: ...
        @overload
        def __get__(self, instance: Path[AsyncRaw], owner: Any = ...) -> Callable[P, Awaits[Any]]: ...
        @overload
        def __get__(self, instance: Path[SyncRaw], owner: Any = ...) -> Callable[P, Any]: ...
        def __get__(self, instance: Any, owner: Any = ...) -> Any: ...


class MayBegin(Method[P, R]):
    """Begins a task, or answers otherwise (nothing at all, a word)."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Path[Async], owner: Any = ...) -> Callable[P, Awaits[Task | R]]: ...
        @overload
        def __get__(self, instance: Path[Sync], owner: Any = ...) -> Callable[P, SyncTask | R]: ...
        @overload
        def __get__(self, instance: Path[AsyncRaw], owner: Any = ...) -> Callable[P, Awaits[Any]]: ...
        @overload
        def __get__(self, instance: Path[SyncRaw], owner: Any = ...) -> Callable[P, Any]: ...
        def __get__(self, instance: Any, owner: Any = ...) -> Any: ...


class Iterate(Method[P, R]):
    """Gives one ``R`` after the other: a log's lines, a file's bytes."""

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: Path[Async], owner: Any = ...) -> Callable[P, AsyncIterator[R]]: ...
        @overload
        def __get__(self, instance: Path[Sync], owner: Any = ...) -> Callable[P, Iterator[R]]: ...
        @overload
        def __get__(self, instance: Path[AsyncRaw], owner: Any = ...) -> Callable[P, AsyncIterator[R]]: ...
        @overload
        def __get__(self, instance: Path[SyncRaw], owner: Any = ...) -> Callable[P, Iterator[R]]: ...
        def __get__(self, instance: Any, owner: Any = ...) -> Any: ...


KINDS: Mapping[str, type[Method[..., Any]]] = {"Read": Read, "Write": Write, "Begin": Begin, "MayBegin": MayBegin}
"""By ``Layout.answer_kind``."""
