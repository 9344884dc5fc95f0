"""The examples of the documentation: fenced blocks marked ``console``, run in order on a scratch simulator.

In a block a line that begins with ``$ `` is a command; the lines up to the next one are what it prints, compared with
its standard output (and its standard error where it fails). ``...`` stands for any text within a line, and alone on a
line for any lines. Spaces at the ends of lines and how wide columns are do not count. Commands with no lines below them
are run, and have to succeed. Files that an example needs are blocks whose first line is ``# FILE: name``.

Commands are of a small shell: ``pvehelm ...``, ``cat``, ``mkdir -p``, ``export NAME=value`` and ``cd``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\A# FILE: (\S+)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text and the line it begins at."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    words: tuple[str, ...]
    expected: str  # "" is anything
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _FENCE.finditer(text):
        yield Block(found[1], found[2], text.count("\n", 0, found.start()) + 1)


def file(block: Block) -> tuple[str, str] | None:
    """The name and text of the file that a block shows."""
    found = _FILE.match(block.text)
    return (found[1], block.text[found.end() :]) if found else None


def commands(block: Block) -> Iterator[Command]:
    lines = block.text.splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
    assert starts[:1] == [0], f"line {block.line}: a console block begins with a command"
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        line = lines[start][2:]
        yield Command(
            tuple(shlex.split(line, comments=True)), "\n".join(lines[start + 1 : end]), block.line + start + 1
        )


def matches(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page shows."""
    parts = []
    for line in expected.strip("\n").splitlines():
        line = " ".join(line.split())
        if line == "...":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part) for part in line.split("...")) + r"\n")
    printed = "".join(" ".join(line.split()) + "\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch("".join(parts), printed) is not None
