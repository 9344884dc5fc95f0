"""The excerpt: a line of a template under the message about it."""

from __future__ import annotations


def excerpt(source: str, line: int, column: int) -> str:
    """Line ``line`` of ``source`` with a mark under ``column``, ready to follow a message."""
    lines = source.split("\n")
    if not 0 < line <= len(lines):
        return ""
    shown, start = lines[line - 1].rstrip().replace("\t", " "), 0
    if len(shown) > 120:
        start = max(0, min(column - 60, len(shown) - 120))
        shown = shown[start : start + 120]
    number = str(line)
    mark = " " * max(column - 1 - start, 0) + "^"
    return f"\n  {number} | {shown}\n  {' ' * len(number)} | {mark}"
