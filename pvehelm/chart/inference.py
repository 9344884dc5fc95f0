"""The inferred schema: ``values.schema.json`` from a commented ``values.yaml``.

Types come from the values, descriptions from the comments right above a key (or behind its value); the ``--`` of
helm-docs begins one where there is more in the comment. Annotations in comments say what a value cannot:

* ``# @schema minimum: 1, maximum: 10``: keywords of JSON Schema, as YAML; ``required: true`` is for the key itself;
  over several lines between two lines of ``# @schema``;
* ``## @param web.port [integer,nullable] The port``: Bitnami's form, anywhere in the file.

Maps that have keys are closed; ``# @schema additionalProperties: true`` opens one, and a schema there makes it a map of
such things, whose keys in values.yaml are examples. Keys that end like ``password`` are marked ``x-sensitive``. What
somebody has written into the schema by hand stays: see :func:`infer`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.yaml import Path_, dotted, load
from pvehelm.errors import InvalidError, Problem

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_COMMENT = re.compile(r"\s*#+ ?(.*)\Z")
_BEHIND = re.compile(r"""\A(?:[^'"#]|'[^']*'|"(?:[^"\\]|\\.)*"|(?<!\s)\#)*\s\#+\s*(.*)\Z""")
_PARAM = re.compile(r"@param\s+(\S+)\s*(?:\[([^\]]*)\])?\s*(.*)")
_SECRET = re.compile(r"(password|passphrase|secret|token|private_?key)\Z", re.IGNORECASE)
_TYPES: dict[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}
_WORDS = frozenset(_TYPES.values()) | {"null"}
#: What always follows values.yaml, where it says something.
_FOLLOWS = ("description", "default")


def infer(chart: Chart) -> tuple[str, list[Problem]]:
    """The text of the schema, and what in the present one has no value any more (it is kept).

    Of the present schema every keyword stays as it is, but that descriptions, defaults and what annotations say follow
    values.yaml, new values are added, and a type that the default does not have is replaced. Raises InvalidError for
    annotations that make no sense, each with its line.
    """
    reader = Comments(chart)
    made = _schema(chart.values, (), reader)
    for need in chart.metadata.dependencies:
        made["properties"].setdefault(need.key, {"type": "object"})
        # The subchart's own schema says what is in there.
        if "additionalProperties" in made["properties"][need.key]:
            made["properties"][need.key]["additionalProperties"] = True
    made["properties"].setdefault("global", {"type": "object"})
    if any(need.tags for need in chart.metadata.dependencies):
        made["properties"].setdefault("tags", {"type": "object"})
    reader.check()
    titled = {"$schema": DIALECT, "title": chart.metadata.name, **made}
    stale: list[Path_] = []
    whole = _kept(titled, chart.schema or {}, (), stale)
    file = chart.file("values.schema.json")
    told = [Problem(file, f"{dotted(path)} is kept, though values.yaml has no such value") for path in stale]
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n", told


class Comments:
    """What the comments of a values.yaml say about each path; see the module for their form."""

    def __init__(self, chart: Chart) -> None:
        self.file = chart.file("values.yaml")
        self.marks = chart.values_marks
        self.lines = chart.values_text.splitlines()
        self.problems: list[Problem] = []
        self.params: dict[str, tuple[str, dict[str, Any]]] = {}
        for number, line in enumerate(self.lines, 1):
            found = _PARAM.search(line) if line.lstrip().startswith("#") else None
            if found:
                self.params[found[1]] = (found[3].strip(), self._modifiers(found[2] or "", number))

    def bad(self, line: int, what: str, hint: str = "") -> None:
        self.problems.append(Problem(f"{self.file}:{line}", what, hint))

    def check(self) -> None:
        """Raises InvalidError with everything that was wrong."""
        if self.problems:
            problems = list(dict.fromkeys(self.problems))
            raise InvalidError(f"{self.file}: annotations that cannot be read", problems)

    def about(self, path: Path_) -> tuple[str, dict[str, Any]]:
        """The description of the value at ``path`` and the keywords of its annotations."""
        described, keywords = self.params.get(dotted(path), ("", {}))
        mark = self.marks.get(path)
        if mark is None or isinstance(path[-1], int):
            return described, keywords
        above, own = self._above(mark.line - 1)
        if not above and mark.line <= len(self.lines):
            behind = _BEHIND.match(self.lines[mark.line - 1])
            above = behind[1].strip() if behind else ""
        return described or above, {**keywords, **own}

    def _above(self, line: int) -> tuple[str, dict[str, Any]]:
        """The comment that ends on the line before (counted from 0)."""
        start = line
        while start > 0 and self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        words: list[str] = []
        keywords: dict[str, Any] = {}
        block: list[str] | None = None
        for number in range(start, line):
            text = (_COMMENT.match(self.lines[number]) or ["", ""])[1]
            if text.strip() == "@schema":
                if block is not None:
                    keywords |= self._keywords("\n".join(block), number)
                block = [] if block is None else None
            elif block is not None:
                block.append(text)
            elif text.lstrip().startswith("@schema"):
                keywords |= self._keywords(text.strip()[len("@schema") :].strip(), number + 1)
            elif text.lstrip().startswith("--"):
                words = [text.lstrip()[2:].strip()]
            elif not text.lstrip().startswith("@"):
                words.append(text.strip())
        if block is not None:
            self.bad(line, "@schema is not closed", "a line with @schema alone begins and ends several lines")
        return " ".join(filter(None, words)), keywords

    def _keywords(self, text: str, line: int) -> dict[str, Any]:
        body = text if "\n" in text or text.startswith("{") else "{" + text + "}"
        try:
            found = load(body, file=self.file)
        except InvalidError as error:
            what = error.problems[0].what if error.problems else str(error)
            self.bad(line, f"@schema {text.strip()[:80]!r}: {what}", "for example: @schema minimum: 1, maximum: 10")
            return {}
        if not isinstance(found, dict) or None in found.values():
            self.bad(line, f"@schema {text.strip()[:80]!r} is no list of keywords", "KEYWORD: VALUE, KEYWORD: VALUE")
            return {}
        return found

    def _modifiers(self, text: str, line: int) -> dict[str, Any]:
        words = [word.strip() for word in text.split(",") if word.strip()]
        types = [word for word in words if word in _WORDS]
        for word in words:
            if word not in _WORDS and word != "nullable" and not word.startswith("default:"):
                self.bad(
                    line, f"@param: {word!r} is not known", f"nullable, default: ..., or {', '.join(sorted(_WORDS))}"
                )
        if "nullable" in words:
            return {"type": [*types, "null"]} if types else {"x-nullable": True}
        return {"type": types[0] if len(types) == 1 else types} if types else {}


class _Part(dict[str, Any]):
    """A part of a schema; ``said`` are the keywords that an annotation gives."""

    said: frozenset[str] = frozenset()


def _schema(value: Any, path: Path_, comments: Comments) -> _Part:
    described, keywords = comments.about(path) if path else ("", {})
    out = _Part()
    out.said = frozenset(keywords) - {"x-nullable"}
    if type(value) in _TYPES:
        out["type"] = _TYPES[type(value)]
    if described:
        out["description"] = described
    if isinstance(value, dict) and (value or not path):
        out["properties"] = {key: _schema(item, (*path, key), comments) for key, item in value.items()}
        required = [key for key, part in out["properties"].items() if part.pop("required", None) is True]
        if required:
            out["required"] = required
        out["additionalProperties"] = False
    elif isinstance(value, list):
        items = _items(value, path, comments)
        if items:
            out["items"] = items
    if path and isinstance(path[-1], str) and isinstance(value, str | None) and _SECRET.search(path[-1]):
        out["x-sensitive"] = True
    if keywords.pop("x-nullable", False) and isinstance(out.get("type"), str):
        out["type"] = [out["type"], "null"]
    out.update(keywords)
    if isinstance(keywords.get("additionalProperties"), dict) and "properties" not in keywords:
        out.pop("properties", None)  # a map of things of one kind, by name: the default's keys are examples
    if out.get("x-sensitive") is True:
        return out
    if path and value is not None and not isinstance(value, dict) and (not isinstance(value, list) or not value):
        out.setdefault("default", value)
    return out


def _items(value: list[Any], path: Path_, comments: Comments) -> dict[str, Any]:
    """What the items of a list have in common."""
    kinds = {type(item) for item in value}
    if len(kinds) != 1:
        return {}
    if kinds == {dict}:
        parts = [_schema(item, (*path, index), comments) for index, item in enumerate(value)]
        merged: dict[str, Any] = {}
        for part in parts:
            for key, inner in (part.get("properties") or {}).items():
                inner.pop("default", None)
                merged.setdefault(key, inner)
        # Further items may have keys that none of these has.
        return {"type": "object", "properties": merged}
    kind = kinds.pop()
    return {"type": _TYPES[kind]} if kind in _TYPES else {}


def _kept(made: Any, present: Any, path: Path_, stale: list[Path_]) -> Any:
    """``made`` with everything that ``present`` says otherwise, or besides."""
    if not isinstance(made, dict) or not isinstance(present, dict):
        return present if present is not None else made
    out: dict[str, Any] = {}
    said = made.said if isinstance(made, _Part) else frozenset()
    for key in [*made, *(key for key in present if key not in made)]:
        if key not in present:
            # A reference or a choice says all there is; a type beside it would only contradict.
            if key not in ("type", "properties", "items", "additionalProperties") or not _says_elsewhere(present):
                out[key] = made[key]
        elif key in said:
            out[key] = made[key]
        elif key not in made or (key not in _FOLLOWS and key not in ("properties", "items", "type")):
            out[key] = present[key]
        elif key == "properties" and isinstance(present[key], dict):
            out[key] = {}
            for name in [*made[key], *(name for name in present[key] if name not in made[key])]:
                if name not in made[key]:
                    stale.append((*path, name))
                    out[key][name] = present[key][name]
                else:
                    out[key][name] = _kept(made[key][name], present[key].get(name, {}), (*path, name), stale)
        elif key == "items":
            out[key] = _kept(made[key], present[key], (*path, 0), [])
        elif key == "type":
            out[key] = present[key] if _covers(present[key], made[key]) else made[key]
        else:
            out[key] = made[key]
    return out


def _says_elsewhere(present: Mapping[str, Any]) -> bool:
    return any(word in present for word in ("$ref", "anyOf", "oneOf", "allOf", "const", "enum"))


def _covers(present: Any, made: Any) -> bool:
    allowed = set(present if isinstance(present, list) else [present])
    wanted = set(made if isinstance(made, list) else [made])
    return all(kind in allowed or (kind == "integer" and "number" in allowed) for kind in wanted)
