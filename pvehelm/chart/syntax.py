"""The syntax error: what libyaml says of a text that is no YAML, told to people."""

from __future__ import annotations

from yaml.error import MarkedYAMLError
from yaml.reader import ReaderError

from pvehelm.errors import Problem

_HINTS = (
    ("found character '\\t'", "YAML does not allow tabs for indentation; use spaces"),
    ("cannot start any token", "indent with spaces, not tabs, and quote text that starts with @, ` or %"),
    (
        "mapping values are not allowed",
        "quote a text that holds ': ', and check that the line is indented like its neighbours",
    ),
    ("expected <block end>", "check the indentation: this line does not line up with the ones above"),
    ("did not find expected key", "check the indentation: this line does not line up with the ones above"),
    ("could not find expected ':'", "a key needs ': ' with a space after the colon"),
    ("unexpected end of stream", "a quote that was opened is never closed"),
    ("undefined alias", "define it before with &NAME, or quote a text that starts with *"),
    ("did not find expected alphabetic", "quote a text that starts with * or &"),
    ("did not find expected ',' or", "a [list] or {map} that was opened is not closed, or a comma is missing"),
)


def told(error: MarkedYAMLError, file: str) -> Problem:
    """The parser's error with its place and a hint at the usual cause."""
    mark = error.problem_mark or error.context_mark
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark is not None else file
    what = error.problem or error.context or "not YAML"
    hint = next((hint for part, hint in _HINTS if part in what), "")
    if error.context and error.context_mark is not None and error.problem:
        what += f" ({error.context} that begins in line {error.context_mark.line + 1})"
    return Problem(where, what, hint)


def character(error: ReaderError, text: str, file: str) -> Problem:
    """A character that no YAML may hold. libyaml gives its place in bytes."""
    position = error.position if isinstance(error.position, int) else 0
    before = text.encode()[:position].decode(errors="ignore")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return Problem(f"{file}:{line}:{column}", str(error.reason), "remove the character, or write it as an escape")
