"""Direct verbs are as safe as releases: killed anywhere, and every call failing in every way, one more command finds
out what became of them and leaves nothing behind.

The default run tries a sample of each verb of ``direct.yaml``, ``pytest -m sweep`` everything.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions import guests, tasks
from pvehelm.errors import LeaseHeldError
from pvehelm.release.context import Context
from tests.release.lab import Lab, load_cases, with_context
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
    fewest = min(found, key=len)
    assert not fewest, "\n".join(fewest)


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
    several(bench, case, tmp_path, 23)


@pytest.mark.sweep
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_interruption(bench: Bench, case: dict[str, Any], tmp_path: Path) -> None:
    several(bench, case, tmp_path, 1)


# -- one thing at a time -----------------------------------------------------------------------------------------


def loose(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="loose")


def test_copies_at_once_get_numbers_of_their_own(lab: Lab) -> None:
    """The next free number is the same for all who ask at once; the store gives it to one of them."""
    template = guests.Choice(("debian-12-template",))

    async def work(ctx: Context) -> list[int]:
        made = await asyncio.gather(*(guests.clone(ctx, template, f"copy-{index}") for index in range(5)))
        return sorted(number for _, number, _ in made)

    assert with_context(work) == [100, 101, 102, 103, 104]
    assert len(lab.guests()) == 5

    async def alike(ctx: Context) -> list[Any]:
        made = [guests.clone(ctx, template, "same") for _ in range(2)]
        return list(await asyncio.gather(*made, return_exceptions=True))

    ended = with_context(alike)
    assert [type(one) for one in ended if isinstance(one, Exception)] == [LeaseHeldError]
    assert len(lab.guests()) == 6


def test_a_number_that_was_taken_meanwhile(lab: Lab) -> None:
    lab.fault(
        "POST /nodes/*/clone",
        status=500,
        message="unable to create VM 100 - VM 100 already exists on node 'x'",
        times=1,
    )
    assert "VMID 101" in lab.run("clone", "debian-12-template", "copy").out
    lab.fault("POST /nodes/*/clone", status=500, message="unable to create VM 200: config file already exists", times=1)
    assert "already exists" in lab.run("clone", "debian-12-template", "other", "--vmid", "200", code=1).err
    with lab.store() as store:
        assert store.reserved(lab.state.cluster_id) == set()


def test_a_copy_that_was_interrupted_is_not_taken_for_another(lab: Lab) -> None:
    full = ("clone", "debian-12-template", "copy", "--full")
    assert lab.killed("set_upid", "after", 1, *full)
    refused = lab.run("clone", "debian-12-template", "copy", "--vmid", "500", code=3)
    assert "(VMID 100) was being copied with full=" in refused.err
    assert "this asks for vmid=500" in refused.err
    assert list(lab.guests()) == ["100"]
    assert "nothing was interrupted" in lab.run("recover").out
    lab.remove(100)
    assert lab.killed("set_upid", "after", 1, *full)
    assert "VMID 100" in lab.run(*full).out


def test_a_copy_of_what_can_not_be_read_leaves_no_journal(lab: Lab) -> None:
    lab.fault("GET /nodes/*/qemu/9000/config", status=403)
    lab.run("clone", "debian-12-template", "copy", code=None)
    with lab.store() as store:
        assert store.by_themselves(lab.state.cluster_id) == []


def test_who_may_copy_need_not_be_allowed_to_configure(lab: Lab) -> None:
    lab.fault("PUT /nodes/*/config", status=403)
    result = lab.run("clone", "debian-12-template", "copy")
    assert "may not change them" in result.err
    lab.clear_faults()
    assert "nothing was interrupted" in lab.run("recover").out
    Path(lab.folder / "copy.yaml").write_text(
        "kind: VirtualMachine\nmetadata: { name: copy }\nspec: { node: pve-node1, vmid: 100 }\n"
    )
    lab.run("apply", "-f", str(lab.folder / "copy.yaml"), "--take-ownership", "all")
    lab.sound("copy")


def test_recover_says_what_was_left(lab: Lab) -> None:
    loose(lab)
    assert lab.killed("outcome", "before", 1, "start", "loose")
    with lab.store() as store, store.hold(f"guest:{lab.state.cluster_id}/300", purpose="stop"):
        result = lab.run("recover", "-o", "json", code=4)
        assert result.json[0]["held"]
        assert "stop" in result.json[0]["result"]
    result = lab.run("recover", "-o", "json")
    assert result.json == [{"object": "VirtualMachine/loose", "result": "done: start", "held": False}]
    assert "nothing was interrupted" in lab.run("recover").out
    assert lab.killed("outcome", "after", 1, "delete", "vm/loose", "--yes")
    assert "VirtualMachine/loose: done: stop" in lab.run("recover").out
    assert "VirtualMachine/loose deleted" in lab.run("delete", "vm/loose", "--yes").out


def test_a_reboot_is_looked_for_among_the_tasks(lab: Lab) -> None:
    """Nothing else tells of it afterwards: it is not done twice because its answer was lost."""
    loose(lab)
    lab.run("start", "loose")
    for verb in ("reboot", "reset"):
        lab.fault(f"POST /nodes/*/status/{verb}", drop="after", times=1)
        lab.run(verb, "loose")
        lab.fault(f"POST /nodes/*/status/{verb}", drop="before", times=1)
        lab.run(verb, "loose")
    types = [task["type"] for task in lab.state.collection("tasks").values()]
    assert types.count("qmreboot") == 2
    assert types.count("qmreset") == 2


def test_a_foreign_task_is_not_taken_for_ours(lab: Lab) -> None:
    """A backup that runs on the guest says nothing about a start whose answer was lost."""
    loose(lab)
    upid = lab.api.ok("POST", "/nodes/pve-node1/vzdump", vmid=300, storage="shared-nfs")
    running = lab.state.collection("tasks")
    running[upid] = {**running[upid], "end": running[upid]["end"] + 3600}
    lab.fault("POST /nodes/*/status/start", drop="before", times=1)
    assert "started" in lab.run("start", "loose").out
    assert lab.guests()["300"]["status"] == "running"


def test_a_guest_under_a_freed_number_is_not_deleted(lab: Lab) -> None:
    """The answer to a deletion is lost, and somebody takes the number: that guest is another one."""
    loose(lab)
    assert lab.killed("outcome", "before", 1, "delete", "vm/loose", "--yes")
    assert lab.guests() == {}
    loose(lab)
    assert "done: destroy" in lab.run("recover").out
    assert set(lab.guests()) == {"300"}


def test_the_next_command_of_the_release_finishes_it(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    machine = "kind: VirtualMachine\nmetadata: { name: web }\nspec: { node: pve-node1, memory: %d }\n"
    file.write_text(machine % 512)
    lab.run("apply", "-f", str(file))
    assert lab.killed("outcome", "before", 1, "stop", "web")
    with lab.store() as store:
        assert len(store.open_entries(lab.key("web"))) == 1
    file.write_text(machine % 1024)
    assert "was told to stop, which is done" in lab.run("apply", "-f", str(file)).err
    with lab.store() as store:
        assert store.open_entries(lab.key("web")) == []
    assert "VirtualMachine/web: done: stop" in lab.run("recover").out
    lab.sound("web")
    lab.settled("web")


def test_ending_a_task_takes_the_lease_of_its_guest(lab: Lab) -> None:
    loose(lab)
    upid = lab.api.ok("POST", "/nodes/pve-node1/qemu/300/status/start")
    running = lab.state.collection("tasks")
    running[upid] = {**running[upid], "end": running[upid]["end"] + 3600}
    with lab.store() as store, store.hold(f"guest:{lab.state.cluster_id}/300", purpose="start"):
        assert "--force" in lab.run("tasks", "cancel", upid, code=4).err

        async def work(ctx: Context) -> bool:
            return await tasks.cancel(ctx, upid, force=True)

        assert with_context(work)
    assert "ended already" in lab.run("tasks", "cancel", upid).out
    assert "nothing was interrupted" in lab.run("recover").out


def test_the_task_of_a_command_that_died_is_ended_not_waited_for(lab: Lab) -> None:
    loose(lab)
    assert lab.killed("set_upid", "after", 1, "start", "loose")
    tasks_ = lab.state.collection("tasks")
    (upid,) = [upid for upid, task in tasks_.items() if task["type"] == "qmstart"]
    tasks_[upid] = {**tasks_[upid], "end": tasks_[upid]["end"] + 3600}
    told = lab.run("tasks", "cancel", upid)
    assert "told to end" in told.out
    assert "waiting" not in told.err
    assert "start" in lab.run("recover").out
    assert "nothing was interrupted" in lab.run("recover").out


def test_what_is_secret_in_an_edited_text_is_in_no_journal(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    loose(lab)
    monkeypatch.setenv("EDITOR", "sed -i '$a\\  cipassword: hunter2hunter2'")
    assert lab.killed("outcome", "before", 1, "edit", "vm/loose", "--yes")
    assert lab.guests()["300"]["config"]["cipassword"]
    with lab.store() as store:
        intents = [row["intent"] for row in store.db.rows("SELECT intent FROM journal")]
    assert "cipassword" in str(intents)
    assert "hunter2" not in str(intents)
    # The server shows no password, so that nobody can say which one it has.
    told = lab.run("recover", code=1)
    assert "nobody knows whether it was done" in told.out
    lab.run("edit", "vm/loose", "--yes")
    assert "nothing was interrupted" in lab.run("recover").out


def test_an_interrupt_lets_what_runs_finish(lab: Lab) -> None:
    """The first signal begins nothing more; a copy is completed, a second guest is not begun."""
    lab.fault("POST /nodes/*/clone", delay=1)
    process = lab.start("clone", "debian-12-template", "copy")
    assert process.stderr is not None
    assert any("VirtualMachine/copy: clone" in line for line in process.stderr)
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    assert "Traceback" not in err
    lab.clear_faults()
    lab.run("recover")
    assert [guest["config"]["name"] for guest in lab.guests().values()] == ["copy"]
    assert "pvehelm release=" not in str(lab.guests())


def test_an_editor_that_fails_leaves_no_file(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    loose(lab)
    for editor, code in (("false", 1), ("no-such-editor", 1), ("", 64)):
        monkeypatch.setenv("EDITOR", editor)
        assert "the text is" not in lab.run("edit", "vm/loose", code=code).err
        assert not list(tmp_path.glob("pvehelm-edit-*"))
    script = tmp_path / "editor.sh"
    script.write_text("echo '# more' >> \"$1\"\nexit 3\n")
    monkeypatch.setenv("EDITOR", f"sh {script}")
    assert "the text is in" in lab.run("edit", "vm/loose", code=1).err
    assert len(list(tmp_path.glob("pvehelm-edit-*"))) == 1
