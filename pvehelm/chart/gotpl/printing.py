"""The format: Go's fmt, ``Sprint``, ``Sprintln`` and ``Sprintf`` with every verb, flag and complaint."""

from __future__ import annotations

import functools
import re
from typing import Any

from pvehelm.chart.gotpl.floats import format_float, with_zeros
from pvehelm.chart.gotpl.quoting import backquotable, quote
from pvehelm.chart.gotpl.values import (
    NILS,
    GoInt,
    GoObject,
    bounded,
    from_bytes,
    kind_of,
    sorted_keys,
    text,
    to_bytes,
    type_of,
)

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
        return _Printer(form, values).run()
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
            out.append(_Printer("%" + verb, (value,)).run())
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


class _Printer:
    """One Sprintf. Its attributes are the flags of the verb being printed, as in Go's fmt."""

    def __init__(self, form: str, values: tuple[Any, ...]) -> None:
        self.form = form
        self.values = values
        self.out: list[str] = []
        self.reordered = False
        self.good = True
        self.clear()

    def clear(self) -> None:
        self.plus = self.minus = self.sharp = self.space = self.zero = False
        self.plus_v = self.sharp_v = False
        self.width: int | None = None
        self.precision: int | None = None

    # ---- reading the format

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

    # ---- printing a value

    def value(self, value: Any, verb: str, depth: int = 0) -> None:
        """One value, or an element of one (depth above 0)."""
        if verb == "w" and value is not None:
            self.bad(value, verb)
        elif value is None:
            if depth:
                self.out.append("interface {}(nil)" if self.sharp_v else "<nil>")
            elif verb in "Tv":
                self.pad("<nil>")
            else:
                self.bad(value, verb)
        elif verb == "T" and not depth:
            self.words(type_of(value), "s")
        elif verb == "p" and not depth:
            self.pointer(value, verb)
        elif value is True or value is False:
            if verb in "tv":
                self.pad("true" if value else "false")
            else:
                self.bad(value, verb)
        elif isinstance(value, GoObject):
            self.object(value, verb, depth)
        elif isinstance(value, int):
            if isinstance(value, GoInt) and type(value).text is not GoInt.text and self.named(value.text(), verb):
                return
            self.integer(value, verb)
        elif isinstance(value, float):
            self.real(value, verb)
        elif isinstance(value, str):
            self.words(value, verb)
        elif isinstance(value, complex):
            self.pair(value, verb)
        elif isinstance(value, bytes):
            self.raw(value, verb, depth)
        elif isinstance(value, dict):
            self.mapping(value, verb, depth)
        elif isinstance(value, list):
            self.items(value, verb, depth)
        else:
            shown = text(value)
            if not self.named(shown, verb):
                self.pointer(value, verb)

    def named(self, shown: str, verb: str) -> bool:
        """What has a String method prints by it, for the verbs of strings."""
        if self.sharp_v or verb not in "vsxXq":
            return False
        self.words(shown, verb)
        return True

    def bad(self, value: Any, verb: str) -> None:
        if value is None:
            self.out.append(f"%!{verb}(<nil>)")
            return
        self.out.append(f"%!{verb}({type_of(value)}=")
        if isinstance(value, GoObject):
            self.object(value, "v", 0, by_method=False)
        else:
            self.value(value, "v")
        self.out.append(")")

    def pointer(self, value: Any, verb: str) -> None:
        if kind_of(value) in ("map", "slice", "func", "ptr") and verb in "vpbodxX":
            self.pad(f"0x{id(value):x}")
        else:
            self.bad(value, verb)

    def object(self, value: GoObject, verb: str, depth: int, *, by_method: bool = True) -> None:
        if isinstance(value, dict):
            self.mapping(value, verb, depth)
        elif isinstance(value, list):
            self.items(value, verb, depth)
        elif not by_method or not value.stringer or not self.named(value.text(), verb):
            self.struct(value, verb, depth)

    def struct(self, value: GoObject, verb: str, depth: int) -> None:
        if self.sharp_v and hasattr(value, "GoString"):
            self.out.append(value.GoString())
            return
        if value.go_kind == "ptr":
            if depth:
                self.pad(f"0x{id(value):x}")
                return
            self.out.append("&")
        self.out.append(value.go_type.lstrip("*") + "{" if self.sharp_v else "{")
        for index, (name, part) in enumerate(value.parts()):
            if index:
                self.out.append(", " if self.sharp_v else " ")
            if self.sharp_v or self.plus_v:
                self.out.append(name + ":")
            self.value(part, verb, depth + 1)
        self.out.append("}")

    def mapping(self, value: dict[Any, Any], verb: str, depth: int) -> None:
        if self.sharp_v and isinstance(value, NILS):
            self.out.append(f"{type_of(value)}(nil)")
            return
        self.out.append(type_of(value) + "{" if self.sharp_v else "map[")
        for index, key in enumerate(sorted_keys(value)):
            if index:
                self.out.append(", " if self.sharp_v else " ")
            self.value(key, verb, depth + 1)
            self.out.append(":")
            self.value(value[key], verb, depth + 1)
        self.out.append("}" if self.sharp_v else "]")

    def items(self, value: list[Any], verb: str, depth: int) -> None:
        if self.sharp_v and isinstance(value, NILS):
            self.out.append(f"{type_of(value)}(nil)")
            return
        self.out.append(type_of(value) + "{" if self.sharp_v else "[")
        for index, item in enumerate(value):
            if index:
                self.out.append(", " if self.sharp_v else " ")
            self.value(item, verb, depth + 1)
        self.out.append("}" if self.sharp_v else "]")

    # ---- printing scalars

    def pad(self, shown: str) -> None:
        missing = (self.width or 0) - len(shown)
        if missing <= 0:
            self.out.append(shown)
        elif self.minus:
            self.out.append(shown + " " * missing)
        else:
            self.out.append(("0" if self.zero else " ") * missing + shown)

    def unpadded_zero(self, shown: str) -> None:
        zero, self.zero = self.zero, False
        self.pad(shown)
        self.zero = zero

    def words(self, value: str, verb: str) -> None:
        if verb in "vs" and not self.sharp_v:
            self.pad(value if self.precision is None else value[: self.precision])
        elif verb in "xX":
            self.hexed(to_bytes(value), verb)
        elif verb in "qv":
            shown = value if self.precision is None else value[: self.precision]
            if self.sharp and backquotable(shown):
                self.pad(f"`{shown}`")
            else:
                self.pad(quote(shown, ascii_only=self.plus))
        else:
            self.bad(value, verb)

    def raw(self, value: bytes, verb: str, depth: int) -> None:
        if verb in "vd":
            if self.sharp_v:
                self.out.append(("[]uint8{" if depth else "[]byte{") + ", ".join(f"0x{byte:x}" for byte in value) + "}")
                return
            self.out.append("[")
            for index, byte in enumerate(value):
                if index:
                    self.out.append(" ")
                self.digits_of(byte, 10, verb)
            self.out.append("]")
        elif verb == "s":
            self.words(from_bytes(value), "s")
        elif verb in "xX":
            self.hexed(value, verb)
        elif verb == "q":
            self.words(from_bytes(value), "q")
        else:
            self.out.append("[")
            for index, byte in enumerate(value):
                if index:
                    self.out.append(" ")
                self.integer(_Byte(byte), verb)
            self.out.append("]")

    def hexed(self, value: bytes, verb: str) -> None:
        part = value if self.precision is None else value[: self.precision]
        pairs = [f"{byte:02{verb}}" for byte in part]
        lead = "0" + verb if self.sharp else ""
        if self.space:
            shown = " ".join(lead + pair for pair in pairs)
        else:
            shown = lead + "".join(pairs) if pairs else ""
        self.pad(shown)

    def integer(self, value: int, verb: str) -> None:
        signed = not getattr(value, "go_kind", "int").startswith("uint")
        if verb == "v":
            if self.sharp_v and not signed:
                self.sharp = True
                self.digits_of(value, 16, "v")
                self.sharp = False
            else:
                self.digits_of(value, 10, verb)
        elif verb in "dboOxX":
            self.digits_of(value, {"d": 10, "b": 2, "o": 8, "O": 8, "x": 16, "X": 16}[verb], verb)
        elif verb == "c":
            self.pad(_character(value))
        elif verb == "q":
            self.pad(quote(_character(value), "'", self.plus))
        elif verb == "U":
            shown = f"U+{value & 0xFFFFFFFFFFFFFFFF:0{max(self.precision or 4, 4)}X}"
            if self.sharp and 0 <= value < 0x110000 and chr(value).isprintable():
                shown += f" '{chr(value)}'"
            self.unpadded_zero(shown)
        else:
            self.bad(value, verb)

    def digits_of(self, value: int, base: int, verb: str) -> None:
        negative, size = value < 0, abs(int(value))
        least = 0
        if self.precision is not None:
            least = self.precision
            if not least and not size:
                self.out.append(" " * (self.width or 0))
                return
        elif self.zero and not self.minus and self.width is not None:
            least = self.width - (1 if negative or self.plus or self.space else 0)
        letter = {2: "b", 8: "o", 10: "d", 16: "X" if verb == "X" else "x"}[base]
        shown = f"{size:{letter}}".rjust(least, "0")
        if self.sharp:
            if base == 2:
                shown = "0b" + shown
            elif base == 8:
                shown = shown if shown[0] == "0" else "0" + shown
            elif base == 16:
                shown = ("0X" if verb == "X" else "0x") + shown
        if verb == "O":
            shown = "0o" + shown
        sign = "-" if negative else "+" if self.plus else " " if self.space else ""
        self.unpadded_zero(sign + shown)

    def real(self, value: float, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self.bad(value, verb)
            return
        precision = 6 if verb in "fFeE" else -1
        if self.precision is not None:
            precision = self.precision
        letter = {"v": "g", "F": "f"}.get(verb, verb)
        number = format_float(value, letter, precision)
        if number[0] not in "+-":
            number = "+" + number
        if self.space and number[0] == "+" and not self.plus:
            number = " " + number[1:]
        if number[1] in "IN":
            if number[1] == "N" and not self.space and not self.plus:
                number = number[1:]
            self.unpadded_zero(number)
            return
        if self.sharp and letter != "b":
            number = with_zeros(number, letter, precision)
        if self.plus or number[0] != "+":
            if self.zero and not self.minus and self.width is not None and self.width > len(number):
                self.out.append(number[0] + "0" * (self.width - len(number)) + number[1:])
            else:
                self.pad(number)
        else:
            self.pad(number[1:])

    def pair(self, value: complex, verb: str) -> None:
        if verb not in "vbgGxXfFeE":
            self.bad(value, verb)
            return
        plus = self.plus
        self.out.append("(")
        self.real(value.real, verb)
        self.plus = True
        self.real(value.imag, verb)
        self.out.append("i)")
        self.plus = plus


class _Byte(GoInt):
    __slots__ = ()
    go_type = go_kind = "uint8"


def _character(code: int) -> str:
    return chr(code) if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
