"""YAML's flow collections around an expression: ``[a, {{ x }}]`` and ``{ name: {{ x }} }``.

A line is looked at by itself: a collection that begins further above is not recognised, and what is printed there
stays as it is.
"""

from __future__ import annotations

import re

_OPENING = re.compile(r"\s*(?:- +)*(?:(?:[\w./$@-][^:#\n\"'{\[]*|\"[^\"\n]*\"|'[^'\n]*')[ ]*:[ \t]+)?(?=[\[{])")
_TOKEN = re.compile(
    r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|[\[\]{},]|:(?=\s|\Z)|\s+#|\s+|[^\[\]{},:\s\"'#]+|.", re.DOTALL
)
KEY_END = re.compile(r"[ \t]*:(?:\s|\Z)")
_END = re.compile(r"[ \t]*(?:[,\]}\n]|[ \t]#|\Z)")

#: What a plain text cannot hold inside a flow collection.
_MARKS = re.compile(r"[\[\]{},]")
_QUOTED = re.compile(r"(?s)\".*\"\Z|'.*'\Z")


def flowing(text: str) -> bool:
    """Whether ``text`` has a character that means something in flow collections only, and is not quoted."""
    return bool(_MARKS.search(text)) and not _QUOTED.match(text)


def is_item(line: str, text: str, rest: str) -> bool:
    """Whether ``text`` is one whole value or key in a flow collection.

    ``line`` is what stands before it on its line, ``rest`` what follows. In a list a text with commas is several
    items, as in ``[{{ names | join(", ") }}]``.
    """
    head = _OPENING.match(line)
    if not head:
        return False
    opened: list[str] = []
    before = ""
    for found in _TOKEN.finditer(line, head.end()):
        token = found[0]
        if token.isspace():
            continue
        if token in "[{":
            if before not in ("", "[", "{", ",", ":"):
                return False
            opened.append(token)
        elif token in "]}":
            if not opened:
                return False
            opened.pop()
            if not opened:
                return False
        elif token.lstrip().startswith("#") and token != "#":
            return False
        before = token
    if not opened:
        return False
    if KEY_END.match(rest):
        return opened[-1] == "{" and before in ("{", ",")
    if not _END.match(rest):
        return False
    if opened[-1] == "[":
        return before in ("[", ",") and "," not in text
    return before == ":"
