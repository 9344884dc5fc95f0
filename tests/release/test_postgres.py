"""PostgreSQL's own ways: connections that break, sessions that stand still, what is said when it does not work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvehelm.config import without_password
from pvehelm.errors import InvalidError, StoreError
from pvehelm.release.postgres import IDLE, PostgresDatabase, translate
from pvehelm.release.release import Revision
from pvehelm.release.store import Store, open_store
from tests.postgres import Server, available, database, throw_away
from tests.release.conftest import WEB
from tests.release.lab import Lab
from tests.release.workers import line, running

pytestmark = pytest.mark.skipif(not available(), reason="there is no PostgreSQL here (apt install postgresql)")
REF = "VirtualMachine/a"


@pytest.fixture
def store(postgres_url: str, tmp_path: Path) -> Iterator[Store]:
    with open_store(postgres_url, environ={"PVEHELM_DATA": str(tmp_path)}, busy=5) as opened:
        yield opened


def kill_session(store: Store, url: str) -> None:
    """End the store's session at the server, as an administrator or a firewall does."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (session(store),))
    time.sleep(0.05)


def session(store: Store) -> int:
    assert isinstance(store.db, PostgresDatabase)
    assert store.db._connection is not None
    return int(store.db._connection.info.backend_pid)


def test_a_session_that_was_ended_is_made_anew(store: Store, postgres_url: str) -> None:
    store.put_revision(WEB, Revision(1))
    for work in (
        lambda: store.list("c1"),
        lambda: store.put_revision(WEB, Revision(2)),
        lambda: store.set_meta("x", "1"),
        lambda: store.revision(WEB, 1),
    ):
        before = session(store)
        kill_session(store, postgres_url)
        work()
        assert session(store) != before
    assert [one.number for one in store.revisions(WEB)] == [1, 2]


def test_what_was_lost_in_the_middle_was_not_written(store: Store, postgres_url: str) -> None:
    lease = store.acquire(WEB.scope)

    def lost() -> None:
        with store.transaction():
            store.begin(WEB, lease, 1, 1, REF, "create", {})
            kill_session(store, postgres_url)
            store.begin(WEB, lease, 1, 2, REF, "create", {})

    def goes_on() -> None:
        with store.transaction():
            kill_session(store, postgres_url)
            with pytest.raises(StoreError):
                store.set_meta("x", "1")
            store.set_meta("x", "2")

    with pytest.raises(StoreError) as caught:
        lost()
    assert "recover" in caught.value.hint
    assert store.open_entries(WEB) == []
    with pytest.raises(StoreError, match="nothing of this step"):
        goes_on()
    assert "x" not in store.meta()


class Breaking:
    """A connection that is cut right before or after its COMMIT."""

    def __init__(self, real: Any, url: str, when: str) -> None:
        self.real, self.url, self.when = real, url, when

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def execute(self, sql: Any, *args: Any) -> Any:
        if sql != "COMMIT":
            return self.real.execute(sql, *args)
        import psycopg

        if self.when == "after":
            self.real.execute(sql)
        with psycopg.connect(self.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (self.real.info.backend_pid,))
        time.sleep(0.05)
        return self.real.execute(sql)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_commit_nobody_heard_of_is_asked_for(store: Store, postgres_url: str, when: str) -> None:
    assert isinstance(store.db, PostgresDatabase)
    store.db._connection = Breaking(store.db._connection, postgres_url, when)  # type: ignore[assignment]
    if when == "after":
        store.put_revision(WEB, Revision(1))
        assert [one.number for one in store.revisions(WEB)] == [1]
    else:
        with pytest.raises(StoreError):
            store.put_revision(WEB, Revision(1))
        assert store.revisions(WEB) == []
        store.put_revision(WEB, Revision(1))


def test_a_session_that_stands_still_keeps_nobody_waiting(postgres_url: str, store: Store) -> None:
    """A computer that went to sleep in the middle of a step: the server ends its session after a while."""
    with running("stand_still", postgres_url) as process:
        assert line(process) == "inside"
        process.send_signal(signal.SIGSTOP)
        others: list[int] = []
        thread = threading.Thread(target=lambda: others.append(store.acquire(WEB.scope, wait=60).fence))
        thread.start()
        import psycopg

        with psycopg.connect(postgres_url, autocommit=True) as other:  # not to wait for it here
            (row,) = other.execute(
                "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction' AND pid <> %s", (session(store),)
            ).fetchall()
            other.execute("SELECT pg_terminate_backend(%s)", row)
        thread.join(30)
        process.send_signal(signal.SIGCONT)
        assert line(process).startswith("refused")
    assert others == [1]
    assert 5 <= IDLE <= 60


def test_the_server_ends_idle_transactions_by_itself(store: Store) -> None:
    with store.transaction():
        assert store.db.value("SHOW idle_in_transaction_session_timeout") == f"{IDLE}s"
        assert store.db.value("SHOW lock_timeout") == "5s"
    assert store.db.value("SHOW idle_in_transaction_session_timeout") == "0"  # a pooler gets the session back clean


def test_forked_processes_have_sessions_of_their_own(store: Store) -> None:
    store.put_revision(WEB, Revision(1))
    child = os.fork()
    if not child:
        try:
            store.put_revision(WEB, Revision(2))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    store.put_revision(WEB, Revision(3))
    assert [one.number for one in store.revisions(WEB)] == [1, 2, 3]


def test_texts_that_postgresql_cannot_hold(store: Store) -> None:
    lease = store.acquire(WEB.scope)
    entry = store.begin(WEB, lease, 1, 1, REF, "create", {"x": "a\0b"})
    store.outcome(entry, lease, ok=False, error="nul \0 and half \udc80 a character")
    (found,) = store.entries(WEB, 1)
    assert (found.intent, found.error) == ({"x": "a\0b"}, "nul  and half ? a character")


@pytest.mark.parametrize(("encoding", "good"), [("SQL_ASCII", True), ("LATIN1", False)])
def test_databases_in_other_encodings(postgres_server: str, encoding: str, good: bool) -> None:
    with database(postgres_server, encoding) as url:
        if good:
            with open_store(url) as made:
                made.put_revision(WEB, Revision(1, description="\u2603"))
                assert made.get(WEB).current.description == "\u2603"
        else:
            with pytest.raises(StoreError, match="the database is in LATIN1, not in UTF8"):
                open_store(url)


def test_names_sort_by_their_bytes(store: Store) -> None:
    keys = [WEB._replace(name=name) for name in ("a-b", "a.b", "ab", "a", "b")]
    for key in keys:
        store.put_revision(key, Revision(1))
    assert [one.key.name for one in store.list("c1")] == sorted(key.name for key in keys)


# -- when it does not work -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with throw_away() as server:
        yield server


def test_a_restart_is_waited_for(own_server: Server) -> None:
    with open_store(own_server.url, busy=30) as store:
        lease = store.acquire(WEB.scope)
        store.put_revision(WEB, Revision(1), lease=lease)
        own_server.stop(signal.SIGQUIT)  # as a crash
        timer = threading.Timer(0.3, own_server.start)
        timer.start()
        entry = store.begin(WEB, lease, 1, 1, REF, "create", {})
        timer.join()
        store.outcome(entry, lease, ok=True)
        assert [one.ok for one in store.entries(WEB, 1)] == [True]


def test_a_server_that_stays_away(own_server: Server) -> None:
    with open_store(own_server.url, busy=0.1) as store:
        own_server.stop(signal.SIGINT)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.list("c1")
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            open_store(own_server.url)
        assert "URL" in caught.value.hint
        own_server.start()
        store.list("c1")


def test_tables_of_another_program(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("CREATE TABLE unrelated (x int)")  # beside ours is no harm
        other.execute("CREATE TABLE releases (x int)")
    with pytest.raises(StoreError, match="belongs to another program"):
        open_store(postgres_url)


def test_rights_and_names(postgres_url: str, postgres_server: str) -> None:
    import psycopg

    role = f"reader_{os.getpid()}"
    with psycopg.connect(postgres_server, autocommit=True) as other:
        other.execute(f"CREATE ROLE {role} LOGIN")
    try:
        mine = postgres_url.replace("//postgres@", f"//{role}@")
        with pytest.raises(StoreError, match="not for this role"):
            open_store(mine)
        schema = postgres_url.rpartition("%3D")[2]
        with psycopg.connect(postgres_server, autocommit=True) as other:
            other.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        with pytest.raises(StoreError, match="permission denied") as caught:
            open_store(mine)
        assert "CREATE and USAGE" in caught.value.hint
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as other:
            other.execute(f"DROP OWNED BY {role}")
            other.execute(f"DROP ROLE {role}")
    with pytest.raises(StoreError, match='database "nowhere" does not exist') as caught:
        open_store(postgres_server.replace("/postgres?", "/nowhere?"))
    assert "CREATE DATABASE" in caught.value.hint
    with pytest.raises(StoreError, match="schema"):
        open_store(f"{postgres_server}&options=-csearch_path%3Dnot_there")


def test_a_replica_cannot_be_written(store: Store) -> None:
    with pytest.raises(StoreError, match="replica"), store.db.transaction(write=False):
        store.set_meta("x", "1")


def test_a_lock_that_is_not_given_up(postgres_url: str, store: Store) -> None:
    with open_store(postgres_url, busy=0.05) as other, store.transaction():
        with pytest.raises(StoreError, match="locked for too long") as caught:
            other.put_revision(WEB, Revision(1))
        assert "pg_stat_activity" in caught.value.hint
        assert other.list(None) == []


# -- without a server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5/d", "postgresql://u:***@h:5/d"),
        ("postgresql://u@h/d?password=secret&x=1", "postgresql://u@h/d?password=***&x=1"),
        ("postgresql://u:${secret://env/PW}@h/d", "postgresql://u:${secret://env/PW}@h/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_placeholders() -> None:
    assert translate("SELECT 1 WHERE a = ? AND b LIKE '%x'") == "SELECT 1 WHERE a = %s AND b LIKE '%%x'"


def test_a_url_that_is_none() -> None:
    with pytest.raises((StoreError, InvalidError), match="release store"):
        open_store("postgresql://h/d?no_such_option=1")


def test_without_the_extra() -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['psycopg'] = None\nfrom pvehelm.faces.cli.app import main\nsys.exit(main(['list']))"
    environ = {**os.environ, "PVEHELM_STORE": "postgresql://h/d"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pvehelm[postgres]" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_moves_there_and_back(lab: Lab, postgres_url: str) -> None:
    chart = lab.chart(
        "kind: VirtualMachine\nmetadata: {name: a}\nspec: {node: pve-node1, cloudInit: {password: hunter2}}\n"
    )
    lab.run("install", "web", chart)
    shown = lab.run("store", "migrate", "--to", postgres_url)
    assert "1 release moved to postgresql://" in shown.out
    assert "PVEHELM_KEY" in shown.out
    assert "was moved to postgresql://" in lab.run("list", code=1).err
    back = str(lab.data / "releases.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PVEHELM_STORE", postgres_url)
        lab.run("upgrade", "web", chart, "--set", "x=1")
        assert [row["action"] for row in lab.run("audit", "-o", "json").json] == ["install", "migrate-store", "upgrade"]
        assert lab.run("audit", "-o", "json").json[1]["given"]["to"].startswith("postgresql://")
        lab.run("store", "verify")
        # Another computer has another key file, or none.
        patch.setenv("PVEHELM_DATA", str(lab.folder / "elsewhere"))
        assert "key of the release secrets is not here" in lab.run("store", "verify", "--offline", code=1).out
        patch.setenv("PVEHELM_DATA", str(lab.data))
        lab.run("store", "migrate", "--to", postgres_url, code=64)
        lab.run("store", "migrate", "--to", back)
    lab.settled("web")
    lab.sound("web")
    assert len(lab.history("web")) == 2
    assert lab.run("audit", "--verify", "-o", "json").json["sound"]
