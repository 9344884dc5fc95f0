"""Direct verbs are as safe as releases: killed anywhere, and every call failing in every way, one more command finds
out what became of them and leaves nothing behind.

The default run tries a sample of each verb of ``direct.yaml``, ``pytest -m sweep`` everything.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.release.lab import load_cases
from tests.release.sweeps.bench import WAYS, Bench, State, difference
from tests.release.sweeps.process import Call, Script

CASES = load_cases("release/direct.yaml")
SEED = int(os.environ.get("PVEHELM_SWEEP_SEED", "9"))
EACH = 3
SET = """
kind: VirtualMachine
metadata: { name: web-0, labels: { app: web } }
spec: { node: pve-node1, template: debian-12-template, memory: 512 }
---
kind: VirtualMachine
metadata: { name: web-1, labels: { app: web } }
spec: { node: pve-node2, memory: 512 }
---
kind: Container
metadata: { name: db }
spec:
  node: pve-node1
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  rootfs: { storage: shared-nfs, size: 1G }
"""


@dataclass
class Verb:
    """One of ``direct.yaml`` with its states, and what it does when nothing happens."""

    name: str
    run: list[str]
    again: list[list[str]]
    old: State
    new: State
    steps: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    done: int = 0


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = Bench(tmp_path / "bench")
    made.patch.setenv("EDITOR", "sed -i s/512/1024/")
    (tmp_path / "set.yaml").write_text(SET)
    yield made
    made.end()


def prepare(bench: Bench, case: dict[str, Any], folder: Path) -> Verb:
    def words(text: str) -> list[str]:
        return [str(folder / "set.yaml") if word == "SET" else word for word in shlex.split(text)]

    for text in case.get("before", ()):
        bench.run(*words(text))
    old = bench.keep(folder / "old")
    script = Script()
    bench.follow(script, words(case["run"]))
    clean(bench)
    new = bench.keep(folder / "new")
    again = [words(text) for text in case["again"]]
    return Verb(case["name"], words(case["run"]), again, old, new, script.steps, script.calls, case.get("done", 0))


def clean(bench: Bench) -> None:
    """Nothing is left of a verb that has ended: no journal, no claim, no mark of its own, no lease."""
    with bench.store() as store:
        cluster = bench.state.cluster_id
        assert store.by_themselves(cluster) == []
        assert store.db.value("SELECT count(*) FROM journal WHERE ok IS NULL") == 0
        owned = {int(o.identifier["vmid"]) for _, o in store.owned(cluster) if o.identifier.get("vmid")}
        assert store.reserved(cluster) == owned, "a reservation is left or missing"
        assert not [row["scope"] for row in store.db.rows("SELECT scope FROM leases") if store.holder(row["scope"])]
    for vmid, guest in bench.guests().items():
        marked = "pvehelm release=" in guest["config"].get("description", "")
        assert marked == (int(vmid) in owned), f"the mark of {vmid}"
    volumes = {document.get("vmid") for document in bench.state.collection("volumes").values()}
    assert {str(vmid) for vmid in volumes if vmid} <= {*bench.guests(), "9000"}, "an orphan volume"


def ends(bench: Bench, *wanted: State) -> None:
    clean(bench)
    found = [list(difference("", state.shape, bench.shape())) for state in wanted]
    assert not all(found), "\n".join(min(found, key=len))


def go_on(bench: Bench, verb: Verb, place: int) -> None:
    """After an interruption: the same verb again, in one of its ways, or ``recover``."""
    way = place % (len(verb.again) + 1)
    if way < len(verb.again):
        again = verb.again[way]
    else:
        bench.run("recover")
        clean(bench)
        again = verb.run
    result = bench.run(*again, code=None)
    assert result.code in (0, verb.done), result
    ends(bench, verb.new)


def killed(bench: Bench, verb: Verb, place: int) -> None:
    bench.restore(verb.old.saved)
    assert bench.dies(place, verb.run)
    go_on(bench, verb, place)


def disturbed(bench: Bench, verb: Verb, place: int, way: dict[str, Any]) -> None:
    bench.restore(verb.old.saved)
    result = bench.follow(Script(call=place, fault=way["fault"]), verb.run, code=None)
    bench.clear_faults()
    if result.code == 0:
        ends(bench, verb.new)
    else:
        assert result.code in (1, 3, 4), result
        go_on(bench, verb, place)


def trials(verb: Verb) -> list[tuple[int, dict[str, Any] | None]]:
    """Each step to be killed at, and each call with each way that it can fail."""
    found: list[tuple[int, dict[str, Any] | None]] = [(place + 1, None) for place in range(len(verb.steps))]
    for place, call in enumerate(verb.calls):
        for way in WAYS:
            of = way.get("of", "all")
            if of == "all" or (of == "writes" and not call.reads) or (of == "tasks" and call.task):
                found.append((place + 1, way))
    return found


def attempt(bench: Bench, verb: Verb, place: int, way: dict[str, Any] | None) -> str:
    try:
        if way is None:
            killed(bench, verb, place)
        else:
            disturbed(bench, verb, place, way)
    except AssertionError as error:
        what = f"call {place}, {verb.calls[place - 1]}: {way['name']}" if way else f"killed {verb.steps[place - 1]}"
        return f"{verb.name}: {what}\n{error}"
    return ""


def several(bench: Bench, case: dict[str, Any], folder: Path, share: int) -> None:
    verb = prepare(bench, case, folder)
    everything = trials(verb)
    wrong = [text for place, way in everything[SEED % share :: share] if (text := attempt(bench, verb, place, way))]
    assert not wrong, f"{len(wrong)} of {len(everything) // share}\n\n" + "\n\n".join(
        text[-3000:] for text in wrong[:4]
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_some_interruptions(bench: Bench, case: dict[str, Any], tmp_path: Path) -> None:
    several(bench, case, tmp_path, 17)


@pytest.mark.sweep
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_interruption(bench: Bench, case: dict[str, Any], tmp_path: Path) -> None:
    several(bench, case, tmp_path, 1)
