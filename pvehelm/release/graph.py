"""In which order: what is needed comes first, what goes away goes after whoever used it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pvehelm.release.change import Change, Op
from pvehelm.release.inventory import GUEST_KINDS, Inventory

# What a need may begin with that is no ref: all of a kind, every resource about a guest, whatever leaves a volume, the
# guest of a number.
INDIRECT = ("kind:", "guest:", "volume:", "vmid:")


def with_edges(changes: Mapping[str, Change], inventory: Inventory) -> list[Change]:
    """Needs narrowed to refs of this plan, and turned round for what goes away."""
    guests: dict[str, list[str]] = {}
    volumes: dict[str, str] = {}
    numbers: dict[str, str] = {}
    for ref, change in changes.items():
        if change.kind in GUEST_KINDS:
            numbers[str(change.key.get("vmid"))] = ref
        if change.kind == "HAResource" and change.wanted:
            for need in change.wanted.needs:
                guests.setdefault(need.removeprefix("vmid:"), []).append(ref)
        if change.kind == "Image" and change.wanted:
            volumes[image_volume(change.wanted.key)] = ref

    def known(needs: Sequence[str]) -> list[str]:
        found: list[str] = []
        for need in needs:
            if need.startswith("kind:"):
                found += [ref for ref, one in changes.items() if one.kind == need.removeprefix("kind:")]
            elif need.startswith("guest:"):
                found += guests.get(need.removeprefix("guest:"), [])
            elif need.startswith("vmid:"):
                found += [numbers[need.removeprefix("vmid:")]] if need.removeprefix("vmid:") in numbers else []
            elif need.startswith("volume:"):
                found += [volumes[need.removeprefix("volume:")]] if need.removeprefix("volume:") in volumes else []
            elif need in changes:
                found.append(need)
        return list(dict.fromkeys(found))

    needs: dict[str, list[str]] = {ref: [] for ref in changes}
    for ref, change in changes.items():
        explicit = list(change.owned.metadata.get("needs", ())) if change.owned else []
        before = inventory.entries[ref].metadata if ref in inventory.entries else {}
        inherited = (*before.get("after", ()), *before.get("needs", ()))
        if change.op in (Op.delete, Op.forget):
            # Whoever used it must have let go of it first: users are updated or deleted before it goes.
            for other in known([*change.needs, *explicit]):
                if changes[other].op in (Op.delete, Op.forget):
                    needs[other].append(ref)
            continue
        needs[ref] += [
            need for need in known([*change.needs, *explicit]) if changes[need].op not in (Op.delete, Op.forget)
        ]
        for old in known(inherited):
            if changes[old].op in (Op.delete, Op.forget):
                needs[old].append(ref)
    narrowed = {ref: tuple(n for n in dict.fromkeys(found) if n != ref) for ref, found in needs.items()}
    return [c if c.needs == narrowed[ref] else replace(c, needs=narrowed[ref]) for ref, c in changes.items()]


def with_needed(changes: Sequence[Change], refs: Iterable[str], more: Callable[[str], Iterable[str]]) -> list[Change]:
    """The changes of these refs and of whatever they need; ``more`` names what else goes with one."""
    by_ref = {change.ref: change for change in changes}
    found: set[str] = set()
    todo = list(refs)
    for ref in todo:
        if ref in by_ref and ref not in found:
            found.add(ref)
            todo += [*by_ref[ref].needs, *more(ref)]
    return [change for change in changes if change.ref in found]


def image_volume(key: Mapping[str, Any]) -> str:
    """The volume that an Image leaves: ``storage:content/filename``."""
    return str(key.get("volid") or f"{key.get('storage')}:{key.get('content')}/{key.get('filename')}")


def ordered(changes: Sequence[Change]) -> tuple[list[Change], list[str]]:
    """Changes so that what is needed comes first, else as written, and no circle; where they need each other in a
    circle, the changes as they are and the refs along it."""
    by_ref = {change.ref: change for change in changes}
    sorter = TopologicalSorter(
        {ref: [need for need in change.needs if need in by_ref] for ref, change in by_ref.items()}
    )
    try:
        return [by_ref[ref] for ref in sorter.static_order()], []
    except CycleError as error:
        return list(changes), list(reversed(error.args[1]))


def order(changes: Sequence[Change]) -> list[Change]:
    """Changes so that what is needed comes first; as they are when they need each other in a circle."""
    return ordered(changes)[0]


def levels(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes in rows that are done side by side: each as early as what it needs allows."""
    depth: dict[str, int] = {}
    for change in order(changes):
        depth[change.ref] = 1 + max((depth[need] for need in change.needs if need in depth), default=0)
    rows: list[list[Change]] = [[] for _ in range(max(depth.values(), default=0))]
    for change in changes:
        rows[depth[change.ref] - 1].append(change)
    return rows


COLOURS = {"create": "darkgreen", "update": "goldenrod", "replace": "red", "delete": "red"}


def dot(changes: Sequence[Change], name: str) -> str:
    """The graph of a plan in the language of Graphviz: an arrow leads from what is needed to what needs it."""

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    known = {change.ref for change in changes}
    lines = [f"digraph {quoted(name)} {{", "  rankdir=LR;", "  node [shape=box];"]
    for change in changes:
        colour = COLOURS.get(str(change.op), "gray40")
        label = quoted(change.ref)[:-1] + f'\\n{change.op}"'
        lines.append(f"  {quoted(change.ref)} [label={label}, color={colour}];")
    for change in changes:
        lines += [f"  {quoted(need)} -> {quoted(change.ref)};" for need in change.needs if need in known]
    return "\n".join([*lines, "}"]) + "\n"
