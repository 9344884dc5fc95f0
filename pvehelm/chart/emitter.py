"""The emitter: plain data to the YAML that Helm's toYaml prints.

libyaml's emitter does the layout, as the Go port of it does in Helm; what is decided here is the style of each text
(double quotes where the plain text would be read as something else, ``|`` for several lines) and the order of keys.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from io import StringIO
from typing import Any

from pvehelm.chart.pattern import pattern
from pvehelm.chart.yaml import Path_
from pvehelm.errors import InvalidError, Problem

NO_WIDTH = 1 << 30

# Plain texts that one of YAML 1.1 and 1.2 readers would take for something else than text.
_WORDS = frozenset(
    word
    for base in ("y", "n", "yes", "no", "on", "off", "true", "false", "null", ".inf", "+.inf", "-.inf", ".nan")
    for word in (base, base.upper(), base.capitalize(), base[:-3] + base[-3:].capitalize())
) | {"", "~", ".NaN"}
_NUMBER = pattern(
    r"""[-+]?(?:
        0b[01_]+ | 0o[0-7_]+ | 0x[0-9a-fA-F_]+                           # other bases
      | (?:[0-9][0-9_]*(?:\.[0-9_]*)? | \.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?  # 1  1_000  1.  .5  1e3
      | [0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?                       # base 60
    )$""",
    re.X,
)
_BREAKS = pattern(r"[\x85\u2028\u2029\ufeff]")  # line breaks to YAML 1.1; Helm loses some of them
_DATE = pattern(r"\d{4}-\d\d?-\d\d?(?:$|[Tt]|[ \t]+\d)")


def emit(value: Any, *, width: int | None = 80) -> str:
    """``value`` as block-style YAML with sorted keys, ending with a newline; see :func:`pvehelm.chart.yaml.dump`."""
    from yaml import events as ev

    try:
        from yaml._yaml import CEmitter as Emitter
    except ImportError:
        from yaml.emitter import Emitter  # type: ignore[assignment]

    out = StringIO()
    emitter = Emitter(out, width=NO_WIDTH if width is None else width, allow_unicode=True)
    send = emitter.emit

    def text(value: str) -> None:
        send(ev.ScalarEvent(None, None, (True, True), value, style=style(value)))

    def plain(value: str) -> None:
        send(ev.ScalarEvent(None, None, (True, False), value))

    def node(value: Any, path: Path_) -> None:
        if isinstance(value, str):
            text(str(value))
        elif value is None:
            plain("null")
        elif isinstance(value, bool):
            plain("true" if value else "false")
        elif isinstance(value, int):
            plain(str(int(value)))
        elif isinstance(value, float):
            plain(number(value, path))
        elif isinstance(value, Mapping):
            send(ev.MappingStartEvent(None, None, True, flow_style=not value))
            for key in sorted((_key(key, path) for key in value), key=natural):
                # Plain, this key would merge when it is read back.
                send(ev.ScalarEvent(None, None, (True, True), key, style='"' if key == "<<" else style(key)))
                node(value[key] if key in value else _odd(value, key), (*path, key))
            send(ev.MappingEndEvent())
        elif isinstance(value, (list, tuple)):
            send(ev.SequenceStartEvent(None, None, True, flow_style=not value))
            for index, item in enumerate(value):
                node(item, (*path, index))
            send(ev.SequenceEndEvent())
        else:
            raise _bad(path, f"{type(value).__name__} is no value that YAML of JSON's shape can hold")

    send(ev.StreamStartEvent())
    send(ev.DocumentStartEvent(explicit=False))
    try:
        node(value, ())
    except RecursionError:
        raise _bad((), "nested too deep, or inside itself") from None
    send(ev.DocumentEndEvent(explicit=False))
    send(ev.StreamEndEvent())
    written = out.getvalue()
    # The end mark that libyaml sets after a lone scalar; the same within a text is indented.
    return written[:-4] if written.endswith("\n...\n") else written


def style(text: str) -> str | None:
    """How a text is written: ``"`` where plain would be read as something else, ``|`` for lines, else up to libyaml."""
    if reads_as_other(text) or _BREAKS.search(text):
        return '"'
    return "|" if "\n" in text else None


def reads_as_other(text: str) -> bool:
    """Whether some YAML reader takes the plain ``text`` for a number, boolean, null or date."""
    return text in _WORDS or bool(_NUMBER.match(text) or _DATE.match(text))


def number(value: float, path: Path_ = ()) -> str:
    """A float as Helm's toYaml writes it: ``1`` for 1.0, an exponent below 1e-4 and from 1e6 on unless it is whole."""
    if not math.isfinite(value):
        raise _bad(path, f"{value} is no number that JSON can hold")
    if value == int(value) and abs(value) < 1 << 63:
        return str(int(value))
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    power = exponent + len(digits) - 1
    if -4 <= power < 6:
        return format(Decimal(repr(value)), "f")
    mantissa = "".join(map(str, digits))
    point = f".{mantissa[1:]}" if len(mantissa) > 1 else ""
    return f"{'-' if value < 0 else ''}{mantissa[0]}{point}e{'-' if power < 0 else '+'}{abs(power):02}"


def _key(key: Any, path: Path_) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int):
        return str(key)
    raise _bad(path, f"the key {key!r} is no text")


def _odd(value: Mapping[Any, Any], name: str) -> Any:
    return next(item for key, item in value.items() if not isinstance(key, str) and _key(key, ()) == name)


def _bad(path: Path_, what: str) -> InvalidError:
    where = ".".join(str(step) for step in path)
    return InvalidError(f"cannot be written as YAML: {what}", [Problem(where, what)])


def _compare(left: str, right: str) -> int:
    """Natural order: letters after other characters, runs of digits by their number, as Helm sorts keys."""
    digits = False
    for at, (a, b) in enumerate(zip(left, right, strict=False)):
        if a == b:
            digits = a.isdecimal()
            continue
        if a.isalpha() and b.isalpha():
            return -1 if a < b else 1
        if a.isalpha() or b.isalpha():
            first = a.isalpha() if digits else b.isalpha()
            return -1 if first else 1
        lead = ""
        if "0" in (a, b):
            # Digits before this place that are not zeros make a zero here count.
            before = re.search(r"\d*$", left[:at])
            lead = "1" if before and before[0].strip("0") else ""
        run_a, run_b = _digits(left, at), _digits(right, at)
        value_a, value_b = int(lead + run_a or "0"), int(lead + run_b or "0")
        if value_a != value_b:
            return -1 if value_a < value_b else 1
        if len(run_a) != len(run_b):
            return -1 if len(run_a) < len(run_b) else 1
        return -1 if a < b else 1
    return len(left) - len(right)


def _digits(text: str, at: int) -> str:
    found = re.compile(r"[0-9]*").match(text, at)
    return found[0] if found else ""


natural = functools.cmp_to_key(_compare)
