"""The assertion: one thing that a rendered chart must be, by helm-unittest's names.

A rule looks at each chosen document alone, and holds when it holds for all of them, or at what was rendered as a whole
(``failedTemplate``, ``hasDocuments``, ``containsDocument``, ``isValid``, the raw ones). ``not: true``, or the name with
``not`` in front, turns it round. Nothing chosen to look at is a failure too.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from pvehelm.chart import jsonpath
from pvehelm.chart.views import MISSING, Pick, View, difference, found_at, inline, is_, same, within
from pvehelm.chart.yaml import dump
from pvehelm.errors import InvalidError, UsageError


class Verdict(NamedTuple):
    """Whether it holds, and in words: what was looked at, what there is, what should be."""

    holds: bool
    what: str
    found: Any
    wanted: str
    # What to compare line by line where both are long.
    compare: Any = None
    # The whole message, where the words above don't make one.
    told: str = ""


@dataclass(frozen=True)
class Rule:
    """An assertion's name, what it needs and takes, and how it is looked at: document by document, or ``whole``."""

    name: str
    look: Callable[..., Verdict]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    whole: bool = False

    def check(self, args: Mapping[str, Any]) -> None:
        """Raises InvalidError for arguments that can't mean anything."""
        try:
            for text in (args.get("path", ""), *_paths(args)):
                jsonpath.path(str(text))
            for key in ("pattern", "errorPattern"):
                if key in args:
                    re.compile(str(args[key]))
        except UsageError as error:
            raise InvalidError(error.message, hint=error.hint) from None
        except re.error as error:
            raise InvalidError(f"{args.get('pattern', args.get('errorPattern'))!r} is no pattern: {error}") from None
        if "count" in args and (not isinstance(args["count"], int) or isinstance(args["count"], bool)):
            raise InvalidError(f"{self.name}: count is a whole number")


@dataclass(frozen=True)
class Assertion:
    """A rule with its arguments, what it looks at, its place in the suite and its number in the case, from 1."""

    rule: Rule
    args: Mapping[str, Any]
    negated: bool
    pick: Pick
    where: str
    number: int

    def failures(self, view: View) -> list[str]:
        """What is not as it says; none where it holds."""
        if self.rule.whole:
            return self._told(self.rule.look(view, self.args, self.pick, self.number), "")
        if view.errors is not None:
            return []  # Told once, by whoever runs the case.
        documents, wrong = self.pick.documents(view)
        if wrong:
            return [wrong]
        if not documents:
            return [] if self.pick.selector.get("skipEmptyTemplates") else ["there is no document to look at"]
        return [told for one in documents for told in self._told(self.rule.look(one.data, self.args), one.label)]

    def _told(self, verdict: Verdict, label: str) -> list[str]:
        if verdict.holds is not self.negated:
            return []
        if verdict.told:
            return [verdict.told]
        head = f"{label}: " if label else ""
        what = f"{verdict.what} is" if verdict.what else "there is"
        message = f"{head}{what} {inline(verdict.found)}, expected {'not ' if self.negated else ''}{verdict.wanted}"
        if not self.negated and verdict.compare is not None:
            message = f"{head}{verdict.what} differs\n{difference(verdict.compare, verdict.found)}"
        return [message]


def _one(data: Any, args: Mapping[str, Any]) -> tuple[str, Any, bool]:
    """The path, what it leads to (a list where it leads to several), and whether it leads anywhere."""
    path = str(args.get("path", ""))
    found = found_at(data, path)
    return path or "the document", (found[0] if len(found) == 1 else found or MISSING), bool(found)


def _decoded(data: Any, args: Mapping[str, Any]) -> tuple[str, Any, bool]:
    """As :func:`_one`, out of base64 where the assertion says so; what is no base64 stays as it is."""
    what, found, there = _one(data, args)
    if args.get("decodeBase64") is True and there and isinstance(found, str):
        with suppress(ValueError):
            found = base64.b64decode(found, validate=True).decode("utf-8", "replace")
    return what, found, there


def _paths(args: Mapping[str, Any]) -> list[Any]:
    return args["paths"] if isinstance(args.get("paths"), list) else []


def _long(value: Any) -> bool:
    return (isinstance(value, str) and "\n" in value) or (
        isinstance(value, (Mapping, list)) and len(inline(value)) > 60
    )


# -- rules for documents -------------------------------------------------------------------------------------------


def _equal(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _decoded(data, args)
    wanted = args["value"]
    compare = wanted if there and _long(found) and _long(wanted) else None
    return Verdict(there and same(found, wanted), what, found, inline(wanted), compare)


def _match(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _decoded(data, args)
    text = found if isinstance(found, str) else inline(found)
    holds = there and re.search(str(args["pattern"]), text) is not None
    return Verdict(holds, what, found, f"to match {args['pattern']!r}")


def _contains(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    wanted, count = args["content"], args.get("count")
    fits: Callable[[Any, Any], bool] = within if args.get("any") else same
    if isinstance(found, str) and there:
        hits = found.count(str(wanted))
    else:
        hits = sum(fits(wanted, one) for one in found) if isinstance(found, list) and there else 0
    times = f" {count} times" if count is not None else ""
    return Verdict(hits == count if count is not None else hits > 0, what, found, f"to contain {inline(wanted)}{times}")


def _exists(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    return Verdict(there, what, found, "to be there")


def _null(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    return Verdict(not there or found is None, what, found, "null")


def _empty(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    return Verdict(not there or not found, what, found, "empty")


def _type(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    wanted = str(args["type"])
    names = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "map", type(None): "null"}
    name = names.get(type(found), "map") if there else ""
    alias = {
        "integer": "int",
        "number": "float",
        "array": "list",
        "object": "map",
        "boolean": "bool",
        "float64": "float",
    }
    meant = alias.get(wanted, wanted)
    return Verdict(name == meant or (name == "int" and meant == "float"), what, found, f"a {wanted}")


def _kind(data: Any, args: Mapping[str, Any]) -> Verdict:
    return _equal(data, {"path": "kind", "value": args["of"]})


def _api_version(data: Any, args: Mapping[str, Any]) -> Verdict:
    return _equal(data, {"path": "apiVersion", "value": args["of"]})


def _subset(data: Any, args: Mapping[str, Any]) -> Verdict:
    what, found, there = _one(data, args)
    return Verdict(there and within(args["content"], found), what, found, f"to hold {inline(args['content'])}")


def _length(data: Any, args: Mapping[str, Any]) -> Verdict:
    paths = [str(one) for one in _paths(args)] or [str(args.get("path", ""))]
    ends = {path: _one(data, {"path": path})[1] for path in paths}
    sizes = {path: len(end) for path, end in ends.items() if isinstance(end, (list, dict, str))}
    wanted = args.get("count", next(iter(sizes.values()), 0))
    holds = len(sizes) == len(ends) and all(size == wanted for size in sizes.values())
    found = sizes if len(paths) > 1 else sizes.get(paths[0], MISSING)
    return Verdict(holds, f"the length of {', '.join(paths)}", found, inline(wanted))


def _compared(sign: str, test: Callable[[Any, Any], bool]) -> Callable[[Any, Mapping[str, Any]], Verdict]:
    def look(data: Any, args: Mapping[str, Any]) -> Verdict:
        what, found, there = _one(data, args)
        try:
            holds = there and test(found, args["value"])
        except TypeError:
            holds = False
        return Verdict(holds, what, found, f"{sign} {inline(args['value'])}")

    return look


# -- rules for the whole ---------------------------------------------------------------------------------------------


def _failed(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    errors = view.errors or ()
    message, pattern = args.get("errorMessage"), args.get("errorPattern")
    hits = [
        error
        for error in errors
        if (message is None or str(message).strip() in error)
        and (pattern is None or re.search(str(pattern), error) is not None)
    ]
    told = f" with {message!r}" if message is not None else f" matching {pattern!r}" if pattern is not None else ""
    found = list(errors) if errors else "no failure"
    return Verdict(view.errors is not None and bool(hits), "", found, f"a failure{told}")


def _count(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    documents, wrong = pick.documents(view)
    if wrong and (args["count"] or not (pick.ref or pick.selector)):
        return Verdict(False, "", wrong, "documents")
    kind = args.get("kind")
    found = [one for one in documents if kind is None or is_(one.data, {"kind": kind})]
    noun = kind or "documents"
    return Verdict(len(found) == args["count"], f"the number of {noun}", len(found), str(args["count"]))


def _has(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    documents, _ = pick.documents(view)
    wanted = {key: value for key, value in args.items() if key != "any"}
    labels = [one.label for one in documents]
    return Verdict(any(is_(one.data, wanted) for one in documents), "", labels, f"a document with {inline(wanted)}")


def _text(view: View, pick: Pick) -> str:
    return "\n".join(text for _, text in sorted(pick.texts(view).items()))


def _equal_raw(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    found, wanted = _text(view, pick).strip(), str(args["value"]).strip()
    return Verdict(found == wanted, "the text", found, inline(wanted), wanted)


def _match_raw(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    found = _text(view, pick)
    return Verdict(
        re.search(str(args["pattern"]), found) is not None, "the text", found, f"to match {args['pattern']!r}"
    )


def _snapshot(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    documents, wrong = pick.documents(view)
    if wrong:
        return Verdict(False, "", wrong, "something to compare")
    path = str(args.get("path", ""))
    text = "---\n".join(dump(found, width=None) for one in documents for found in found_at(one.data, path))
    return _kept(view, text, number)


def _snapshot_raw(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    return _kept(view, _text(view, pick).strip() + "\n", number)


def _kept(view: View, text: str, number: int) -> Verdict:
    told = view.snapshot(number, text) if view.errors is None else ""
    return Verdict(not told, "", told, "the snapshot", told=told)


def _valid(view: View, args: Mapping[str, Any], pick: Pick, number: int) -> Verdict:
    version = str(args.get("pveVersion", ""))
    wrong = [*(view.errors or ()), *view.invalid(version)]
    return Verdict(not wrong, "what is wrong", wrong, f"nothing{f' on Proxmox VE {version}' if version else ''}")


def _rules() -> Iterator[Rule]:
    at = ("path",)
    yield Rule("equal", _equal, ("path", "value"), ("decodeBase64",))
    yield Rule("matchRegex", _match, ("path", "pattern"), ("decodeBase64",))
    yield Rule("contains", _contains, ("path", "content"), ("count", "any"))
    yield Rule("exists", _exists, at)
    yield Rule("isNull", _null, at)
    yield Rule("isEmpty", _empty, at)
    yield Rule("isNullOrEmpty", _empty, at)
    yield Rule("isType", _type, ("path", "type"))
    yield Rule("isKind", _kind, ("of",))
    yield Rule("isAPIVersion", _api_version, ("of",))
    yield Rule("isSubset", _subset, ("content",), at)
    yield Rule("lengthEqual", _length, (), ("path", "paths", "count"))
    yield Rule("greaterOrEqual", _compared("at least", lambda one, two: one >= two), ("path", "value"))
    yield Rule("lessOrEqual", _compared("at most", lambda one, two: one <= two), ("path", "value"))
    yield Rule("hasDocuments", _count, ("count",), ("kind", "filterAware"), whole=True)
    yield Rule("containsDocument", _has, ("kind",), ("apiVersion", "name", "namespace", "any"), whole=True)
    yield Rule("failedTemplate", _failed, (), ("errorMessage", "errorPattern"), whole=True)
    yield Rule("isValid", _valid, (), ("pveVersion",), whole=True)
    yield Rule("equalRaw", _equal_raw, ("value",), whole=True)
    yield Rule("matchRegexRaw", _match_raw, ("pattern",), whole=True)
    yield Rule("matchSnapshot", _snapshot, (), at, whole=True)
    yield Rule("matchSnapshotRaw", _snapshot_raw, (), whole=True)


RULES = {rule.name: rule for rule in _rules()}
