"""The layout of a converted template: its tags, and how each takes the blanks around it.

Jinja2 takes a line away that has nothing but a tag (``trim_blocks`` and ``lstrip_blocks``); Go takes what the minus
signs say. Where all tags of a block stand alone on their lines both come to the same, and the tags need no signs;
elsewhere ``{%-``, ``{%+``, ``-%}`` and ``+%}`` say exactly what Go would do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from pvehelm.chart.gotpl.lexer import Token, tokens

_COMMENT_END = re.compile(r"[ \t\r\n]-\}\}|\}\}")
_LINE_START = re.compile(r"(?:\A|\n)([ \t]*)\Z")
_ONLY_TAG = re.compile(r"\s*\{\{.*\}\}\s*")
_OPENER = re.compile(r"(?:^|[\s:-])[|>][+-]?\d?[+-]?[ \t]*(?:#.*)?\Z")
_TRAILING = re.compile(r"[ \t]+(?=\r?\n)")
_OPENING = ("if", "with", "range", "define", "block")


@dataclass
class Tag:
    """An action of the source. ``word`` is its keyword, ``comment``, or "" for a pipeline; ``tokens`` what is in it."""

    start: int
    end: int
    left: bool
    right: bool
    word: str
    tokens: list[Token]
    #: The first tag of the block that this one opens, divides or closes.
    block: int = -1
    #: Whether it prints, as a pipeline and ``template`` do.
    prints: bool = False
    #: Whether it is written without signs, on a line of its own.
    plain: bool = False
    blanks: str = field(default="", repr=False)


def tags(source: str, *, silent: bool = False, texts: bool = False, exact: bool = False) -> list[Tag]:
    """The actions of a source that the parser has taken.

    ``silent``: nothing outside of its definitions is printed; ``texts``: it is YAML whose texts are templates each;
    ``exact``: no blank more or less, as for what is hashed.
    """
    found: list[Tag] = []
    pending: list[Token] = []
    for token in tokens(source, comments=True):
        if token.kind == "comment":
            left = source.startswith("{{-", token.pos - 4) and source[token.pos - 1] in " \t\r\n"
            start = token.pos - (4 if left else 2)
            close = _COMMENT_END.match(source, token.pos + len(token.value))
            end = close.end() if close else len(source)
            found.append(Tag(start, end, left, end - (token.pos + len(token.value)) > 2, "comment", [token]))
        elif token.kind == "right":
            right = not source.startswith("}}", token.pos)
            start = pending[0].pos
            left = source[start : start + 3] == "{{-" and source[start + 3] in " \t\r\n"
            inner = pending[1:]
            kind = inner[0].kind if inner else ""
            word = kind if kind in (*_OPENING, "else", "end", "template", "break", "continue") else ""
            found.append(Tag(start, token.pos + (4 if right else 2), left, right, word, inner))
            pending = []
        elif token.kind == "left":
            pending = [token]
        elif pending:
            pending.append(token)
    _pair(found)
    for tag in found:
        if not tag.prints and not tag.right and (blanks := _TRAILING.match(source, tag.end)):
            tag.end = blanks.end()
    _place(source, found, silent, texts)
    if exact:
        for tag in found:
            tag.plain = False
    return found


def _pair(found: list[Tag]) -> None:
    opened: list[int] = []
    for index, tag in enumerate(found):
        tag.prints = tag.word == "template" or (tag.word == "" and not _assigns(tag))
        if tag.word in _OPENING:
            opened.append(index)
        tag.block = opened[-1] if opened and tag.word in (*_OPENING, "else", "end") else index
        if tag.word == "end" and opened:
            opened.pop()


def _assigns(tag: Tag) -> bool:
    return len(tag.tokens) > 1 and tag.tokens[0].kind == "variable" and tag.tokens[1].kind in ("assign", "declare")


def _place(source: str, found: list[Tag], silent: bool, texts: bool) -> None:
    """Decides which tags are plain: all of a block, or none of it."""
    exact: set[int] = set()
    depth = 0
    for index, tag in enumerate(found):
        before = source[found[index - 1].end if index else 0 : tag.start]
        start = _LINE_START.search(before)
        leads = start is not None and (index == 0 or "\n" in before)
        tag.blanks = start[1] if start and leads else ""
        opens = tag.word in ("define", "block")
        depth += opens
        unseen = silent and not depth and tag.word == "comment"
        if depth or tag.prints or not leads or not _alone(source, found, index) or _matters(source, tag, before):
            exact.update(() if unseen else (tag.block,))
        if texts and _OPENER.search(before.rstrip()):
            exact.add(tag.block)
        if tag.word == "end" and found[tag.block].word in ("define", "block"):
            depth -= 1
    _settle(source, found, exact)
    for tag in found:
        tag.plain = tag.block not in exact


def _settle(source: str, found: list[Tag], exact: set[int]) -> None:
    """In a text of several lines, what comes before an exact tag that takes a line's end has to be exact as well."""
    pairs = [
        (one.block, other.block)
        for one, other in pairwise(found)
        if other.left and not other.prints and not source[one.end : other.start].strip() and in_block(source, one.start)
    ]
    while True:
        more = {before for before, after in pairs if after in exact and before not in exact}
        if not more:
            return
        exact |= more


def _alone(source: str, found: list[Tag], index: int) -> bool:
    tag = found[index]
    if tag.right or (index and found[index - 1].right):
        return False
    if tag.end < len(source) and source[tag.end : tag.end + 2] != "\r\n" and source[tag.end] != "\n":
        return False
    if index + 1 < len(found):
        # What is printed next may be meant to go on with the line before.
        following = found[index + 1]
        between = source[tag.end : following.start]
        if following.left and not between.strip() and following.prints:
            words = {token.value for token in following.tokens}
            return "fail" in words or ("nindent" in words and not in_block(source, tag.start))
    return True


def _matters(source: str, tag: Tag, before: str) -> bool:
    """Whether a line more or less would be seen: in a text of several lines."""
    same = tag.left and before == "\n" + tag.blanks
    same = same or (tag.left and before.rstrip(" \t\r\n") + "\n" + tag.blanks == before)
    return not same and (in_block(source, tag.start) or in_block(source, _next(source, tag.end)))


def _next(source: str, at: int) -> int:
    """Where the next line begins, behind its blanks, that has something other than tags: a tag may stand less deep
    than the text that it is in."""
    line = source.find("\n", at)
    while line >= 0:
        end = source.find("\n", line + 1)
        shown = source[line + 1 : end if end >= 0 else None]
        if shown.strip() and not _ONLY_TAG.fullmatch(shown):
            return line + 1 + len(shown) - len(shown.lstrip())
        line = end
    return at


def in_block(source: str, at: int) -> bool:
    """Whether a place is within a ``key: |`` above it, as far as the indentation shows."""
    lines = source[:at].split("\n")
    depth = len(lines[-1]) if not lines[-1].strip() else len(lines[-1]) - len(lines[-1].lstrip())
    depth = max(depth, 1)
    for line in reversed(lines[:-1]):
        if not line.strip() or _ONLY_TAG.fullmatch(line):
            continue
        indent = len(line) - len(line.lstrip())
        if indent < depth:
            if _OPENER.search(line):
                return True
            depth = indent
            if not depth:
                return False
        elif indent == 0:
            return False
    return False


def written(source: str, tag: Tag, parts: list[str]) -> str:
    """A tag as Jinja2 has it: ``parts`` are statements, ``=`` before an expression, ``#`` before a comment."""
    shown = []
    for index, part in enumerate(parts):
        first, last = index == 0, index == len(parts) - 1
        kind = part[0] if part[0] in "=#" else "%"
        body = part.removeprefix(kind).strip() if kind != "%" else part
        opening, closing = {"=": ("{{", "}}"), "#": ("{#", "#}"), "%": ("{%", "%}")}[kind]
        if first and not tag.plain:
            opening += "-" if tag.left else "+" if kind != "=" and tag.blanks else ""
        if last and not tag.plain:
            line_ends = source[tag.end : tag.end + 1] == "\n" or source[tag.end : tag.end + 2] == "\r\n"
            closing = ("-" if tag.right else "+" if kind != "=" and line_ends else "") + closing
        shown.append(f"{opening} {body} {closing}")
    return "".join(shown)


def text(source: str) -> str:
    """Text of the template where Jinja2 would see its own marks."""
    return re.sub(r"\{(?=[%#{])", '{{ "{" }}', source)
