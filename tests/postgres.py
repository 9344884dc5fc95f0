"""A PostgreSQL server for the tests: one for the session, thrown away at its end; a schema of its own for each test.

It listens on a socket in a folder of its own and nowhere else. PostgreSQL refuses to run as root, so root runs it as
an unprivileged user. ``PVEHELM_TEST_POSTGRES=postgresql://...`` names a server that is there already.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

USERS = ("postgres", "nobody")
_schemas = itertools.count(1)


def programs() -> Path | None:
    """The folder of the newest server that is installed."""
    found = shutil.which("postgres")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def available() -> bool:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return bool(os.environ.get("PVEHELM_TEST_POSTGRES")) or programs() is not None


class Server:
    """A server that can be stopped and started again. ``url`` is its database's."""

    def __init__(self, bin: Path, folder: Path) -> None:
        self.bin, self.folder = bin, folder
        self.user: str | None = None
        if os.geteuid() == 0:
            known = {entry.pw_name for entry in pwd.getpwall()}
            self.user = next(name for name in USERS if name in known)
            shutil.chown(folder, self.user)
        self.data = folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        command = ["initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
        self._run(*command, "--no-sync", "--no-instructions")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def _run(self, program: str, *args: object) -> None:
        line = [str(self.bin / program), *map(str, args)]
        done = subprocess.run(line, capture_output=True, text=True, user=self.user, cwd=self.folder, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        quick = ["fsync=off", "full_page_writes=off", "max_connections=100", "shared_buffers=16MB", "autovacuum=off"]
        options = [part for option in quick for part in ("-c", option)]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-k", self.folder, "-h", "", *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=self.user,
                cwd=self.folder,
                start_new_session=True,
            )
        # A test run that is killed leaves no server: the end of this pipe is the end of the tests.
        watch = 'read _; kill -INT "$0"'
        self.watch = subprocess.Popen(
            ["sh", "-c", watch, str(self.process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + 60
        import psycopg

        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self, how: int) -> None:
        """``SIGINT``: in good order, ending all sessions; ``SIGQUIT``: as a crash does."""
        assert self.process is not None
        self.watch.kill()
        self.watch.communicate()
        self.process.send_signal(how)
        self.process.wait(60)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a server; skips where there is none."""
    given = os.environ.get("PVEHELM_TEST_POSTGRES")
    if not available():
        pytest.skip("there is no PostgreSQL here (apt install postgresql, pip install psycopg[binary])")
    if given:
        yield given
        return
    with throw_away() as server:
        yield server.url


class throw_away:
    """A server while it is needed."""

    def __enter__(self) -> Server:
        found = programs()
        if found is None:
            pytest.skip("there is no PostgreSQL here that could be started (apt install postgresql)")
        self.folder = Path(tempfile.mkdtemp(prefix="pvehelm-pg-"))
        self.server = Server(found, self.folder)
        return self.server

    def __exit__(self, *_: object) -> None:
        import signal

        self.server.stop(signal.SIGINT)
        shutil.rmtree(self.folder)


@contextmanager
def schema(server: str) -> Iterator[str]:
    """The URL of a new store, dropped at the end."""
    import psycopg

    name = f"test_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning")
        connection.execute(f"DROP SCHEMA {name} CASCADE")


@contextmanager
def database(server: str, encoding: str) -> Iterator[str]:
    """The URL of a database in that encoding, dropped at the end."""
    import psycopg

    name = f"test_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    parts = urlsplit(server)
    yield urlunsplit(parts._replace(path=f"/{name}"))
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a store of this test alone."""
    with schema(postgres_server) as url:
        yield url
