from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pvehelm.errors import UsageError
from pvehelm.simulator.bases import BASES
from pvehelm.simulator.state import State


def test_documents_keep_their_order_and_are_copies() -> None:
    state = State(":memory:")
    things = state.collection("things")
    things["b"] = {"n": 1}
    things["a"] = {"n": 2}
    things["b"] = {"n": 3}
    assert list(things) == ["b", "a"]
    things["a"]["n"] = 99
    assert things["a"] == {"n": 2}
    assert dict(things.items()) == {"b": {"n": 3}, "a": {"n": 2}}
    del things["b"]
    assert "b" not in things
    assert len(things) == 1
    with pytest.raises(KeyError):
        things["b"]
    with pytest.raises(KeyError):
        del things["b"]


def _write_and_fail(state: State, key: str, *, part: bool) -> None:
    with state.savepoint() if part else state.transaction():
        state.collection("things")[key] = {}
        raise RuntimeError


def test_rollback_forgets_and_savepoint_forgets_its_part() -> None:
    state = State(":memory:")
    things = state.collection("things")
    with pytest.raises(RuntimeError):
        _write_and_fail(state, "a", part=False)
    assert list(things) == []
    with state.transaction():
        things["a"] = {}
        with pytest.raises(RuntimeError):
            _write_and_fail(state, "b", part=True)
    assert list(things) == ["a"]


def test_file_is_shared_and_base_counts_only_when_new(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state.db"
    first = State(path, base="conformance")
    first.collection("pools")["x"] = {}
    second = State(path, base="default")
    assert second.base == "conformance"
    assert second.cluster_id == first.cluster_id
    assert "x" in second.collection("pools")
    first.reset("default")
    assert second.base == "default"
    assert list(second.collection("pools")) == []


def test_reset_is_another_cluster() -> None:
    state = State(":memory:")
    before = state.cluster_id
    state.collection("pools")["x"] = {}
    state.reset()
    assert state.cluster_id != before
    assert list(state.collection("pools")) == []


def test_unknown_base_is_refused() -> None:
    with pytest.raises(UsageError, match="no base"):
        State(":memory:", base="nosuch")


@pytest.mark.parametrize("base", sorted(BASES))
def test_bases_are_whole(base: str) -> None:
    state = State(":memory:", base=base)
    storages = set(state.collection("storage"))
    nodes = set(state.collection("nodes"))
    volumes = state.collection("volumes")
    assert all(volume["storage"] in storages for volume in volumes.values())
    for guest in state.collection("qemu").values():
        assert guest["node"] in nodes
        assert guest["config"]["scsi0"].split(",")[0] in volumes
    assert "root@pam" in state.collection("users")


_WRITER = """
import sys
from pvehelm.simulator.state import State
state = State(sys.argv[1])
for _ in range(25):
    with state.transaction():
        state.count("n")
"""


def test_many_processes_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    running = [subprocess.Popen([sys.executable, "-c", _WRITER, str(path)]) for _ in range(6)]
    assert [process.wait(60) for process in running] == [0] * 6
    state = State(path)
    assert state.count("n") == 6 * 25 + 1
    assert len(state.collection("domains")) == 2


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    writer, reader = State(path), State(path, wait=0.1)
    seen: list[bool] = []
    with writer.transaction():
        writer.collection("pools")["x"] = {}

        def read() -> None:
            with reader.transaction(write=False):
                seen.append("x" in reader.collection("pools"))

        thread = threading.Thread(target=read)
        thread.start()
        thread.join(5)
    assert seen == [False]
