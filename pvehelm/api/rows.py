"""Rows that are one list of their parent: the ordered rules of a firewall scope or group, the entries of an IP set.

A new rule always goes to the top of a list (``pos`` is ignored) and moves from there, ``moveto`` puts it *before* that
index and does nothing else. So an ordered list is brought to its new content like this, and at no moment is a rule
missing that both the old and the new list have:

1. rows that stay (a longest common subsequence) are not touched;
2. a row that changes but keeps type and action is changed in place;
3. new rows are put in from the bottom up; where order matters (anything but ACCEPT among the rows) they come disabled
   and are switched on from the top down once all are in place;
4. only then what is no longer wanted goes, from the bottom.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

from pvehelm.api import formats, values
from pvehelm.api.kind import Step
from pvehelm.api.schema import Facts
from pvehelm.api.scopes import segment
from pvehelm.api.table import Children

Row = dict[str, Any]
# The order in which people read a row.
ORDER = (
    *("type", "action", "macro", "proto", "icmp-type", "source", "sport", "dest", "dport"),
    *("cidr", "nomatch", "iface", "log", "comment", "enable"),
)
ACTIONS = ("ACCEPT", "DROP", "REJECT")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]+\Z")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]+(/[0-9.]+)?(-[0-9a-fA-F.:]+)?\Z")


# -- one row --------------------------------------------------------------------------------------------------


def prepared(facts: Facts, value: Any) -> Any:
    """A value of a row as the checks take it: YAML's booleans for ``enable``, numbers for ports."""
    if isinstance(value, bool) and facts.get("type") == "integer":
        return int(value)
    if isinstance(value, list | tuple) and facts.get("type", "string") == "string" and not values.is_list(facts):
        return ",".join(str(item) for item in value)
    return value


def normal_row(facts: Mapping[str, Facts], row: Any, shape: str) -> Row:
    """A row of a manifest or of the server in normal form: only settable keys, empty ones left out.

    Of ordered rows ``enable`` is always there: on unless it says otherwise, which is the manifest's habit; the server's
    rows always carry it.
    """
    if isinstance(row, str):
        row = {"cidr": row}
    found: Row = {}
    for name, value in row.items():
        if name in facts and value is not None and value != "":
            found[name] = values.normal(facts[name], prepared(facts[name], value))
    if "comment" in found:
        found["comment"] = str(found["comment"]).partition("\n")[0].strip()
        if not found["comment"]:
            del found["comment"]
    if shape == "ordered":
        found["enable"] = int(bool(found.get("enable", 1)))
    elif not found.get("nomatch"):
        found.pop("nomatch", None)
    # One order of keys, so that two rows that mean the same look the same.
    return {name: found[name] for name in sorted(found, key=_rank)}


def _rank(name: str) -> tuple[int, str]:
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def live_row(facts: Mapping[str, Facts], row: Mapping[str, Any], shape: str) -> Row:
    """A row of the server; there a missing ``enable`` is off."""
    return normal_row(facts, {"enable": 0, **row} if shape == "ordered" else row, shape)


def canonical(row: Row) -> tuple[tuple[str, str], ...]:
    """What a row means, for comparing: macro and addresses in one spelling, no log like ``nolog``."""
    found = dict(row)
    if found.get("log") == "nolog":
        del found["log"]
    if "macro" in found:
        found["macro"] = str(found["macro"]).lower()
    for name in ("source", "dest"):
        if name in found:
            found[name] = ",".join(sorted(canonical_cidr(part) for part in formats.split_list(str(found[name]))))
    if "proto" in found:
        found["proto"] = str(found["proto"]).lower()
    for name in ("dport", "sport"):
        if name in found:
            found[name] = ",".join(sorted(str(found[name]).replace(" ", "").split(",")))
    if "cidr" in found:
        found["cidr"] = canonical_cidr(str(found["cidr"]))
    return tuple(sorted((name, str(value)) for name, value in found.items()))


def canonical_cidr(text: str) -> str:
    """An address, network or alias in one spelling, host bits dropped as an IP set drops them."""
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return text.lower()
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def same_rows(shape: str, wanted: Any, live: Any) -> bool:
    """Whether two lists of rows mean the same: in order, or as a set of entries."""
    one, other = ([canonical(row) for row in side or []] for side in (wanted, live))
    return one == other if shape == "ordered" else sorted(one) == sorted(other)


def references(row: Row) -> Iterator[str]:
    """What a row names: its security group, IP sets and aliases, as ``Kind/name``."""
    if row.get("type") == "group" and row.get("action"):
        yield f"SecurityGroup/{row['action']}"
    for name in ("source", "dest", "cidr"):
        for part in formats.split_list(str(row.get(name, ""))):
            kind = "IPSet" if part.startswith("+") else "Alias"
            bare = part.removeprefix("+")
            bare = bare.removeprefix("dc/").removeprefix("guest/").removeprefix("sdn/")
            if _NAME.match(bare) and not _is_address(part):
                yield f"{kind}/{bare}"


def _is_address(text: str) -> bool:
    return ("." in text or ":" in text) and bool(_ADDRESS.match(text))


def problems(row: Mapping[str, Any], below: Children, place: str) -> Iterator[tuple[str, str, str]]:
    """What the server refuses beyond the schema: (key, what, hint)."""
    if below.shape == "keyed":
        try:
            if ipaddress.ip_network(str(row.get("cidr")), strict=False).prefixlen == 0:
                yield "cidr", "an entry that means every address is not allowed", ""
        except ValueError:
            pass
        return
    type_, action = str(row.get("type", "")), str(row.get("action", ""))
    allowed = below.types.get(type_)
    if allowed is not None and place not in allowed:
        words = ", ".join(name for name, places in below.types.items() if place in places)
        yield "type", f"rules of type '{type_}' do not exist here", f"one of {words}"
    elif type_ == "group" and "group" not in below.types:
        yield "type", "a security group can't hold another one", ""
    elif type_ != "group" and action and not values.is_open(action) and action not in ACTIONS:
        hint = action.upper() if action.upper() in ACTIONS else ", ".join(ACTIONS)
        yield "action", f"'{action}' is no action", f"use {hint}; for a security group the type is group"
    if place in ("vm", "ct") and row.get("iface") and not re.fullmatch(r"net\d+", str(row["iface"])):
        yield "iface", f"'{row['iface']}' is no interface of a guest", "net0, net1, ..."


# -- ordered lists --------------------------------------------------------------------------------------------


def fingerprint(shape: str, listed: Iterable[Row]) -> str:
    """A short text that is another one for every list that means something else."""
    found = [canonical(row) for row in listed]
    text = repr(found if shape == "ordered" else sorted(found))
    return f"{shape}:{sha256(text.encode()).hexdigest()[:16]}"


def is_as(seen: Mapping[str, Any], moment: str, listed: Iterable[Row]) -> bool:
    """Whether a list is as a step says (``Step.seen``) that it is ``before`` or ``after`` it."""
    meant = str(seen[moment])
    return fingerprint(meant.partition(":")[0], listed) == meant


def _told(name: str, shape: str, before: Sequence[Row], after: Sequence[Row]) -> dict[str, Any]:
    """What a step on a row of the list ``name`` says of itself: sent twice, it would change another row."""
    if values.has_open([*before, *after]):
        return {}
    return {"list": name, "before": fingerprint(shape, before), "after": fingerprint(shape, after)}


def ordered_steps(
    path: str, name: str, live: Sequence[Row], wanted: Sequence[Row], *, digest: str = "", careful: bool = True
) -> list[Step]:
    """The calls that make the list ``name`` from ``live`` (top first) into exactly ``wanted``; ``careful`` where
    traffic may depend on it."""
    plan = _Rewrite(path, name, live, wanted, careful=careful)
    steps = plan.run()
    if steps and digest:
        steps[0] = replace(steps[0], params={**steps[0].params, "digest": digest})
    return steps


class _Rewrite:
    """One ordered list on its way; ``current`` mirrors the server: (row, index in wanted or None)."""

    def __init__(self, path: str, name: str, live: Sequence[Row], wanted: Sequence[Row], *, careful: bool) -> None:
        self.path = path
        self.name = name
        self.wanted = [dict(row) for row in wanted]
        self.steps: list[Step] = []
        self.current: list[tuple[Row, int | None]] = []
        pairs = _pairs(live, wanted)
        for index, row in enumerate(live):
            self.current.append((dict(row), pairs.get(index)))
        ordered = any(row.get("enable") and row.get("action") != "ACCEPT" for row in (*live, *wanted))
        self.late = careful and ordered

    def call(
        self, method: str, path: str, params: Mapping[str, Any], note: str, then: list[tuple[Row, int | None]]
    ) -> None:
        """A call after which the server has the list ``then``."""
        before, after = ([row for row, _ in side] for side in (self.current, then))
        self.current = then
        seen = _told(self.name, "ordered", before, after)
        self.steps.append(Step(method, path, dict(params), note=note, seen=seen))

    def run(self) -> list[Step]:
        placed = {index for _, index in self.current if index is not None}
        for index in reversed(range(len(self.wanted))):
            if index not in placed:
                self._insert(index)
        for position, (row, meant) in enumerate(list(self.current)):
            if meant is not None:
                self._settle(position, row, meant)
        for position in reversed(range(len(self.current))):
            if self.current[position][1] is None:
                left = [*self.current[:position], *self.current[position + 1 :]]
                self.call("DELETE", f"{self.path}/{position}", {}, "remove a rule", left)
        return self.steps

    def _insert(self, index: int) -> None:
        row = self.wanted[index]
        sent = {**row, "enable": 0} if self.late else row
        # The place before the next wanted row that is there already, whatever is to go stands between.
        below = (at for at, (_, taken) in enumerate(self.current) if taken is not None and taken > index)
        target = next(below, len(self.current))
        added, rest = (dict(sent), index), self.current
        self.call("POST", self.path, sent, "add a rule", [added, *rest])
        if target > 0:
            placed = [*rest[:target], added, *rest[target:]]
            self.call("PUT", f"{self.path}/0", {"moveto": target + 1}, "put it in its place", placed)

    def _settle(self, position: int, row: Row, index: int) -> None:
        wanted = self.wanted[index]
        if canonical(row) == canonical(wanted):
            return
        params = {name: value for name, value in wanted.items() if row.get(name) != value}
        gone = sorted(name for name in row if name not in wanted)
        if gone:
            params["delete"] = ",".join(gone)
        note = "switch the rule on" if list(params) == ["enable"] and params["enable"] else "change a rule"
        changed = [*self.current[:position], (wanted, index), *self.current[position + 1 :]]
        self.call("PUT", f"{self.path}/{position}", params, note, changed)


def _pairs(live: Sequence[Row], wanted: Sequence[Row]) -> dict[int, int]:
    """Index in live -> index in wanted of the rows that stay or are changed in place; increasing in both."""
    kept = _common([canonical(row) for row in live], [canonical(row) for row in wanted])
    found = dict(kept)
    # A row that is wanted at another place stays as it is until its copy there is on.
    moving = {canonical(row) for index, row in enumerate(wanted) if index not in found.values()}
    edges = [(-1, -1), *kept, (len(live), len(wanted))]
    for (above_live, above_wanted), (below_live, below_wanted) in pairwise(edges):
        ours = [i for i in range(above_live + 1, below_live) if canonical(live[i]) not in moving]
        theirs = range(above_wanted + 1, below_wanted)
        alike = _common([_family(live[i]) for i in ours], [_family(wanted[i]) for i in theirs])
        found |= {ours[one]: theirs[other] for one, other in alike}
    return found


def _family(row: Row) -> tuple[str, str]:
    return str(row.get("type")), str(row.get("action"))


def _common(one: Sequence[Any], other: Sequence[Any]) -> list[tuple[int, int]]:
    """A longest common subsequence as pairs of indices."""
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i in reversed(range(len(one))):
        for j in reversed(range(len(other))):
            longer = max(lengths[i + 1][j], lengths[i][j + 1])
            lengths[i][j] = lengths[i + 1][j + 1] + 1 if one[i] == other[j] else longer
    found, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


# -- sets -----------------------------------------------------------------------------------------------------


def keyed_steps(path: str, name: str, key: str, live: Sequence[Row], wanted: Sequence[Row]) -> list[Step]:
    """The calls that make the set ``name`` from ``live`` into ``wanted``: what is new first, what goes last."""
    have = {canonical_cidr(str(row[key])): row for row in live}
    want = {canonical_cidr(str(row[key])): row for row in wanted}
    steps: list[Step] = []
    current = dict(have)

    def call(method: str, path: str, params: Mapping[str, Any], note: str, then: dict[str, Row]) -> None:
        nonlocal current
        seen = _told(name, "keyed", [*current.values()], [*then.values()])
        steps.append(Step(method, path, params, note=note, seen=seen))
        current = then

    for known, row in want.items():
        if known not in have:
            call("POST", path, row, "add an entry", {**current, known: row})
    for known, row in want.items():
        old = have.get(known)
        if old is not None and canonical(old) != canonical(row):
            # The PUT replaces the entry: what is not sent is gone.
            params = {field: value for field, value in row.items() if field != key}
            call("PUT", f"{path}/{segment(old[key])}", params, "replace an entry", {**current, known: row})
    for known, row in have.items():
        if known not in want:
            left = {other: one for other, one in current.items() if other != known}
            call("DELETE", f"{path}/{segment(row[key])}", {}, "remove an entry", left)
    return steps
