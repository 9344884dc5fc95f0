"""Releases and revisions: round trips, history, pruning, what is shown while somebody works, and a store that fails."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pvehelm.errors import InvalidError, NotFoundError, RefusedError, StoreError
from pvehelm.release.database import Database
from pvehelm.release.inventory import Inventory, Owned
from pvehelm.release.release import Release, ReleaseKey, Revision, Status
from pvehelm.release.sqlite import SqliteDatabase
from pvehelm.release.store import Store, open_store, url_path
from tests.helpers import ROOT
from tests.release.conftest import WEB
from tests.release.history import restate

TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MAPS = st.dictionaries(TEXT, JSON, max_size=3)
CLEAN = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
REVISIONS = st.builds(
    Revision,
    number=st.integers(1, 10**6),
    status=st.sampled_from([one for one in Status if one.stored]),
    chart_name=CLEAN,
    chart_origin=CLEAN,
    user_values=MAPS,
    values=MAPS,
    manifest=TEXT,
    plan=st.none() | MAPS,
    notes=TEXT,
    description=CLEAN,
    labels=st.dictionaries(CLEAN, CLEAN, max_size=3),
    created=st.floats(1, 2e9),
    updated=st.floats(1, 2e9),
    user=CLEAN,
    rollback_of=st.none() | st.integers(1, 99),
    events=st.lists(MAPS, max_size=2),
    complete=st.just(True),
)
OWNED = st.builds(
    Owned,
    TEXT,
    TEXT,
    TEXT,
    st.none() | TEXT,
    MAPS,
    fields=MAPS,
    found=MAPS,
    created=st.booleans(),
    metadata=MAPS,
    uid=TEXT,
)
KEYS = st.builds(ReleaseKey, TEXT, TEXT, TEXT)


# -- round trips -----------------------------------------------------------------------------------------------


@given(st.one_of(REVISIONS, OWNED, KEYS, st.builds(Inventory, st.dictionaries(TEXT, OWNED, max_size=2))))
def test_json_round_trip(value: Any) -> None:
    data = json.loads(json.dumps(value.to_json()))
    assert type(value).from_json({**data, "from_a_newer_version": 1}) == value


@given(st.builds(Release, KEYS, TEXT, REVISIONS, created=st.floats(0, 2e9), deployed=st.none() | st.integers(1, 9)))
def test_release_round_trip(value: Release) -> None:
    assert Release.from_json(json.loads(json.dumps(value.to_json()))) == value


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REVISIONS, min_size=1, max_size=3, unique_by=lambda one: one.number))
def test_what_is_written_is_read(revisions: list[Revision]) -> None:
    with open_store(":memory:") as store:
        for one in revisions:
            store.put_revision(WEB, one)
            assert store.revision(WEB, one.number) == one
        assert [one.number for one in store.revisions(WEB)] == sorted(one.number for one in revisions)


def test_dates_are_kept_as_text(store: Store) -> None:
    import datetime

    store.put_revision(WEB, Revision(1, values={"day": datetime.date(2026, 1, 2)}))
    assert store.revision(WEB, 1).values == {"day": "2026-01-02"}
    with pytest.raises(TypeError, match="object"):
        store.put_revision(WEB, Revision(2, values={"x": object()}))
    assert [one.number for one in store.revisions(WEB)] == [1]


# -- history ---------------------------------------------------------------------------------------------------


def test_history(tmp_path: Path) -> None:
    now = [100.0]
    with open_store(f"sqlite:///{tmp_path}/x.db", clock=lambda: now[0]) as store:
        uid = store.ensure(WEB)
        assert store.find(WEB) is None
        one = store.put_revision(
            WEB, Revision(1, Status.failed, chart_name="web", user_values={"a": 1}, labels={"x": "y"})
        )
        assert (one.created, one.updated) == (100.0, 100.0)
        now[0] = 101.0
        restate(store, WEB, 1, Status.deployed, description="Install complete")
        release = store.get(WEB)
        assert (release.uid, release.status, release.deployed, release.labels) == (uid, Status.deployed, 1, {"x": "y"})
        assert (release.current.user_values, release.current.updated, release.created) == ({"a": 1}, 101.0, 100.0)
        now[0] = 102.0
        store.put_revision(WEB, Revision(2, description="interrupted"), archive=b"chart")
        release = store.get(WEB)
        assert (release.status, release.deployed, release.current.number) == (Status.failed, 1, 2)
        restate(store, WEB, 2, Status.failed, events=[{"ref": "a"}])
        assert store.revision(WEB, 2).events == [{"ref": "a"}]
        store.put_revision(WEB, Revision(3, Status.deployed, rollback_of=1))
        assert [(one.number, one.status) for one in store.revisions(WEB)] == [
            (1, Status.superseded),
            (2, Status.failed),
            (3, Status.deployed),
        ]
        assert store.archive(WEB, 2) == b"chart"
        assert store.archive(WEB, 3) is None
        restate(store, WEB, 3, Status.uninstalled)
        assert store.get(WEB).deployed is None
        assert [one.complete for one in store.revisions(WEB, bodies=True)] == [True] * 3


def test_an_uninstalled_release_has_no_deployed_revision(store: Store) -> None:
    store.put_revision(WEB, Revision(1, Status.deployed))
    store.put_revision(WEB, Revision(2, Status.failed))
    restate(store, WEB, 2, Status.uninstalled)
    assert [one.status for one in store.revisions(WEB)] == [Status.superseded, Status.uninstalled]


def test_list(store: Store) -> None:
    for cluster, namespace, name in [("c1", "b", "x"), ("c1", "a", "z"), ("c1", "a", "y"), ("c2", "a", "x")]:
        store.put_revision(ReleaseKey(cluster, namespace, name), Revision(1, Status.deployed, values={"big": 1}))
    assert [str(one.key) for one in store.list("c1")] == ["a/y", "a/z", "b/x"]
    assert [str(one.key) for one in store.list("c1", "a")] == ["a/y", "a/z"]
    assert len(store.list(None)) == 4
    assert store.list("c1", "nowhere") == []
    summary = store.list("c1", "b")[0].current
    assert (summary.complete, summary.values) == (False, {})
    with pytest.raises(ValueError, match="summary"):
        store.put_revision(WEB, summary)


def test_what_is_not_there(store: Store) -> None:
    store.put_revision(ReleaseKey("c1", "prod", "web"), Revision(4))
    with pytest.raises(NotFoundError, match="web not found in namespace default") as caught:
        store.get(WEB)
    assert "namespace prod" in caught.value.hint
    with pytest.raises(NotFoundError, match="no revision 9") as caught:
        store.revision(ReleaseKey("c1", "prod", "web"), 9)
    assert caught.value.hint == "there are: 4"
    with pytest.raises(NotFoundError):
        store.archive(WEB, 1)
    assert store.revisions(WEB) == []


def test_prune_never_drops_the_deployed_one(store: Store) -> None:
    store.put_revision(WEB, Revision(1, Status.deployed, manifest="one"), archive=b"chart 1")
    for number in range(2, 7):
        store.put_revision(WEB, Revision(number, Status.failed, manifest=f"manifest {number}"), archive=b"chart 2")
    before = store.db.value("SELECT count(*) FROM blobs")
    assert store.prune(WEB, 0) == []
    assert store.prune(WEB, 3) == [2, 3, 4]
    assert [one.number for one in store.revisions(WEB)] == [1, 5, 6]
    assert store.db.value("SELECT count(*) FROM blobs") == before - 3
    assert (store.archive(WEB, 1), store.archive(WEB, 6)) == (b"chart 1", b"chart 2")
    assert store.prune(WEB, 1) == [5]
    assert [one.number for one in store.revisions(WEB)] == [1, 6]


def test_prune_drops_repairs_first(store: Store) -> None:
    def put(number: int, action: str, status: Status = Status.deployed) -> None:
        store.put_revision(WEB, Revision(number, status, plan={"action": action, "changes": ["x" * 1000]}))

    for number in (1, 2, 3):
        put(number, "upgrade")
    for number in (4, 5, 6):
        put(number, "repair", Status.failed)
    put(7, "repair")
    put(8, "upgrade")
    assert store.prune(WEB, 5) == [4, 5, 6]
    assert store.prune(WEB, 3) == [7, 1]
    assert [one.number for one in store.revisions(WEB)] == [2, 3, 8]


def test_prune_takes_the_journal_along_but_no_open_intent(store: Store) -> None:
    with store.hold(WEB.scope) as lease:
        for number in (1, 2, 3):
            store.put_revision(WEB, Revision(number), lease=lease)
            store.outcome(store.begin(WEB, lease, number, 1, "Pool/a", "create", {}), lease, ok=True)
        entry = store.begin(WEB, lease, 1, 2, "Pool/b", "create", {})
        assert store.prune(WEB, 2, lease=lease) == [1]
        assert [one.id for one in store.entries(WEB, 1)] == [entry]
        assert len(store.entries(WEB, 2)) == 1


def test_content_is_kept_once(store: Store) -> None:
    for number in range(1, 6):
        store.put_revision(WEB, Revision(number, manifest="m" * 1000, values={"a": number % 2}), archive=b"c" * 1000)
    manifests = "SELECT count(*) FROM blobs WHERE size = 1000"
    assert store.db.value(manifests) == 2
    store.put_revision(WEB, Revision(5, manifest="new"))  # in place of itself; its chart stays
    assert store.archive(WEB, 5) == b"c" * 1000


def test_damaged_content_is_noticed(store: Store) -> None:
    store.put_revision(WEB, Revision(1, manifest="text"))
    store.db.execute("UPDATE blobs SET data = ?", (b"rubbish",))
    with pytest.raises(StoreError, match="damaged"):
        store.revision(WEB, 1)


def test_delete_orphans_nothing(store: Store) -> None:
    store.put_revision(WEB, Revision(1))
    with store.hold(WEB.scope) as lease:
        entry = store.begin(WEB, lease, 1, 1, "Pool/a", "create", {})
        with pytest.raises(RefusedError, match="1 unfinished"):
            store.delete(WEB, lease=lease)
        store.outcome(entry, lease, ok=True, owned=Owned("Pool/a", "Pool", "a", None, {"poolid": "a"}))
        with pytest.raises(RefusedError, match="owns 1 objects"):
            store.delete(WEB, lease=lease)
        store.forget(WEB, "Pool/a", lease=lease)
        store.put_secret(WEB, "pw", "x")
        first = store.ensure(WEB)
        store.delete(WEB, lease=lease)
    assert store.find(WEB) is None
    assert store.db.value("SELECT count(*) FROM blobs") == 0
    assert store.secret_names(WEB) == []
    assert store.ensure(WEB) != first
    assert store.ensure(WEB, "given") == store.ensure(WEB)
    store.delete(ReleaseKey("c1", "default", "never"))


# -- what is shown while somebody works ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "stored", "shown"),
    [
        ("install", "failed", "pending-install"),
        ("upgrade", "failed", "pending-upgrade"),
        ("rollback", "failed", "pending-rollback"),
        ("uninstall", "deployed", "uninstalling"),
        ("uninstall", "uninstalled", "uninstalled"),
        ("upgrade", "deployed", "deployed"),
        ("recover", "failed", "failed"),
        ("", "failed", "failed"),
    ],
)
def test_pending_is_computed(store: Store, verb: str, stored: str, shown: str) -> None:
    lease = store.acquire(WEB.scope, purpose=verb)
    store.put_revision(WEB, Revision(1, Status(stored)), lease=lease)
    assert store.get(WEB).status is Status(stored)  # nothing was begun yet
    store.begin(WEB, lease, 1, 1, "Pool/a", "create", {})
    release = store.get(WEB)
    assert (release.status, release.working) == (Status(shown), verb)
    store.release(lease)
    assert (store.get(WEB).status, store.get(WEB).worker) == (Status(stored), "")


@pytest.mark.parametrize("status", [one for one in Status if one.pending])
def test_pending_is_never_stored(store: Store, status: Status) -> None:
    with pytest.raises(ValueError, match="never stored"):
        store.put_revision(WEB, Revision(1, status))


# -- transactions ----------------------------------------------------------------------------------------------


def test_all_or_nothing(store: Store) -> None:
    def write(number: int, error: type[BaseException]) -> None:
        with store.transaction():
            store.put_revision(WEB, Revision(number))
            raise error

    with pytest.raises(KeyboardInterrupt):
        write(1, KeyboardInterrupt)
    assert store.find(WEB) is None
    with store.transaction():
        store.put_revision(WEB, Revision(1))
        with pytest.raises(ZeroDivisionError):
            write(2, ZeroDivisionError)
    assert [one.number for one in store.revisions(WEB)] == [1]


def test_a_forked_child_has_its_own_connection(store: Store) -> None:
    with store.transaction():
        store.put_revision(WEB, Revision(1))
    child = os.fork()
    if not child:
        code = 1
        try:
            store.put_revision(WEB, Revision(2))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    store.put_revision(WEB, Revision(3))
    assert [one.number for one in store.revisions(WEB)] == [1, 2, 3]


def test_closed(url: str) -> None:
    store = open_store(url)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.list(None)


# -- a store that can't be used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:////var/lib/x.db", "/var/lib/x.db"),
        ("sqlite:///:memory:", ":memory:"),
        (":memory:", ":memory:"),
        ("/var/x.db", "/var/x.db"),
    ],
)
def test_urls(url: str, path: str) -> None:
    assert url_path(url) == path


def test_relative_and_home_urls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert url_path("sqlite:///~/x.db") == url_path("~/x.db") == url_path("./x.db") == str(tmp_path / "x.db")
    with pytest.raises(InvalidError, match="no store URL"):
        url_path("nonsense")


@pytest.mark.parametrize("url", ["mysql://db/x", "sqlite://x.db", "sqlite://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        open_store(url)
    assert "sqlite:///" in caught.value.hint


def test_default_is_in_the_data_directory(tmp_path: Path) -> None:
    environ = {"PVEHELM_DATA": str(tmp_path / "data")}
    old = os.umask(0)
    try:
        with open_store(environ=environ) as store:
            store.put_revision(WEB, Revision(1))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
            assert modes.keys() >= {"releases.db", "releases.db-wal"}
            assert set(modes.values()) == {0o600}
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def broken(path: Path, make: str) -> None:
    if make == "text":
        path.write_text("this is no database, but it is longer than a database's header would have to be " * 20)
    elif make == "damaged":
        with open_store(str(path)) as store:
            for number in range(1, 30):
                store.put_revision(WEB, Revision(number, manifest=os.urandom(3000).hex()))
        data = bytearray(path.read_bytes())
        data[4096 * 1 : 4096 * 12] = b"\xff" * (4096 * 11)
        path.write_bytes(data)
    elif make == "folder":
        path.mkdir()
    elif make == "foreign":
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE songs (name TEXT)")
        connection.close()
    elif make == "newer":
        with open_store(str(path)) as store:
            store.db.execute("INSERT INTO pvehelm_migrations VALUES (9999, '9999_future.sql', 0)")
    elif make == "no folder":
        path.parent.write_text("")


@pytest.mark.parametrize(
    ("make", "name", "what", "hint"),
    [
        ("text", "x.db", "not a pvehelm store", "backup"),
        ("damaged", "x.db", "damaged", "backup"),
        ("folder", "x.db", "cannot be opened", "path is a file"),
        ("foreign", "x.db", "belongs to another program", "PVEHELM_STORE"),
        ("newer", "x.db", "a newer pvehelm wrote it (schema 9999, this one knows 2)", "upgrade pvehelm"),
        ("no folder", "file/x.db", "/file: File exists", "permissions"),
    ],
)
def test_unusable_files(tmp_path: Path, make: str, name: str, what: str, hint: str) -> None:
    broken(tmp_path / name, make)
    with pytest.raises(StoreError) as caught, open_store(f"sqlite:///{tmp_path}/{name}") as store:
        store.list(None)
    assert what in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert hint in caught.value.hint


def test_full_disk(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        fill(store)


def fill(store: Store) -> None:
    store.put_revision(WEB, Revision(1))
    pages = store.db.value("PRAGMA page_count")
    store.db.rows(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StoreError, match="disk is full") as caught:
        store.put_revision(WEB, Revision(2, manifest=os.urandom(100_000).hex()))
    assert "make room" in caught.value.hint
    assert [one.number for one in store.revisions(WEB)] == [1]
    store.db.rows(f"PRAGMA max_page_count = {pages + 400}")
    store.put_revision(WEB, Revision(2))


def test_locked_for_too_long(store: Store, url: str) -> None:
    with open_store(url, busy=0.05) as other, store.transaction():
        with pytest.raises(StoreError, match="locked for too long"):
            other.put_revision(WEB, Revision(1))
        assert other.list(None) == []  # readers never wait


def test_not_writable(sqlite_url: str) -> None:
    with open_store(sqlite_url) as store:
        store.db.rows("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match="not written") as caught:
            store.put_revision(WEB, Revision(1))
    assert "permissions" in caught.value.hint


def test_database_interface_is_small() -> None:
    """What another database has to offer."""
    public = {name for name in vars(Database) if not name.startswith("_")}
    assert public == {
        "check",
        "close",
        "compact",
        "execute",
        "has_table",
        "insert",
        "row",
        "rows",
        "size",
        "time",
        "transaction",
        "value",
        "version",
    }


# -- long histories --------------------------------------------------------------------------------------------


def test_a_long_history_costs_no_more(sqlite_url: str) -> None:
    """Counted in the database's own steps, which no busy computer changes."""
    with open_store(sqlite_url) as store:
        steps: dict[int, list[int]] = {}
        assert isinstance(store.db, SqliteDatabase)
        assert store.db._connection is not None
        counted = [0]

        def count() -> int:
            counted[0] += 1
            return 0

        for number in range(1, 1001):
            store.put_revision(WEB, Revision(number, Status.deployed, values={"n": number}))
            if number not in (20, 1000):
                continue
            store.db._connection.set_progress_handler(count, 1)
            for work in (
                lambda: store.list("c1"),
                lambda: store.get(WEB),
                lambda: store.revisions(WEB, limit=10),
            ):
                counted[0] = 0
                work()
                steps.setdefault(number, []).append(counted[0])
            store.db._connection.set_progress_handler(None, 1)
        for few, many in zip(steps[20], steps[1000], strict=True):
            assert many <= 1.3 * few


# -- start-up --------------------------------------------------------------------------------------------------


def test_list_is_light(sqlite_url: str) -> None:
    url = sqlite_url
    with open_store(url) as store:
        store.put_revision(WEB, Revision(1, Status.deployed))
    code = f"""
import sys
from pvehelm.release.store import open_store
from pvehelm.config import load
with open_store({url!r}) as store:
    assert len(store.list("c1")) == 1
load("/nowhere/config.yaml", {{}})
heavy = "asyncio cryptography hmac httpx importlib.resources jinja2 logging pathlib platformdirs pydantic rich socket"
heavy += " ssl subprocess typer yaml"
print([name for name in heavy.split() if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
