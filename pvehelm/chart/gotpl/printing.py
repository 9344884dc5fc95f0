"""The format: Go's fmt, ``Sprint``, ``Sprintln`` and ``Sprintf`` with every verb, flag and complaint."""

from __future__ import annotations

import functools
import re
from typing import Any

from pvehelm.chart.gotpl.values import bounded, text, type_of
from pvehelm.chart.gotpl.verbs import Verb

_SIMPLE = re.compile(r"%([%svdq])|%")


def sprint(*values: Any) -> str:
    """The values as text, with a space between two that are both no strings."""
    if len(values) == 1:
        return text(values[0])
    out: list[str] = []
    was_text = True
    for value in values:
        is_text = isinstance(value, str)
        if out and not is_text and not was_text:
            out.append(" ")
        out.append(text(value))
        was_text = is_text
    return "".join(out)


def sprintln(*values: Any) -> str:
    """The values as text, with spaces between them and a newline."""
    return " ".join([text(value) for value in values]) + "\n"


def sprintf(form: str, *values: Any) -> str:
    """Go's Sprintf. Mistakes are printed in place (``%!d(string=x)``), never raised."""
    pieces = _pieces(form)
    if pieces is None or len(pieces) // 2 != len(values):
        return _Form(form, values).run()
    out = [pieces[0]]
    for index, value in enumerate(values):
        verb = pieces[2 * index + 1]
        kind = type(value)
        if kind is str and verb in "sv":
            out.append(value)
        elif kind is int and verb in "dv":
            out.append(int.__repr__(value))
        elif verb == "v" and value is not None:
            out.append(text(value))
        else:
            out.append(_Form("%" + verb, (value,)).run())
        out.append(pieces[2 * index + 2])
    return "".join(out)


@functools.lru_cache(maxsize=1024)
def _pieces(form: str) -> list[str] | None:
    """Literals and verbs by turns, if the format has no flags, widths or odd verbs."""
    pieces, at, literal = [], 0, ""
    for found in _SIMPLE.finditer(form):
        literal += form[at : found.start()]
        at = found.end()
        if found[1] is None:
            return None
        if found[1] == "%":
            literal += "%"
        else:
            pieces += [literal, found[1]]
            literal = ""
    return [*pieces, literal + form[at:]]


class _Form(Verb):
    """One Sprintf: reads its format and prints each value by its verb."""

    def __init__(self, form: str, values: tuple[Any, ...]) -> None:
        super().__init__()
        self.form = form
        self.values = values
        self.reordered = False
        self.good = True

    def run(self) -> str:
        form, values, end = self.form, self.values, len(self.form)
        at = number = size = 0
        while at < end:
            percent = form.find("%", at)
            if percent < 0:
                self.out.append(form[at:])
                break
            self.out.append(form[at:percent])
            at = percent + 1
            self.clear()
            self.good = True
            while at < end and form[at] in "#0+- ":
                match form[at]:
                    case "#":
                        self.sharp = True
                    case "0":
                        self.zero = True
                    case "+":
                        self.plus = True
                    case "-":
                        self.minus = True
                    case " ":
                        self.space = True
                at += 1
            after = False
            number, at, after = self.index(number, at)
            if at < end and form[at] == "*":
                at += 1
                self.width, number = self.given(number)
                if self.width is None:
                    self.out.append("%!(BADWIDTH)")
                elif self.width < 0:
                    self.width, self.minus, self.zero = -self.width, True, False
                after = False
            else:
                self.width, at = self.digits(at)
                if after and self.width is not None:
                    self.good = False
            if at + 1 <= end and form[at : at + 1] == ".":
                at += 1
                if after:
                    self.good = False
                number, at, after = self.index(number, at)
                if at < end and form[at] == "*":
                    at += 1
                    self.precision, number = self.given(number)
                    if self.precision is None or self.precision < 0:
                        self.precision = None
                        self.out.append("%!(BADPREC)")
                    after = False
                else:
                    self.precision, at = self.digits(at)
                    if self.precision is None:
                        self.precision = 0
            if not after:
                number, at, after = self.index(number, at)
            if at >= end:
                self.out.append("%!(NOVERB)")
                break
            verb = form[at]
            at += 1
            if verb == "%":
                self.out.append("%")
            elif not self.good:
                self.out.append(f"%!{verb}(BADINDEX)")
            elif number >= len(values):
                self.out.append(f"%!{verb}(MISSING)")
            else:
                if verb == "v":
                    self.sharp_v, self.sharp = self.sharp, False
                    self.plus_v, self.plus = self.plus, False
                self.value(values[number], verb)
                # One value may be printed many times.
                size += len(self.out[-1])
                bounded(size)
                number += 1
        if not self.reordered and number < len(values):
            self.clear()
            shown = []
            for value in values[number:]:
                kept, self.out = self.out, []
                if value is None:
                    shown.append("<nil>")
                else:
                    self.value(value, "v")
                    shown.append(f"{type_of(value)}={''.join(self.out)}")
                self.out = kept
            self.out.append("%!(EXTRA " + ", ".join(shown) + ")")
        return "".join(self.out)

    def digits(self, at: int) -> tuple[int | None, int]:
        end = at
        while end < len(self.form) and self.form[end] in "0123456789":
            end += 1
            if int(self.form[at:end]) > 1_000_000:
                return None, len(self.form)
        return (int(self.form[at:end]) if end > at else None), end

    def index(self, number: int, at: int) -> tuple[int, int, bool]:
        """An explicit argument index ``[n]`` at this place."""
        if at >= len(self.form) or self.form[at] != "[":
            return number, at, False
        self.reordered = True
        close = self.form.find("]", at)
        if close < 0:
            self.good = False
            return number, at + 1, False
        inner = self.form[at + 1 : close]
        if inner.isascii() and inner.isdigit() and 1 <= int(inner[:20]) <= len(self.values):
            return int(inner) - 1, close + 1, True
        self.good = False
        return number, close + 1, inner.isascii() and inner.isdigit()

    def given(self, number: int) -> tuple[int | None, int]:
        """A width or precision that is an argument."""
        if number >= len(self.values):
            return None, number
        value = self.values[number]
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1_000_000
        return (int(value) if whole else None), number + 1
