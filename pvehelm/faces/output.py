"""What people see: tables that fit, plans with colours, JSON and YAML for programs. Nothing heavy is imported here."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TextIO

from pvehelm.errors import Problem, PvehelmError

if TYPE_CHECKING:
    from pvehelm.release.event import Event
    from pvehelm.release.plan import Change, Plan
    from pvehelm.release.release import Release, Revision

CODES = {"green": 32, "yellow": 33, "red": 31, "cyan": 36, "bold": 1, "dim": 2}
COLOURS = {
    "create": "green",
    "update": "yellow",
    "replace": "red",
    "delete": "red",
    "forget": "dim",
    "keep": "dim",
    "run": "cyan",
}
# Whether tables are printed with all of their columns, however wide: ``-o wide``.
WIDE: ContextVar[bool] = ContextVar("wide", default=False)
EFFECTS = {"live": "live", "reboot": "at next reboot", "recreate": "recreates", "data_loss": "DESTROYS DATA"}


def colours_wanted(stream: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """``NO_COLOR`` off, ``FORCE_COLOR`` on, else what the stream is."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


def paint(text: str, colour: str, on: bool) -> str:
    return f"\x1b[{CODES[colour]}m{text}\x1b[0m" if on and colour and text else text


def printable(text: str) -> str:
    """Text from charts or servers without control characters that would drive the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def emit_file(text: str, stream: TextIO | None = None) -> None:
    """A file of a chart, as it is; to a terminal without what would drive it."""
    stream = stream or sys.stdout
    stream.write(printable(text.replace("\r\n", "\n")) if stream.isatty() else text)


def terminal_width(stream: TextIO | None = None) -> int:
    """Columns of the terminal, as ``shutil`` finds them, which would load three ways of packing files; where stdout is
    a pipe those of ``stream``; 80 where there is none."""
    with suppress(ValueError):
        if (told := int(os.environ.get("COLUMNS", ""))) > 0:
            return told
    for one in (sys.__stdout__, stream):
        with suppress(AttributeError, ValueError, OSError):
            return os.get_terminal_size(one.fileno()).columns or 80  # type: ignore[union-attr]
    return 80


# -- formats ---------------------------------------------------------------------------------------------------


def emit_data(data: Any, how: str, stream: TextIO | None = None) -> None:
    """``data`` as JSON or YAML, or as a template (``jsonpath=...``) prints it."""
    stream = stream or sys.stdout
    if "=" in how:
        from pvehelm.faces.templates import template

        stream.write(template(how)(json.loads(json.dumps(data, default=str))))
    elif how == "json":
        stream.write(json.dumps(data, indent=2 if stream.isatty() else None, default=str, ensure_ascii=False) + "\n")
    else:
        from pvehelm.chart.yaml import dump

        text = dump(json.loads(json.dumps(data, default=str)), width=None)
        stream.write(text if text.endswith("\n") else text + "\n")


def table(
    rows: Sequence[Sequence[Any]],
    heads: Sequence[str],
    stream: TextIO | None = None,
    *,
    header: bool = True,
    least: Sequence[int] = (),
    spare: Sequence[str] = (),
    prose: Sequence[str] = (),
    wide: bool = False,
) -> list[int]:
    """Columns aligned. On a terminal that is too narrow, those of ``prose`` wrap and those of ``spare`` are left out,
    the first one first, unless everything is wanted (``wide``, ``-o wide``); nothing is ever cut.

    ``least`` are widths (in characters) that columns have at least, 0 for one that was left out; returned are those
    that they have.
    """
    stream = stream or sys.stdout
    texts = [[printable(str(cell)).replace("\n", " ") for cell in row] for row in rows]
    lines = [list(heads), *texts] if header else texts
    if not lines:
        return list(least)
    length: Callable[[str], int] = len
    pad: Callable[[str, int], str] = str.ljust
    if not all(cell.isascii() for line in lines for cell in line):
        from pvehelm.faces.fitting import cells_of as length
        from pvehelm.faces.fitting import padded as pad
    widths, gap = [max(1, *(length(line[i]) for line in lines)) for i in range(len(heads))], 3
    if least:
        widths = [max(pair) if pair[1] else 0 for pair in zip(widths, least, strict=True)]
    elif stream.isatty() and not (wide or WIDE.get()):
        room = terminal_width(stream)
        if sum(widths) + gap * (len(widths) - 1) > room:
            from pvehelm.faces.fitting import fit, wrapped

            widths, gap = fit(lines, heads, room, spare, prose)
            lines = [
                list(row)
                for line in lines
                for row in zip_longest(
                    *(wrapped(cell, width) if width else [""] for cell, width in zip(line, widths, strict=True)),
                    fillvalue="",
                )
            ]
    for line in lines:
        cells = [pad(cell, width) for cell, width in zip(line, widths, strict=True) if width]
        stream.write((" " * gap).join(cells).rstrip() + "\n")
    return widths


def show(how: str, data: Any, rows: Callable[[], object], *, names: Iterable[str] = ()) -> None:
    """``data`` for programs, ``rows`` for people; ``names`` are all that ``-o name`` prints."""
    if how == "name":
        sys.stdout.writelines(f"{name}\n" for name in names)
    elif how in ("json", "yaml") or "=" in how:
        emit_data(data, how)
    else:
        rows()


def when(seconds: float) -> str:
    """A time for people, in UTC; nothing for 0, which means never."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds)) if seconds else ""


def rfc3339(seconds: float) -> str:
    """A time for programs, in UTC, to the microsecond; nothing for 0, which means never."""
    whole, parts = divmod(round(seconds * 1_000_000), 1_000_000)
    fraction = f".{parts:06d}" if parts else ""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f"{fraction}Z" if seconds else ""


# -- releases (shapes as Helm prints them) ---------------------------------------------------------------------


def chart_label(revision: Revision) -> str:
    return f"{revision.chart_name}-{revision.chart_version}" if revision.chart_name else "-"


LISTED = ("NAME", "NAMESPACE", "REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION")
HISTORY = ("REVISION", "UPDATED", "STATUS", "CHART", "APP VERSION", "DESCRIPTION")


def list_row(release: Release) -> dict[str, Any]:
    current = release.current
    return {
        "name": release.key.name,
        "namespace": release.key.namespace,
        "revision": str(current.number),
        "updated": rfc3339(current.updated),
        "status": str(release.status),
        "chart": chart_label(current),
        "app_version": current.app_version,
    }


def list_cells(release: Release) -> list[str]:
    """LISTED of a release."""
    row = list_row(release) | {"updated": when(release.current.updated)}
    return list(row.values())


def history_row(revision: Revision) -> dict[str, Any]:
    row = {
        "revision": revision.number,
        "updated": rfc3339(revision.updated),
        "status": str(revision.status),
        "chart": chart_label(revision),
        "app_version": revision.app_version,
        "description": revision.description,
    }
    return row | ({"rollback_revision": revision.rollback_of} if revision.rollback_of else {})


def release_row(release: Release, revision: Revision) -> dict[str, Any]:
    return {
        "name": release.key.name,
        "info": {
            "first_deployed": rfc3339(release.created),
            "last_deployed": rfc3339(revision.updated),
            "deleted": rfc3339(revision.updated) if str(revision.status) == "uninstalled" else "",
            "description": revision.description,
            "status": str(release.status if revision.number == release.current.number else revision.status),
            "notes": revision.notes,
        },
        "chart": {
            "metadata": {
                "name": revision.chart_name,
                "version": revision.chart_version,
                "appVersion": revision.app_version,
            }
        },
        "config": revision.user_values,
        "manifest": revision.manifest,
        "version": revision.number,
        "namespace": release.key.namespace,
        "labels": revision.labels,
    }


def release_text(release: Release, revision: Revision, stream: TextIO | None = None, *, notes: bool = True) -> None:
    """The block that install, upgrade and status end with."""
    stream = stream or sys.stdout
    row = release_row(release, revision)
    stream.write(f"NAME: {release.key.name}\n")
    stream.write(f"LAST DEPLOYED: {when(revision.updated)}\n")
    stream.write(f"NAMESPACE: {release.key.namespace}\nSTATUS: {row['info']['status']}\nREVISION: {revision.number}\n")
    if revision.chart_name:
        stream.write(f"CHART: {chart_label(revision)}\n")
    stream.write(f"DESCRIPTION: {printable(revision.description)}\n")
    if notes and revision.notes.strip():
        stream.write(notes_text(release, revision))


def notes_text(release: Release, revision: Revision) -> str:
    """The notes under their headline, which says so where they speak of the release by an older name."""
    from pvehelm.release.release import CALLED

    called = release.current.user_values.get(CALLED, release.key.name)
    head = "NOTES" if called == release.key.name else f'NOTES (of the chart, which still calls the release "{called}")'
    return f"{head}:\n{printable(revision.notes.strip())}\n"


# -- plans -----------------------------------------------------------------------------------------------------


def value_text(value: Any) -> str:
    if value is None:
        return "(unset)"
    if isinstance(value, Mapping) and set(value) == {"hmac"}:
        return "<secret>"
    if isinstance(value, str):
        return (
            json.dumps(printable(value), ensure_ascii=False)
            if not value or value != value.strip() or "\n" in value
            else printable(value)
        )
    return json.dumps(value, ensure_ascii=False, default=str)


def plan_text(
    plan: Plan,
    stream: TextIO | None = None,
    *,
    unchanged: bool = False,
    against: Sequence[tuple[str, Sequence[Problem]]] = (),
) -> None:
    """A plan, one resource after the other, with the effect of every change; ``against`` is what forbids it."""
    from pvehelm.release.plan import SIGNS

    stream = stream or sys.stdout
    on = colours_wanted(stream)
    for change in plan.changes:
        if not change.acts and not unchanged and str(change.op) != "forget":
            continue
        colour = COLOURS[str(change.op)]
        mark = " (experimental kind)" if change.experimental else ""
        tail = f"  {EFFECTS[change.effect.name]}" if change.effect.name not in ("live",) else ""
        head = f"{SIGNS[change.op]} {change.ref}  {change.op}: {change.reason}{mark}"
        stream.write(
            paint(head, colour, on) + paint(tail, "red" if change.effect.name == "data_loss" else "yellow", on) + "\n"
        )
        for row in field_lines(change):
            stream.write(paint(row, colour, on) + "\n")
        for loss in change.losses:
            stream.write(paint(f"    ! {loss} is destroyed", "red", on) + "\n")
    waiting = [c for c in plan.changes if c.pending]
    for change in waiting:
        stream.write(paint(f"  {change.ref} waits for a restart: {', '.join(sorted(change.pending))}\n", "yellow", on))
    for note in plan.notes:
        stream.write(paint(f"  note: {note}\n", "dim", on))
    for title, problems in against:
        for problem in problems:
            stream.write(f"{title}: {problem_text(problem, on)}\n")
    told = "; ".join(f"{len(problems)} {title.lower()}" for title, problems in against if problems)
    if told and plan.empty:
        stream.write(f"Plan: {told}.\n")
    else:
        stream.write(f"Plan: {plan.summary()}{f'; {told}' if told else ''}.\n")


def dry_text(plan: Plan) -> None:
    """A plan that was asked for alone, and what stands against it."""
    plan_text(plan, against=(("Can't be done", plan.problems), ("Refused", plan.refusals)))


def field_lines(change: Change) -> Iterable[str]:
    """The fields of a change as a plan shows them."""
    if str(change.op) in ("create", "replace"):
        for row in change.fields:
            if row.after is not None:
                yield f"    + {row.leaf}: {value_text(row.after)}"
        return
    for row in change.fields:
        tail = f"   [{EFFECTS[row.effect.name]}]" if EFFECTS[row.effect.name] else ""
        tail += f"   ({row.reason})" if row.reason else ""
        before, after = value_text(row.before), value_text(row.after)
        if isinstance(row.before, list) and isinstance(row.after, list):
            yield f"    ~ {row.leaf}:{tail}"
            yield from _list_lines(row.before, row.after)
        elif row.after is None:
            yield f"    - {row.leaf}: {before}{tail}"
        elif row.before is None:
            yield f"    + {row.leaf}: {after}{tail}"
        else:
            yield f"    ~ {row.leaf}: {before} -> {after}{tail}"


def _list_lines(before: list[Any], after: list[Any]) -> Iterable[str]:
    import difflib

    one, two = [value_text(v) for v in before], [value_text(v) for v in after]
    for line in difflib.ndiff(one, two):
        if not line.startswith("?"):
            yield f"        {line}"


# -- errors ----------------------------------------------------------------------------------------------------


def error_text(error: PvehelmError, stream: TextIO | None = None) -> None:
    """An error for people: what, where, what to do; every problem on its own lines."""
    stream = stream or sys.stderr
    on = colours_wanted(stream)
    stream.write(paint("Error: ", "red", on) + printable(str(error)) + "\n")
    for problem in error.problems:
        stream.write("  " + problem_text(problem, on) + "\n")
    if error.hint:
        stream.write(paint(f"  hint: {printable(error.hint)}", "cyan", on) + "\n")


def problem_text(problem: Problem, on: bool) -> str:
    where = paint(printable(problem.where), "bold", on) + ": " if problem.where else ""
    what = printable(problem.what).replace("\n", "\n    ")
    hint = "\n    " + paint(f"hint: {printable(problem.hint)}", "cyan", on) if problem.hint else ""
    return f"{where}{what}{hint}"


# -- progress --------------------------------------------------------------------------------------------------


class Progress:
    """Events as they come: one live line for each running change on a terminal, plain lines elsewhere."""

    SHOWN = (
        "change-started",
        "change-done",
        "change-failed",
        "change-skipped",
        "retry",
        "note",
        "waiting",
        "ready",
        "log",
    )

    def __init__(self, how: str = "table", stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.events = how in ("json", "yaml")
        self.live = self.stream.isatty() and how == "table" and os.environ.get("TERM") != "dumb"
        self.running: dict[str, str] = {}
        self.drawn = 0
        self.done = 0
        self.total = 0
        self.on = colours_wanted(self.stream)

    def __call__(self, event: Event) -> None:
        if self.events:
            self.stream.write(json.dumps(event.as_dict(), default=str) + "\n")
            return
        if event.type == "plan":
            self.total = int(event.data.get("changes", 0))
        elif event.type in ("step", "change-started"):
            self.running[event.ref] = event.message
        elif event.type == "waiting":
            self.running[event.ref] = f"not ready: {event.message}"
        elif event.type == "ready":
            self.running.pop(event.ref, None)
        elif event.type in ("change-done", "change-failed", "change-skipped"):
            self.running.pop(event.ref, None)
            # What a hook makes is a part of the hook.
            self.done += event.type == "change-done" and not event.data.get("inner")
        line = self._line(event)
        if self.live:
            self._clear()
            if line and event.type not in ("change-started", "waiting"):
                self.stream.write(line + "\n")
            self._draw()
        elif line and event.type in self.SHOWN:
            self.stream.write(line + "\n")
        self.stream.flush()

    def _line(self, event: Event) -> str:
        message = printable(event.message)
        if event.type == "change-started":
            return f"{event.ref}: {message} ..."
        if event.type == "change-done":
            return paint(f"{event.ref}: {message} done", "green", self.on)
        if event.type == "change-failed":
            return paint(f"{event.ref}: failed: {message}", "red", self.on)
        if event.type == "change-skipped":
            return paint(f"{event.ref}: not begun: {message}", "yellow", self.on)
        if event.type == "waiting":
            return f"{event.ref}: not ready: {message}"
        if event.type == "ready":
            return paint(f"{event.ref}: ready", "green", self.on)
        if event.type == "log":
            return paint(f"{event.ref} | {message}" if event.ref else message, "dim", self.on)
        if event.type in ("retry", "note"):
            return f"{event.ref}: {message}" if event.ref else message
        return ""

    def _draw(self) -> None:
        room = terminal_width(self.stream) - 1
        rows = list(self.running.items())[-8:]
        for ref, message in rows:
            self.stream.write(paint(f"  {ref}: {printable(message)}"[:room], "cyan", self.on) + "\n")
        if self.total > 1 and rows:
            filled = 24 * self.done // self.total
            self.stream.write(f"  [{'#' * filled}{'.' * (24 - filled)}] {self.done}/{self.total}\n")
        self.drawn = len(rows) + (self.total > 1 and bool(rows))

    def _clear(self) -> None:
        if self.drawn:
            self.stream.write(f"\x1b[{self.drawn}A\x1b[J")
            self.drawn = 0
