"""Go's template syntax where Jinja2 is expected: recognised, and explained by what to write instead."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pvehelm.chart.pattern import pattern

_ACTION = pattern(r"\{\{(-?)\s*(.*?)\s*(-?)\}\}", re.DOTALL)
_COMMENT = pattern(r"\{#.*?#\}", re.DOTALL)
WORDS = ("if", "range", "with", "end", "else", "define", "template", "block", "break", "continue")
_CALL = pattern(r"[A-Za-z_]\w*\s+(?:[.$\"'`(\d]|[A-Za-z_]\w*\b(?!\s*(?:if|else|in|is|and|or|not|~)\b))")


def actions(source: str) -> Iterator[tuple[int, int, str, str]]:
    """Each Go action in ``source``: line and column, the action, and its Jinja2 equivalent."""
    blocks: list[str] = []
    source = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), source)
    for found in _ACTION.finditer(source):
        body = found[2]
        if not _is_go(body):
            continue
        line = source.count("\n", 0, found.start()) + 1
        column = found.start() - source.rfind("\n", 0, found.start())
        shown = found[0] if len(found[0]) <= 80 else found[0][:77] + "..."
        yield line, column, shown, _jinja(body, found[1], found[3], blocks)


def _is_go(body: str) -> bool:
    if body.startswith(("/*", ".", "$", "(.", "($")):
        return True
    word = re.match(r"[A-Za-z_]+", body)
    if word and word[0] in WORDS and not re.match(r"\w+\s*(?:\(|\[|\.\w|$)", body):
        return True
    if body in ("end", "else", "break", "continue"):
        return True
    if re.search(r"(?:^|[\s(|])\.(?:[A-Z]\w*|(?=[\s)|]|$))", re.sub(r'"[^"]*"', '""', body)):
        return True
    outside = re.sub(r'"[^"]*"|\'[^\']*\'', '""', body)
    return bool(re.match(r"[A-Za-z_]\w*\s+[\"(.$\d]", outside) or re.search(r"\|\s*[A-Za-z_]\w*\s+[\"(.$\d]", outside))


def _jinja(body: str, left: str, right: str, blocks: list[str]) -> str:
    def tag(text: str) -> str:
        return "{%" + left + " " + text + " " + right + "%}"

    if body.startswith("/*"):
        return "{#" + left + " " + body[2:].removesuffix("*/").strip() + " " + right + "#}"
    word, _, rest = body.partition(" ")
    rest = rest.strip()
    if word == "end":
        return tag("end" + (blocks.pop() if blocks else "if"))
    if word == "else":
        return tag("elif " + expression(rest[3:]) if rest.startswith("if ") else "else")
    if word in ("break", "continue"):
        return tag(word)
    if word == "if":
        blocks.append("if")
        return tag("if " + expression(rest))
    if word == "with":
        blocks.append("with")
        return tag(f"with item = {expression(rest)}")
    if word == "range":
        blocks.append("for")
        return tag(_loop(rest))
    if word in ("define", "block"):
        blocks.append("define")
        return tag("define " + rest.split(" ")[0])
    if word == "template":
        return "{{" + left + " " + expression("include " + rest) + " " + right + "}}"
    assigned = re.match(r"\$(\w+)\s*:?=\s*(.*)", body, re.DOTALL)
    if assigned:
        return tag(f"set {assigned[1]} = {expression(assigned[2])}")
    return "{{" + left + " " + expression(body) + " " + right + "}}"


def _loop(rest: str) -> str:
    names, found, over = rest.partition(":=")
    if not found:
        return f"for item in {expression(rest)}"
    variables = [name.strip().lstrip("$") for name in names.split(",")]
    if len(variables) == 2:
        return f"for {variables[0]}, {variables[1]} in {expression(over)}.items()"
    return f"for {variables[0]} in {expression(over)}"


_TOKEN = pattern(r'\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\(|\)|\||[^\s()|]+)')


def expression(text: str) -> str:
    """A Go pipeline in Jinja2's words, as well as it can be done by its looks."""
    tokens = _TOKEN.findall(text)
    shown, _ = _pipeline(tokens, 0)
    return shown


_INFIX = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "and", "or": "or"}


def _pipeline(tokens: list[str], at: int) -> tuple[str, int]:
    stages: list[str] = []
    words: list[str] = []
    while at < len(tokens) and tokens[at] != ")":
        token = tokens[at]
        if token == "|":
            stages.append(_stage(words, first=not stages))
            words = []
        elif token == "(":
            inner, at = _pipeline(tokens, at + 1)
            suffix = ""
            if at + 1 < len(tokens) and tokens[at + 1].startswith("."):
                at += 1
                suffix = tokens[at]
            simple = re.fullmatch(r"[\w.]+(\(.*\))?", inner)
            words.append((inner if simple else f"({inner})") + suffix)
        else:
            words.append(_word(token))
        at += 1
    stages.append(_stage(words, first=not stages))
    return " | ".join(stage for stage in stages if stage), at


def _stage(words: list[str], *, first: bool) -> str:
    if not words:
        return ""
    head, *rest = words
    if head == "not" and rest:
        return "not " + " ".join(rest)
    if head in _INFIX and len(rest) >= 2:
        return f" {_INFIX[head]} ".join(rest)
    if head == "nil":
        return "none"
    if rest:
        return f"{head}({', '.join(rest)})"
    return head if not first or not re.fullmatch(r"(?:now|uuidv4|dict|list)", head) else f"{head}()"


def _word(token: str) -> str:
    if token in (".", "$"):
        return "_"
    if token.startswith("$."):
        return token[2:]
    if token.startswith("$"):
        return token[1:]
    if re.match(r"\.[A-Z]", token):
        return token[1:]
    if token.startswith("."):
        return "item" + token
    if token.startswith("`"):
        return repr(token[1:-1])
    return {"nil": "none"}.get(token, token)
