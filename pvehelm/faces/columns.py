"""Objects as rows: the columns that each kind's table names, and the user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, zip_longest
from typing import TYPE_CHECKING, Any

from pvehelm.errors import UsageError
from pvehelm.faces import output

if TYPE_CHECKING:
    from pvehelm.release.objects import Object

NOTHING = "<none>"
# Columns of text for people: they wrap.
PROSE = ("COMMENT", "COMMENTS", "WHICH", "RESOURCES", "DESCRIPTION")
# How an object is: beside its name what is left on the narrowest terminal.
STATES = ("STATUS", "STATE")


def values_of(one: Object) -> dict[str, Any]:
    """What columns choose from: the row of the list, the key, and the fields where they were read."""
    fields = dict(one.live.fields) if one.live else {}
    return {**fields, **one.found.key, **one.found.row}


def cell(values: Mapping[str, Any], column: str) -> str:
    """One column, ``HEAD=path`` or ``HEAD=path:form``, of an object's values."""
    path, _, form = column.partition("=")[2].partition(":")
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if form == "yes":
        return "yes" if str(value) in ("1", "True") else "no"
    if form == "count":
        parts = value if isinstance(value, list) else str(value or "").replace(";", ",").split(",")
        return str(len([part for part in parts if part]))
    if value in (None, ""):
        return ""
    return FORMS[form](value) if form else text(value)


def text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, Mapping):
        return ",".join(f"{name}={inner}" for name, inner in value.items())
    return str(value).replace(";", ",")


def size(value: Any) -> str:
    """Bytes in the unit that suits them: ``1.5 GiB``."""
    number = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.4g} {unit}"
        number /= 1024
    return f"{number:.4g} TiB"


def span(value: Any) -> str:
    """Seconds as ``3d4h``, ``2h5m``, ``10s``."""
    seconds = int(float(value))
    if not seconds:
        return ""
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    parts = []
    for unit, length in units:
        count, seconds = divmod(seconds, length)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return "".join(parts[:2])


def moment(value: Any) -> str:
    """Seconds since the epoch as a time; nothing for 0, which means never."""
    return output.when(int(value))


def percent(value: Any) -> str:
    """A part of one as a percentage."""
    return f"{100 * float(value):.0f}%"


FORMS: dict[str, Callable[[Any], str]] = {"size": size, "time": span, "when": moment, "percent": percent}


class Columns:
    """What ``get`` prints for people: a table of each kind, in the order they came."""

    def __init__(
        self,
        *,
        wide: bool,
        namespaces: bool,
        labels: bool,
        header: bool,
        chosen: Sequence[str] = (),
        kinds: bool = False,
    ) -> None:
        """``labels``: all of them as one column; ``chosen``: these, each as one; ``kinds``: before every name, as where
        several stand together."""
        self.wide = wide
        self.chosen = chosen
        self.namespaces = namespaces
        self.labels = labels
        self.header = header
        self.kinds = kinds
        self._kinds: set[str] = set()
        self._heads: list[str] = []
        self._widths: dict[tuple[str, ...], list[int]] = {}

    def heads(self, one: Object) -> list[str]:
        columns = self._columns(one)
        first = ["NAMESPACE"] if self._spaced(one) else []
        last = ["RELEASE", *(name.upper() for name in self.chosen), *(["LABELS"] if self.labels else [])]
        return [*first, "NAME", *(column.partition("=")[0] for column in columns), *last]

    def row(self, one: Object) -> list[str]:
        values = values_of(one)
        first = [one.namespace] if self._spaced(one) else []
        name = one.ref if self.kinds or len(self._kinds) > 1 else one.name
        owner = one.owner.name if one.owner else ""
        labels = ",".join(f"{k}={v}" if v else k for k, v in sorted(one.labels.items()) if k != "release")
        chosen = [str(one.labels.get(name, "")) for name in self.chosen]
        last = [owner, *chosen, *([labels or NOTHING] if self.labels else [])]
        return [*first, name, *(cell(values, column) for column in self._columns(one)), *last]

    def write(self, objects: Sequence[Object]) -> None:
        """Tables, one for neighbours of the same columns."""
        self._kinds |= {one.kind.name for one in objects}
        for index, (_, group) in enumerate(groupby(objects, key=lambda one: (self._columns(one), self._spaced(one)))):
            rows = list(group)
            if index:
                sys.stdout.write("\n")
            self.table([self.row(one) for one in rows], rows[0], header=self.header)

    def more(self, objects: Sequence[Object], events: Sequence[str] = ()) -> None:
        """Rows below those before; ``events`` are a first column."""
        self._kinds |= {one.kind.name for one in objects}
        first = ["EVENT"] if events else []
        told = list(zip_longest(objects, events))
        for _, group in groupby(told, key=lambda pair: self.heads(pair[0])):
            rows = list(group)
            one = rows[0][0]
            heads = [*first, *self.heads(one)]
            cells = [[*([event] if events else []), *self.row(each)] for each, event in rows]
            least = self._widths.get(tuple(heads), ())
            fresh = self.header and heads != self._heads
            self._widths[tuple(heads)] = self.table(cells, one, header=fresh, least=least, first=first)
            self._heads = heads

    def table(
        self,
        rows: Sequence[Sequence[str]],
        one: Object,
        *,
        header: bool,
        least: Sequence[int] = (),
        first: Sequence[str] = (),
    ) -> list[int]:
        """Rows of objects like ``one``. Where there is no room, the kind's last columns give way first, then who owns
        the objects, then what says where they are."""
        own = [column.partition("=")[0] for column in self._columns(one)]
        rest = [head for head in own if head not in STATES]
        return output.table(
            rows,
            [*first, *self.heads(one)],
            header=header,
            least=least,
            spare=[*rest[:1:-1], "RELEASE", *rest[1::-1]],
            prose=[head for head in own if head in PROSE],
            wide=self.wide,
        )

    def _columns(self, one: Object) -> tuple[str, ...]:
        found = one.kind.columns + (one.kind.wide if self.wide else ())
        if found:
            return found
        return tuple(f"{name.upper()}={name}" for name in ("type", "comment") if name in one.found.row)

    def _spaced(self, one: Object) -> bool:
        return self.namespaces and one.kind.namespaced


class Custom:
    """``-o custom-columns=NAME:.metadata.name,NODE:.spec.node``; from a ``file`` the heads are its first line and the
    paths its second."""

    def __init__(self, spec: str, *, file: bool, header: bool) -> None:
        """Raises UsageError for what names no columns, PvehelmError for a file that can't be read."""
        from pvehelm.chart.jsonpath import path

        if file:
            from pvehelm.faces.templates import read

            lines = [line.split() for line in read(spec).splitlines() if line.strip()]
            pairs = list(zip(*lines, strict=True)) if len(lines) == 2 and len(lines[0]) == len(lines[1]) else []
            what = f"-o custom-columns-file={spec}: expected a line of heads and a line of as many paths"
        else:
            split = [part.partition(":") for part in spec.split(",") if part]
            pairs = [(head, finder) for head, _, finder in split] if all(head and f for head, _, f in split) else []
            what = f"-o custom-columns={spec}: expected HEAD:PATH,..."
        if not pairs:
            raise UsageError(what, hint="for example NAME:.metadata.name,NODE:.spec.node")
        self.heads = [head for head, _ in pairs]
        self.finders = [path(finder) for _, finder in pairs]
        self.header = header
        self._widths: list[int] = []

    def write(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Rows, below those before."""
        from pvehelm.chart.jsonpath import printed

        rows = [[",".join(map(printed, find(one))) or NOTHING for find in self.finders] for one in documents]
        self._widths = output.table(rows, self.heads, header=self.header, least=self._widths)
        self.header = False
