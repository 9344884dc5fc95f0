"""The release store: long histories, and what one more revision costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pvehelm.faces.build import simulator_cluster
from pvehelm.release.release import ReleaseKey, Revision, Status
from pvehelm.release.store import Store, open_store
from tests.benchmarks.conftest import note, paired

MANIFEST = "".join(
    f"---\napiVersion: proxmox.io/v1\nkind: VirtualMachine\nmetadata:\n  name: web-{number}\nspec:\n  memory: 2048\n"
    for number in range(20)
)
PLAN = {"changes": [{"ref": f"VirtualMachine/web-{number}", "op": "keep", "steps": []} for number in range(20)]}


def upgrade(store: Store, key: ReleaseKey, number: int) -> None:
    """What an upgrade writes that changes next to nothing: one value."""
    values = {"replicas": 20, "tag": number}
    revision = Revision(number, Status.failed, "web", "1.0.0", user_values=values, values=values, manifest=MANIFEST)
    with store.hold(key.scope, purpose="upgrade") as lease:
        store.put_revision(key, revision._replace(plan=PLAN), lease=lease)
        store.put_revision(key, revision._replace(plan=PLAN, status=Status.deployed), lease=lease)


@pytest.mark.usefixtures("compiled")
def test_a_long_history(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepared(name: str, count: int) -> Callable[[str], Callable[[], object]]:
        data = home / name
        monkeypatch.setenv("PVEHELM_DATA", str(data))
        key = ReleaseKey(simulator_cluster(), "default", "web")
        with open_store(environ={"PVEHELM_DATA": str(data)}) as store:
            for number in range(1, count + 1):
                upgrade(store, key, number)
            store.db.compact()
        script = str(Path(sys.executable).with_name("pvehelm"))
        env = {**os.environ, "PVEHELM_DATA": str(data)}

        def make(command: str) -> Callable[[], object]:
            return lambda: subprocess.run(
                [sys.executable, script, *command.split()], env=env, capture_output=True, check=True
            )

        return make

    many, few = prepared("many", 1000), prepared("few", 10)
    for command in ("list", "status web", "history web", "history web --max 10"):
        long, short, ratio = paired(many(command), few(command), rounds=11)
        shown = f"{long * 1000:.0f} ms at 1,000 revisions, {short * 1000:.0f} ms at 10"
        note(f"pvehelm {command}: {shown}, ratio {ratio:.2f} (goal 1.3)")


def test_bytes_of_an_upgrade(home: Path) -> None:
    """By the real command: one value changes, and with it one field of one guest."""
    script = Path(sys.executable).with_name("pvehelm")
    chart = Path(__file__).resolve().parents[2] / "charts" / "web-app"

    def run(*args: str) -> None:
        subprocess.run([sys.executable, str(script), *args], env=os.environ.copy(), capture_output=True, check=True)

    def size() -> int:
        with open_store() as store:
            store.db.compact()
            return store.db.size()

    run("install", "web", str(chart))
    before, count = size(), 20
    for number in range(count):
        run("upgrade", "web", str(chart), "--set", f"web.memory={2048 + 8 * number}", "--history-max", "0")
    each = (size() - before) / count
    with open_store() as store:
        release = store.list(None)[0]
        whole = len(store.revision(release.key, release.current.number).manifest)
        assert release.current.number == count + 1
        parts = {
            table: store.db.value(f"SELECT sum(length({column})) FROM {table}") / count
            for table, column in (("journal", "intent"), ("audit", "body"), ("blobs", "data"))
        }
    shown = ", ".join(f"{name} {value:.0f}" for name, value in parts.items())
    note(f"stored for an upgrade of one value: {each:.0f} bytes ({shown}); its manifest alone has {whole}")
