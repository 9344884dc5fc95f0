"""The runtime: what generated code calls while a template runs.

Most of a template is plain Python in its generated function; here is what is not: fields of what is no map, loops over
what is no list, printing what is no string, and the functions that need the other templates.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pvehelm.chart.gotpl.signatures import wrong
from pvehelm.chart.gotpl.values import GoError, GoInt, GoObject, Uint8, sorted_keys, text, type_of

#: How often one named template may be open in ``include`` at the same time, as in Helm.
INCLUDES = 1000
#: A loop over a number goes no further.
MAX_RANGE = 10_000_000
_FRAMES = 20_000


class ExecError(Exception):
    """A template's own error, not one of a function: the message as Go says it."""


class NoField(ExecError):
    """A field of what has none; ``value`` is that, ``known`` the type that Go knows it by."""

    def __init__(self, name: str, known: str, value: Any) -> None:
        super().__init__(f"can't evaluate field {name} in type {known}")
        self.name, self.value = name, value


class Failure(GoError):
    """The message of ``fail`` or ``required``."""


def field(value: Any, name: str, *args: Any) -> Any:
    """``value.name``; with ``args``, a call of that method. A nil value is an error."""
    if value is None:
        raise ExecError(f"nil pointer evaluating interface {{}}.{name}")
    if isinstance(value, (dict, GoObject)) or getattr(value, "names", False):
        return first_field(value, name, *args)
    # Go knows no more of what is in a map or a list.
    raise NoField(name, "interface {}", value)


def first_field(value: Any, name: str, *args: Any) -> Any:
    """``field`` of the value that a pipeline gave, where Go knows no more about a nil: that has nothing in it."""
    if value is None:
        return None
    if isinstance(value, dict) and not isinstance(value, GoObject):
        if args:
            raise ExecError(f"{name} is not a method but has arguments")
        found = value.get(name)
        return getattr(value, "zero", None) if found is None else found
    if isinstance(value, (GoObject, GoInt)):
        try:
            found = value.field(name)
        except GoError as error:
            raise ExecError(str(error)) from None
        if callable(found):
            try:
                return found(*args)
            except TypeError as error:
                if error.__traceback__ and error.__traceback__.tb_next:
                    raise  # by the method itself
                raise ExecError(_wrong_number(found, name, len(args))) from None
        if args:
            raise ExecError(f"{name} is not a method but has arguments")
        return found
    raise NoField(name, type_of(value), value)


def _wrong_number(method: Any, name: str, got: int) -> str:
    function = getattr(method, "__func__", None)
    wanted = function.__code__.co_argcount - 1 if function else method.__code__.co_argcount
    return f"wrong number of args for {name}: want {wanted} got {got}"


def reach(value: Any, *names: str) -> Any:
    """``value.a.b...``: ``first_field`` and then ``field``; of nothing there is nothing, however deep."""
    if value is None:
        return None
    value = first_field(value, names[0])
    for name in names[1:]:
        value = value.get(name) if value.__class__ is dict else field(value, name)
    return value


def reach1(value: Any, name: str) -> Any:
    """``reach`` of one name; the others like it are of two and three."""
    return value.get(name) if value.__class__ is dict else first_field(value, name)


def reach2(value: Any, one: str, two: str) -> Any:
    if value is None:
        return None
    value = value.get(one) if value.__class__ is dict else first_field(value, one)
    return value.get(two) if value.__class__ is dict else field(value, two)


def reach3(value: Any, one: str, two: str, three: str) -> Any:
    if value is None:
        return None
    value = value.get(one) if value.__class__ is dict else first_field(value, one)
    value = value.get(two) if value.__class__ is dict else field(value, two)
    return value.get(three) if value.__class__ is dict else field(value, three)


def element(value: Any, *names: str) -> Any:
    """``reach`` of an element of a loop, whose nil is known to be one."""
    for name in names:
        value = field(value, name)
    return value


def strict_field(value: Any, name: str, *args: Any) -> Any:
    """``field`` where a missing key is an error."""
    if isinstance(value, dict) and not isinstance(value, GoObject) and name not in value:
        raise MissingKey(name, value)
    return field(value, name, *args)


def strict_first_field(value: Any, name: str, *args: Any) -> Any:
    """``first_field`` where a missing key is an error."""
    if value is None:
        raise ExecError(f'nil data; no entry for key "{name}"')
    return strict_field(value, name, *args)


class MissingKey(ExecError):
    """A key that is not there, where ``--strict`` asks for it; ``value`` is the map."""

    def __init__(self, name: str, value: dict[str, Any]) -> None:
        super().__init__(f'map has no entry for key "{name}"')
        self.name, self.value = name, value


def of_values(value: Any, name: str, *args: Any) -> Any:
    """A method of Helm's ``Values``: AsMap, YAML, Table of a path, PathValue of a path to what is no map."""
    if not isinstance(value, dict) or isinstance(value, GoObject):
        return field(value, name, *args)
    path = args[0] if args else ""
    if len(args) != (name in ("PathValue", "Table")) or not isinstance(path, str):
        wanted = "1" if name in ("PathValue", "Table") else "0"
        raise ExecError(f"wrong number of args for {name}: want {wanted} got {len(args)}")
    if name == "AsMap":
        return value
    if name == "YAML":
        from pvehelm.chart.gotpl.library import FUNCTIONS

        return FUNCTIONS["toYaml"](value) + "\n"
    steps = path.split(".")
    for step in steps if name == "Table" else steps[:-1]:
        below = value.get(step)
        if not isinstance(below, dict):
            raise ExecError(f'error calling {name}: "{step}" is not a table')
        value = below
    if name == "Table":
        return value
    found = value.get(steps[-1])
    if steps[-1] not in value or isinstance(found, dict):
        raise ExecError(f'error calling PathValue: "{steps[-1]}" is not a value')
    return found


def items(value: Any) -> Iterable[Any]:
    """What ``range`` runs over, with an honest truth value: empty is false."""
    kind = type(value)
    if kind is list:
        return value  # type: ignore[no-any-return]
    if kind is dict:
        return [value[key] for key in sorted_keys(value)]
    if value is None:
        return ()
    if isinstance(value, int) and kind is not bool:
        if value > MAX_RANGE:
            raise ExecError(f"range over {value} is longer than the {MAX_RANGE} allowed")
        return range(value) if not isinstance(value, GoInt) else [kind(one) for one in range(value)]
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        return [value[key] for key in sorted_keys(value)]
    if isinstance(value, bytes):
        return [Uint8(one) for one in value]
    raise ExecError(f"range can't iterate over {text(value)}")


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """What ``range $key, $value`` runs over."""
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted_keys(value)]
    if isinstance(value, int) and not isinstance(value, bool):
        raise ExecError(f"can't use {value} to iterate over more than one variable")
    return list(enumerate(items(value)))


def shown(value: Any) -> str:
    """What an action prints."""
    if value.__class__ is str:
        return value
    if value is None:
        return "<no value>"
    return value.shown() if isinstance(value, GoObject) else text(value)


def printed(value: Any) -> str:
    """What an action prints of a function's result."""
    if value.__class__ is str:
        return value
    return "<no value>" if value is None else text(value)


def fault(message: str) -> Any:
    """Raises the error that is known since compiling, when the template gets there."""
    raise ExecError(message)


def joined(form: str, *values: Any) -> str:
    """printf of a format that has nothing but ``%s``."""
    for value in values:
        if value.__class__ is not str:
            from pvehelm.chart.gotpl.printing import sprintf

            return sprintf(form, *values)
    return form % values


@contextlib.contextmanager
def deep() -> Iterator[None]:
    """Room for as many templates in one another as Helm allows."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


Code = Callable[["Run", Any, list[str]], None]


class Run:
    """One rendering: which templates there are and how deep they call each other.

    ``codes`` are the ready functions by template name; ``prepare`` makes the one of a name, or raises ExecError.
    ``read_text`` gives the templates of a text for ``tpl``: its own name and the functions by name. ``foreign`` gives
    what a named template of the other dialect prints, None where there is none.
    """

    def __init__(
        self,
        prepare: Callable[[str], Code | None],
        read_text: Callable[[str], tuple[Code, dict[str, Code]]],
        ask: Callable[[Any], Any],
        foreign: Callable[[str, Any], str | None] = lambda name, data: None,
        *,
        lint: bool = False,
        output: int = 64 * 1024 * 1024,
    ) -> None:
        self.codes: dict[str, Code] = {}
        self.prepare = prepare
        self.read_text = read_text
        self.ask = ask
        self.foreign = foreign
        self.lint = lint
        self.output = output
        self.open: dict[str, int] = {}

    def include(self, name: str, data: Any) -> str:
        if name.__class__ is not str:
            raise wrong(name, "string", 0)
        open_ = self.open
        count = open_.get(name, 0)
        if count > INCLUDES:
            raise GoError(f"rendering template has a nested reference name: {name}: unable to execute template")
        code = self.codes.get(name) or self.code(name)
        open_[name] = count + 1
        parts: list[str] = []
        try:
            if code is not None:
                code(self, data, parts)
            elif (text := self.foreign(name, data)) is not None:
                parts.append(text)
            else:
                raise GoError(f'template: no template "{name}" associated with template "gotpl"')
        finally:
            open_[name] = count
        found = "".join(parts)
        if len(found) > self.output:
            raise GoError(f"the output exceeds the limit of {self.output // (1024 * 1024)} MiB")
        return found

    def code(self, name: str) -> Code | None:
        """The function of a template, made at its first use."""
        found = self.codes.get(name)
        if found is None:
            found = self.prepare(name)
            if found is not None:
                self.codes[name] = found
        return found

    def call(self, name: str, data: Any, pieces: list[str]) -> None:
        """``{{ template "name" data }}``."""
        code = self.codes.get(name) or self.code(name)
        if code is not None:
            code(self, data, pieces)
        elif (text := self.foreign(name, data)) is not None:
            pieces.append(text)
        else:
            raise ExecError(f'template "{name}" not defined')

    def tpl(self, source: Any, data: Any) -> str:
        if not isinstance(source, str):
            raise wrong(source, "string", 0)
        if "{{" not in source:
            return source.replace("<no value>", "")
        main, own = self.read_text(source)
        codes = self.codes
        # Definitions of the text count, for everything that runs, until it is done.
        self.codes = {**codes, **own, "gotpl": main}
        parts: list[str] = []
        try:
            main(self, data, parts)
        finally:
            self.codes = codes
        found = "".join(parts)
        return found.replace("<no value>", "") if "<no value>" in found else found

    def required(self, message: str, value: Any) -> Any:
        if not isinstance(message, str):
            raise wrong(message, "string", 0)
        if value is None or (isinstance(value, str) and not value):
            if self.lint:
                return ""
            raise Failure(message)
        return value

    def fail(self, message: str) -> str:
        if not isinstance(message, str):
            raise wrong(message, "string", 0)
        if self.lint:
            return ""
        raise Failure(message)

    def lookup(self, *what: Any) -> Any:
        """``lookup apiVersion kind namespace name``; of the four, kind and name count."""
        if len(what) != 4:
            raise ExecError(f"wrong number of args for lookup: want 4 got {len(what)}")
        for index, word in enumerate(what):
            if not isinstance(word, str):
                raise wrong(word, "string", index)
        kind, name = what[1], what[3]
        found = None if self.lint else self.ask(["lookup", kind, name])
        return {} if found is None else numbered(found)


def numbered(value: Any) -> Any:
    """Data of JSON with its whole numbers as the API's objects have them: int64."""
    from pvehelm.chart.gotpl.values import Int64

    if isinstance(value, dict):
        return {key: numbered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbered(item) for item in value]
    return Int64(value) if type(value) is int else value


def call(function: Any = None, *args: Any) -> Any:
    """``call``: there are no functions among the values of a chart."""
    if function is None:
        raise GoError("call of nil")
    if not callable(function):
        raise GoError(f"non-function {text(function)} of type {type_of(function)}")
    return function(*args)
