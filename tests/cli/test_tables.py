"""Tables for people: on a narrow terminal columns give way in the order that was declared, and no word is ever cut."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import struct
import sys
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.faces import fitting, output
from pvehelm.faces.cli.app import main
from tests.release.lab import Lab

HEADS = ("NAME", "NAMESPACE", "UPDATED", "STATUS", "DESCRIPTION")
ROW = ("web", "default", "2026-11-21 10:26:53Z", "deployed", "the first of many words that say what was done, and why")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def printed(rows: list[tuple[str, ...]], *, stream: io.StringIO | None = None, **how: object) -> list[str]:
    stream = stream or Terminal()
    output.table(rows, HEADS, stream, spare=("NAMESPACE", "UPDATED"), prose=("DESCRIPTION",), **how)  # type: ignore[arg-type]
    return stream.getvalue().splitlines()


@pytest.mark.usefixtures("width")
def test_prose_wraps_and_spare_columns_go() -> None:
    lines = printed([ROW])
    assert lines[0].split() == ["NAME", "NAMESPACE", "STATUS", "DESCRIPTION"]
    assert all(len(line) <= 60 for line in lines)
    assert " ".join(" ".join(line[24:].split()) for line in lines[1:]).endswith("what was done, and why")


@pytest.mark.usefixtures("width")
def test_piped_or_wide_is_whole() -> None:
    for lines in (printed([ROW], stream=io.StringIO()), printed([ROW], wide=True)):
        assert lines[0].split() == list(HEADS)
        assert lines[1].endswith("what was done, and why")


@pytest.mark.usefixtures("width")
def test_rows_that_come_later_stand_below() -> None:
    widths = output.table([ROW], HEADS, Terminal(), spare=("NAMESPACE", "UPDATED"), prose=("DESCRIPTION",))
    assert widths[2] == 0
    assert output.table([ROW], HEADS, stream := Terminal(), header=False, least=widths)[:4] == widths[:4]
    assert "2026" not in stream.getvalue()


@pytest.mark.usefixtures("width")
def test_what_says_nothing_goes_first() -> None:
    rows = [("web-of-the-shop", "", "2026-11-21 10:26:53Z", "deployed", "")]
    stream = Terminal()
    output.table(rows, HEADS, stream, spare=("UPDATED", "NAMESPACE", "DESCRIPTION"))
    assert set(stream.getvalue().splitlines()[0].split()) >= {"NAME", "UPDATED", "STATUS"}


MACHINE = "kind: VirtualMachine\nmetadata: { name: machine-of-the-web }\nspec: { node: pve-node1, power: stopped }\n"


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (30, "NAME STATUS"),
        (40, "NAME VMID STATUS CPU"),
        (60, "NAME VMID NODE STATUS CPU RELEASE"),
        (80, "NAME VMID NODE STATUS CPU CPUS MEM OF RELEASE"),
        (120, "NAME VMID NODE STATUS CPU CPUS MEM OF UPTIME RELEASE"),
    ],
)
def test_how_an_object_is_stays_longest(lab: Lab, width: int, heads: str) -> None:
    lab.monkeypatch.setenv("COLUMNS", str(width))
    lab.run("install", "web", lab.chart({"vm.yaml": MACHINE}))
    with contextlib.redirect_stdout(Terminal()) as shown:
        assert main(["get", "vm", "machine-of-the-web", "debian-12-template"]) == 0
    lines = shown.getvalue().splitlines()
    assert lines[0].split() == heads.split()
    assert all(len(line) <= width for line in lines)


def test_a_terminal_beside_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stdout is a pipe, what is drawn on stderr has the width of its own terminal."""
    monkeypatch.delenv("COLUMNS", raising=False)
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 33, 0, 0))
    read, write = os.pipe()
    with os.fdopen(theirs, "w") as terminal, os.fdopen(write, "w") as pipe:
        monkeypatch.setattr(sys, "__stdout__", pipe)
        assert output.terminal_width(terminal) == 33
        assert output.terminal_width(pipe) == 80
    os.close(ours)
    os.close(read)


def test_a_size_and_its_unit_stay_together(width: None) -> None:
    stream = Terminal()
    output.table([("a-name-that-is-long" * 3, "512 MiB")], ("NAME", "MEMORY"), stream)
    assert len(stream.getvalue().splitlines()) == 2


TEXT = st.text(st.sampled_from("ab-/ é漢"), max_size=30)


@given(
    rows=st.lists(st.tuples(*[TEXT] * len(HEADS)), max_size=6),
    room=st.integers(10, 120),
    spare=st.lists(st.sampled_from(HEADS[1:]), unique=True, max_size=3),
    prose=st.lists(st.sampled_from(HEADS), unique=True, max_size=2),
)
def test_no_word_is_cut(rows: list[tuple[str, ...]], room: int, spare: list[str], prose: list[str]) -> None:
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(room)
    try:
        stream = Terminal()
        widths = output.table(rows, HEADS, stream, spare=spare, prose=prose)
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    text = stream.getvalue()
    kept = [index for index, width in enumerate(widths) if width]
    assert all(head in spare for index, head in enumerate(HEADS) if index not in kept)
    for row in rows:
        assert all(word in text for index in kept for word in row[index].split(" "))
    # Where a line is too long, the words of one column each are, side by side, or one word alone is.
    longest = [max([len(HEADS[i]), *(fitting.cells_of(w) for row in rows for w in row[i].split(" "))]) for i in kept]
    if sum(longest) + 2 * (len(kept) - 1) <= room and max(longest) <= fitting.WORD:
        assert all(fitting.cells_of(line) <= room for line in text.splitlines())


@given(st.floats(1, 4e9), st.floats(1, 4e9))
def test_times_sort_as_they_are(one: float, two: float) -> None:
    first, second = sorted((one, two))
    assert output.when(first) <= output.when(second)
    assert output.rfc3339(first)[:19].replace("T", " ") + "Z" in (output.when(first), output.when(first + 1e-6))


def test_one_style_of_times(lab: Lab) -> None:
    lab.run("install", "web", lab.chart({"pool.yaml": "kind: Pool\nmetadata: { name: web }\n"}))
    for words in (["list"], ["history", "web"], ["status", "web"]):
        assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ\s", lab.run(*words).out), words
    for words in (["list"], ["history", "web"]):
        assert "T" in lab.run(*words, "-o", "json").json[0]["updated"]


@pytest.mark.parametrize(
    ("stream", "shown"),
    [(Terminal(), "a\\x1b[31m b\nc"), (io.StringIO(), "a\x1b[31m b\r\nc")],
    ids=["terminal", "pipe"],
)
def test_a_charts_file_does_not_drive_the_terminal(stream: io.StringIO, shown: str) -> None:
    output.emit_file("a\x1b[31m b\r\nc", stream)
    assert stream.getvalue() == shown
