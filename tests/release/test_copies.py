"""Copies of a store: one file, another store of either kind; everything arrives, or nothing does."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.errors import InvalidError, LeaseHeldError, PvehelmError, RefusedError, StoreError
from pvehelm.release.copies import chosen, damaged, load, move, parse, rows, write
from pvehelm.release.health import collect, problems
from pvehelm.release.inventory import Owned
from pvehelm.release.policy import Memory, Mode, State, Window
from pvehelm.release.release import ReleaseKey, Revision, Status
from pvehelm.release.store import Store, open_store
from tests.release.conftest import WEB
from tests.release.history import restate
from tests.release.lab import Lab

OTHER = ReleaseKey("c1", "prod", "db")


def fill(store: Store, key: ReleaseKey, vmid: int, revisions: int = 3) -> None:
    """A release with everything that a release may have."""
    with store.hold(key.scope, purpose="install") as lease:
        for number in range(1, revisions + 1):
            revision = Revision(number, Status.deployed, manifest=f"kind: X\nn: {number}", values={"n": number})
            store.put_revision(key, revision, lease=lease, archive=b"a chart" * number)
            entry = store.begin(key, lease, number, 1, "VirtualMachine/a", "update", {"x": number})
            owned = Owned("VirtualMachine/a", "VirtualMachine", "a", None, {"vmid": vmid, "node": "n"}, uid="u")
            store.outcome(entry, lease, ok=True, upid="UPID:x", owned=owned)
        store.begin(key, lease, revisions, 2, "Pool/p", "create", {})
        store.put_owned(key, Owned("Pool/p", "Pool", "p", None, {"poolid": key.name}), lease=lease)
    store.put_secret(key, "password", "pässword of " + key.name)
    store.set_meta(f"snapshots:{key.cluster}/{key.namespace}/{key.name}", "1")
    store.append({"by": "me@here", "action": "install", "outcome": "done", **place(key)})


def place(key: ReleaseKey) -> dict[str, str]:
    return {"cluster": key.cluster, "namespace": key.namespace, "release": key.name}


def picture(store: Store, key: ReleaseKey) -> dict[str, Any]:
    """All that can be asked of a release."""
    numbers = [one.number for one in store.revisions(key)]
    return {
        "revisions": store.revisions(key, bodies=True),
        "archives": [store.archive(key, number) for number in numbers],
        "entries": [one._replace(id=0) for number in numbers for one in store.entries(key, number)],
        "open": [one._replace(id=0) for one in store.open_entries(key)],
        "inventory": store.inventory(key),
        "reserved": store.reserved(key.cluster),
        "secrets": {name: store.get_secret(key, name) for name in store.secret_names(key)},
        "uid": store.uid(key),
        "created": store.get(key).created,
    }


@pytest.fixture
def full(store: Store) -> Store:
    fill(store, WEB, 100)
    fill(store, OTHER, 101)
    return store


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Another store, of either kind, of somebody who has the same key."""
    folder = tmp_path / "other"
    url = f"sqlite:///{folder}/releases.db"
    if request.param == "postgres":
        from tests.postgres import schema

        with schema(request.getfixturevalue("postgres_server")) as made:
            with open_store(made, environ={"PVEHELM_DATA": str(tmp_path)}, moved=True) as opened:
                yield opened
            return
    with open_store(url, environ={"PVEHELM_DATA": str(tmp_path)}, moved=True) as opened:
        yield opened


# -- there and back --------------------------------------------------------------------------------------------


def test_everything_moves_and_comes_back(full: Store, target: Store, url: str, tmp_path: Path) -> None:
    before = {key: picture(full, key) for key in (WEB, OTHER)}
    trail, fence = full.trail(), full.acquire(WEB.scope).fence
    full.unlock(WEB.scope)
    copied = move(full, target)
    assert set(copied.releases) == {WEB, OTHER}
    assert {key: picture(target, key) | {"reserved": {100, 101}} for key in (WEB, OTHER)} == before
    assert target.trail() == trail
    assert list(problems(target)) == []
    assert target.acquire(WEB.scope).fence > fence  # no number is given twice
    with pytest.raises(StoreError, match="moved to"):
        full.acquire(OTHER.scope)  # nor does whoever has it open write to it any more
    with pytest.raises(StoreError, match="moved to") as caught:
        open_store(url)
    assert "PVEHELM_STORE" in caught.value.hint
    target.unlock(WEB.scope)
    fill(target, ReleaseKey("c1", "default", "new"), 102)
    move(target, full)
    assert picture(full, WEB)["revisions"] == before[WEB]["revisions"]
    assert len(full.list(None)) == 3
    with open_store(url):
        pass  # it is in use again


def test_a_store_in_use_is_not_written_over(full: Store, target: Store) -> None:
    fill(target, ReleaseKey("c1", "default", "mine"), 300)
    with pytest.raises(RefusedError, match="in use"):
        move(full, target)
    assert [one.key.name for one in target.list(None)] == ["mine"]
    assert "moved" not in full.meta()


def test_nobody_works_while_it_moves(full: Store, target: Store) -> None:
    with full.hold(WEB.scope, purpose="upgrade"), pytest.raises(LeaseHeldError, match="upgrade"):
        move(full, target)
    assert target.list(None) == []
    move(full, target)


# -- a file ----------------------------------------------------------------------------------------------------


def test_a_file_brings_all_or_one(full: Store, target: Store) -> None:
    data = write(full, None, by="me", made=1.0)
    header, found = parse(data)
    assert header["by"] == "me"
    assert b"p\xc3\xa4ssword" not in gzip.decompress(data)
    load(target, chosen(found, [(None, "web")]))
    assert picture(target, WEB) == picture(full, WEB) | {"reserved": {100}}
    assert [one.key for one in target.list(None)] == [WEB]
    load(target, parse(write(full, [OTHER], by="me", made=1.0))[1])
    assert picture(target, OTHER) == picture(full, OTHER)
    assert target.verify_trail()[2] is None
    assert {one.release for one in target.trail()} == {"web", "db"}
    assert list(problems(target)) == []
    with pytest.raises(InvalidError, match="no release nix") as caught:
        chosen(found, [(None, "nix")])
    assert "default/web" in caught.value.hint


def test_what_is_in_the_way(full: Store) -> None:
    data = parse(write(full, None, by="me", made=1.0))[1]
    before = picture(full, WEB)
    with pytest.raises(RefusedError) as caught:
        load(full, data)
    assert [(p.where, p.what) for p in caught.value.problems] == [
        ("default/web", "it is there already"),
        ("prod/db", "it is there already"),
    ]
    with full.hold(WEB.scope) as lease:
        restate(full, WEB, 3, Status.failed, lease=lease)
    load(full, data, replace=True)
    assert picture(full, WEB) == before
    assert list(problems(full)) == []
    assert len(full.trail()) == 2  # nothing of it is entered twice


def test_objects_of_another_release(full: Store, target: Store) -> None:
    fill(target, ReleaseKey("c1", "default", "mine"), 100)
    contents = target.db.value("SELECT count(*) FROM blobs")
    with pytest.raises(RefusedError) as caught:
        load(target, rows(full, [WEB]))
    assert ("VMID 100", "release default/mine has it") in [(p.where, p.what) for p in caught.value.problems]
    assert [one.key.name for one in target.list(None)] == ["mine"]
    assert target.db.value("SELECT count(*) FROM blobs") == contents


def test_whoever_works_on_it_goes_first(full: Store) -> None:
    data = parse(write(full, None, by="me", made=1.0))[1]
    with full.hold(WEB.scope, purpose="upgrade"), pytest.raises(LeaseHeldError, match="being worked on"):
        load(full, data, replace=True)


def test_a_release_goes_under_one_name(full: Store, target: Store) -> None:
    load(target, rows(full, [WEB]))
    target.db.execute("UPDATE releases SET name = 'renamed'")
    with pytest.raises(RefusedError, match="does not fit") as caught:
        load(target, rows(full, [WEB]))
    assert "renamed is the same one" in caught.value.problems[0].what


POLICY = {"mode": Mode.repair, "windows": (Window.parse("Sat 02:00-03:00"),)}
STATE = State(checked=5.0, result="in-sync")


def noted(store: Store, key: ReleaseKey) -> tuple[dict[str, Any], State, str]:
    memory = Memory(store)
    return memory.policy(store.uid(key)), memory.state(store.uid(key)), memory.synced(key).commit


def test_what_a_reconciler_knows_goes_along(full: Store, target: Store) -> None:
    memory = Memory(full)
    for key in (WEB, OTHER):
        memory.set_policy(full.uid(key), POLICY)
        memory.set_state(full.uid(key), STATE)
        memory.set_synced(key, State(commit=key.name))
    everything = parse(write(full, None, by="me", made=1.0))[1]
    load(target, chosen(everything, [(None, "web")]))
    assert noted(target, WEB) == (POLICY, STATE, "web")
    assert set(Memory(target).policies()) == {full.uid(WEB)}
    load(target, rows(full, [OTHER]))
    assert noted(target, OTHER) == (POLICY, STATE, "db")
    # A copy in the place of what is there: its policy counts as well.
    Memory(target).set_policy(target.uid(OTHER), {})
    Memory(target).set_policy(target.uid(WEB), {"interval": 60.0})
    load(target, everything, replace=True)
    assert [noted(target, key)[:2] for key in (WEB, OTHER)] == [(POLICY, STATE)] * 2


def test_what_a_reconciler_knows_goes_with_the_release(store: Store) -> None:
    store.put_revision(WEB, Revision(1, Status.uninstalled))
    store.put_revision(OTHER, Revision(1, Status.deployed))
    memory, new = Memory(store), WEB._replace(name="shop")
    memory.set_policy(store.uid(WEB), POLICY)
    memory.set_policy(store.uid(OTHER), POLICY)
    memory.set_synced(WEB, State(commit="one"))
    memory.set_synced(new, State(commit="of long ago"))
    with store.hold(WEB.scope) as one, store.hold(new.scope) as two:
        store.rename(WEB, new, leases=[one, two])
    assert noted(store, new) == (POLICY, State(), "one")
    assert memory.all_synced(WEB.cluster).keys() == {"default/shop"}
    uid = store.uid(new)
    store.delete(new)
    assert memory.policies().keys() == {store.uid(OTHER)}
    assert memory.policy(uid) == {}
    # The sync itself goes on: it knows how far the repository was.
    assert memory.synced(new).commit == "one"


@given(st.data())
def test_damaged_files_are_refused(data: st.DataObject) -> None:
    with open_store(":memory:", clock=lambda: 1.0) as store:
        store.ensure(WEB, "uid")
        store.put_revision(WEB, Revision(1, Status.deployed))
        whole = write(store, None, by="me", made=1.0)
    text = gzip.decompress(whole)
    at = data.draw(st.integers(0, len(text) - 2))
    byte = data.draw(st.integers(32, 126).filter(lambda one: one != text[at]))
    with pytest.raises(PvehelmError):
        parse(gzip.compress(text[:at] + bytes([byte]) + text[at + 1 :]))
    for part in (whole[: at % len(whole)], text, b"", gzip.compress(text[:at])):
        with pytest.raises(InvalidError):
            parse(part)


def test_another_key_is_said(full: Store, tmp_path: Path) -> None:
    data = write(full, None, by="me", made=1.0)
    other = {"PVEHELM_DATA": str(tmp_path / "elsewhere")}
    with open_store(f"sqlite:///{tmp_path}/elsewhere/x.db", environ=other) as target:
        assert len(load(target, parse(data)[1]).key_ids) == 1
        with pytest.raises(StoreError, match="key of the release secrets is not here"):
            target.get_secret(WEB, "password")
        # A key of its own would make two kinds of secrets in one store.
        with pytest.raises(StoreError, match="is not here"):
            target.put_secret(WEB, "more", "x")
        assert sum("secret://release/password" in p.where for p in problems(target)) == 2


def test_a_copy_mends_what_is_damaged_here_and_not_the_other_way_round(full: Store) -> None:
    good = write(full, None, by="me", made=0.0)
    full.db.execute("UPDATE blobs SET data = ? WHERE size = 7", (b"rot",))
    bad = write(full, None, by="me", made=0.0)
    assert set(damaged(full, [WEB])) <= set(damaged(full, None)) != set()
    load(full, parse(good)[1], replace=True)
    assert (list(problems(full)), damaged(full, None)) == ([], [])
    load(full, parse(bad)[1], replace=True)
    assert list(problems(full)) == []


def test_a_damaged_copy_is_said(lab: Lab) -> None:
    lab.run("apply", "-f", "-", "--set-name", "set", stdin="kind: Pool\nmetadata: { name: p }\n")
    with lab.store() as store:
        store.db.execute("UPDATE blobs SET data = ?", (b"rot",))
    copy = lab.folder / "copy.gz"
    said = lab.run("store", "export", "--out", str(copy), code=1).err
    assert "the copy is damaged where the store is" in said
    assert copy.exists()


# -- health ----------------------------------------------------------------------------------------------------

DAMAGE = {
    "content": ("UPDATE blobs SET size = size + 1 WHERE size = 7", "is damaged"),
    "two owners": (
        "INSERT INTO inventory SELECT r.id, 'VirtualMachine/b', i.cluster, i.identity, i.vmid, i.body "
        "FROM inventory i, releases r WHERE i.vmid = 100 AND r.name = 'db'",
        "is the same object",
    ),
    "reservation": ("DELETE FROM reservations WHERE vmid = 100", "is not reserved"),
    "status": ("UPDATE revisions SET status = 'odd' WHERE number = 2", "means nothing"),
    "two deployed": ("UPDATE revisions SET status = 'deployed'", "deployed at once"),
    "record": ("UPDATE inventory SET body = '{' WHERE vmid = 100", "record is damaged"),
    "audit": ("DELETE FROM audit WHERE seq = 1", "chain is broken"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found(full: Store, damage: str) -> None:
    assert list(problems(full)) == []
    sql, words = DAMAGE[damage]
    full.db.execute(sql)
    assert any(words in problem.what for problem in problems(full))


def test_only_what_nothing_needs_goes(full: Store) -> None:
    full.reserve("c1", 900, WEB, "VirtualMachine/never")
    full.ensure(ReleaseKey("c1", "default", "nothing"))
    full.db.execute("UPDATE reservations SET created = 0")
    full.db.execute("UPDATE releases SET created = 0")
    full.db.execute("DELETE FROM revisions WHERE number = 1")
    before = {key: picture(full, key) for key in (WEB, OTHER)}
    found = collect(full, dry_run=True)
    done = collect(full)
    assert done[:4] == found[:4]
    # Each of the two: the contents of revision 1 that no other shares, and the steps of revisions 1 and 2.
    assert (done.entries, done.claims, done.releases) == (4, 1, 1)
    assert done.contents == 3
    after = {key: picture(full, key) for key in (WEB, OTHER)}
    for key in (WEB, OTHER):
        assert [one.revision for one in after[key].pop("entries")] == [3, 3]
        del before[key]["entries"]
        before[key]["reserved"] = {100, 101}
    assert after == before
    assert list(problems(full)) == []
    assert collect(full)[:4] == (0, 0, 0, 0)
