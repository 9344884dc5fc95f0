"""The verb: one value as Go's fmt prints it for a verb and its flags, its complaints included."""

from __future__ import annotations

from typing import Any

from pvehelm.chart.gotpl.floats import format_float, with_zeros
from pvehelm.chart.gotpl.quoting import backquotable, quote
from pvehelm.chart.gotpl.values import (
    NILS,
    GoInt,
    GoObject,
    from_bytes,
    kind_of,
    sorted_keys,
    text,
    to_bytes,
    type_of,
)


class Verb:
    """Prints values, one after the other, into ``out``. Its attributes are the flags of the verb, as in Go's fmt."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.clear()

    def clear(self) -> None:
        self.plus = self.minus = self.sharp = self.space = self.zero = False
        self.plus_v = self.sharp_v = False
        self.width: int | None = None
        self.precision: int | None = None

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
