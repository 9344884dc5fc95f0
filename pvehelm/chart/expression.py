"""The expression: what Chart.yaml says about values, as in ``condition: db.enabled and not db.external``.

* paths (``web.ports[0]``, ``labels["a/b"]``; what is not there is null), texts in quotes, numbers, ``true``, ``false``,
  ``null`` and lists ``[a, b]``;
* ``not``, ``and``, ``or``, which give one of their sides (``port or 80``), ``x if condition else y``;
* ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``, ``not in``; parentheses.

There are no functions, so evaluating one is bounded by its length.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from pvehelm.chart.pattern import pattern
from pvehelm.chart.plain import at
from pvehelm.chart.yaml import Path_
from pvehelm.errors import InvalidError

MAX_LENGTH = 2000
MAX_DEPTH = 40

_TOKEN = pattern(
    r"""\s*(?:
      (?P<number>-?\d+(?:\.\d+)?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<word>[A-Za-z_][\w-]*(?:\.[\w/-]+|\[\d+\]|\["[^"\]]*"\]|\['[^'\]]*'\])*)
    | (?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,)
    )""",
    re.VERBOSE,
)
_STEP = pattern(r"\.?([\w/-]+)|\[(\d+)\]|\[\"([^\"]*)\"\]|\['([^']*)'\]")
_COMMAS = pattern(r"\s*[\w./-]*\s*(,\s*[\w./-]*\s*)*\Z")
_HOLE = pattern(r"\$\{(?!secret://)([^}]*)\}")
_CONSTANTS = {"true": True, "false": False, "null": None}
_SIGNS = {"==", "!=", "<", "<=", ">", ">=", "in", "not in"}

Evaluate = Callable[[Mapping[str, Any]], Any]


class Expression:
    """A parsed expression. Raises InvalidError, which shows the place, where it makes no sense."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > MAX_LENGTH:
            raise self._error(f"it is longer than {MAX_LENGTH}", 0)
        self._tokens = self._read()
        self._at = 0
        self._depth = 0
        self._evaluate = self._choice()
        if self._at < len(self._tokens):
            self._bad(f"unexpected {self._tokens[self._at][1]!r}")

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def value(self, values: Mapping[str, Any]) -> Any:
        """What it gives for ``values``. Raises InvalidError where things are compared that have no order."""
        return self._evaluate(values)

    # Reading

    def _read(self) -> list[tuple[str, str, int]]:
        tokens: list[tuple[str, str, int]] = []
        at = 0
        while self.text[at:].strip():
            found = _TOKEN.match(self.text, at)
            if found is None or found.lastgroup is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                raise self._error(f"unexpected {self.text[at]!r}", at)
            tokens.append((found.lastgroup, found[found.lastgroup], found.start(found.lastgroup)))
            at = found.end()
        return tokens

    def _error(self, what: str, place: int) -> InvalidError:
        shown = self.text if len(self.text) < 200 else self.text[:200] + "..."
        return InvalidError(f"{shown!r}: {what} (at character {place + 1})")

    def _bad(self, what: str) -> NoReturn:
        raise self._error(what, self._tokens[self._at][2] if self._at < len(self._tokens) else len(self.text))

    def _next(self) -> tuple[str, str]:
        return self._tokens[self._at][:2] if self._at < len(self._tokens) else ("", "")

    def _takes(self, *words: str) -> str:
        if self._next()[1] in words and self._next()[0] in ("word", "sign"):
            self._at += 1
            return self._tokens[self._at - 1][1]
        return ""

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            self._bad(f"{sign!r} is missing")

    def _choice(self) -> Evaluate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._bad(f"it is nested more than {MAX_DEPTH} deep")
        left = self._either()
        if self._takes("if"):
            condition = self._either()
            self._expect("else")
            right = self._choice()
            chosen = left
            self._depth -= 1
            return lambda values: chosen(values) if condition(values) else right(values)
        self._depth -= 1
        return left

    def _either(self) -> Evaluate:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda values: _first(parts, values, wanted=True)

    def _both(self) -> Evaluate:
        parts = [self._not()]
        while self._takes("and"):
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else lambda values: _first(parts, values, wanted=False)

    def _not(self) -> Evaluate:
        times = 0
        while self._takes("not"):
            times += 1
        inner = self._compared()
        if not times:
            return inner
        return (lambda values: not inner(values)) if times % 2 else (lambda values: bool(inner(values)))

    def _compared(self) -> Evaluate:
        left = self._operand()
        sign = self._takes("==", "!=", "<", "<=", ">", ">=", "in")
        if not sign and self._next()[1] == "not":
            self._at += 1
            self._expect("in")
            sign = "not in"
        if not sign:
            return left
        right = self._operand()
        return lambda values: self._compare(sign, left(values), right(values))

    def _operand(self) -> Evaluate:
        group, text = self._next()
        if not group:
            self._bad("something is missing at the end")
        if self._takes("("):
            inner = self._choice()
            self._expect(")")
            return inner
        if self._takes("["):
            items: list[Evaluate] = []
            while not self._takes("]"):
                items.append(self._choice())
                if not self._takes(",") and self._next()[1] != "]":
                    self._bad("']' is missing")
            return lambda values: [item(values) for item in items]
        if group == "sign" or text in ("and", "or", "not", "in", "if", "else"):
            self._bad(f"unexpected {text!r}")
        self._at += 1
        if group == "number":
            number = float(text) if "." in text else int(text)
            return lambda values: number
        if group == "text":
            plain = re.sub(r"\\(.)", r"\1", text[1:-1])
            return lambda values: plain
        if text in _CONSTANTS:
            return lambda values: _CONSTANTS[text]
        steps = steps_of(text)
        return lambda values: at(values, steps)

    def _compare(self, sign: str, left: Any, right: Any) -> bool:
        try:
            if sign in ("==", "!="):
                # True is no 1 here.
                same = left == right and isinstance(left, bool) == isinstance(right, bool)
                return same if sign == "==" else not same
            if sign in ("in", "not in"):
                return (left in right) == (sign == "in")
            return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign])
        except TypeError:
            raise InvalidError(f"{self.text!r}: {_shown(left)} {sign} {_shown(right)} makes no sense") from None


def _first(parts: list[Evaluate], values: Mapping[str, Any], *, wanted: bool) -> Any:
    found: Any = None
    for part in parts:
        found = part(values)
        if bool(found) == wanted:
            break
    return found


def _shown(value: Any) -> str:
    shapes = {dict: "a map", list: "a list", type(None): "null"}
    return shapes.get(type(value)) or repr(value)


def steps_of(path: str) -> tuple[str | int, ...]:
    """``a.b[0]["c/d"]`` as steps."""
    return tuple(
        int(step[2]) if step[2] is not None else next(name for name in (step[1], step[3], step[4]) if name is not None)
        for step in _STEP.finditer(path)
    )


def is_paths(condition: str) -> bool:
    """Whether a condition is Helm's: paths with commas between."""
    return bool(_COMMAS.match(condition))


def filled(template: Any, values: Mapping[str, Any]) -> Any:
    """``template`` with every ``${expression}`` in its texts worked out; one that is the whole text keeps its type.

    Raises InvalidError for a broken expression, and where a secret reference would become a part of a text.
    """
    if isinstance(template, dict):
        return {key: filled(item, values) for key, item in template.items()}
    if isinstance(template, list):
        return [filled(item, values) for item in template]
    if not isinstance(template, str) or "${" not in template:
        return template
    whole = _HOLE.fullmatch(template)
    if whole:
        return Expression(whole[1]).value(values)
    return _HOLE.sub(lambda found: _text(template, Expression(found[1]).value(values)), template)


def texts(template: Any, path: Path_ = ()) -> Iterator[tuple[Path_, str]]:
    """The expressions in a template of :func:`filled`, with where they stand."""
    if isinstance(template, dict):
        for key, item in template.items():
            yield from texts(item, (*path, key))
    elif isinstance(template, list):
        for index, item in enumerate(template):
            yield from texts(item, (*path, index))
    elif isinstance(template, str):
        for found in _HOLE.finditer(template):
            yield path, found[1]


def _text(template: str, value: Any) -> str:
    if isinstance(value, dict | list):
        raise InvalidError(f"{template!r}: {_shown(value)} cannot be a part of a text")
    if isinstance(value, str) and "secret://" in value:
        raise InvalidError(f"{template!r}: a secret reference cannot be a part of a text here; pass it on whole")
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
