"""A laboratory for the release engine: the real command line, a simulator of its own, charts from a few lines.

Nothing is replaced: ``run`` calls the command line's own ``main`` (or ``start`` a process), ``api`` speaks to the same
simulator state as another client would, ``store`` opens the same release store.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.config import load
from pvehelm.faces.build import build_context
from pvehelm.faces.cli.app import main
from pvehelm.release.context import Context
from pvehelm.release.inventory import GUEST_KINDS, Inventory
from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store, open_store
from pvehelm.simulator import faults
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.state import State
from tests.helpers import ROOT
from tests.simulator.api import Api


@dataclass
class Result:
    """What a command ended with."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def __repr__(self) -> str:
        return f"$ pvehelm {' '.join(self.args)}\n-> {self.code}\n{self.out}\n--- stderr\n{self.err}"


def with_context(work: Callable[[Context], Awaitable[Any]]) -> Any:
    """What an action gives in a context of the laboratory's."""

    async def main() -> Any:
        ctx = build_context(load(), announce=False)
        try:
            return await work(ctx)
        finally:
            await ctx.aclose()

    return asyncio.run(main())


class Lab:
    """One data directory: its simulator, its store, its charts."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.monkeypatch = monkeypatch
        for name in list(os.environ):
            if name.startswith("PVEHELM_") and name != "PVEHELM_CACHE":
                monkeypatch.delenv(name)
        monkeypatch.setenv("PVEHELM_DATA", str(self.data))
        monkeypatch.setenv("PVEHELM_CONFIG", str(folder / "config.yaml"))
        monkeypatch.setenv("NO_COLOR", "1")
        self.data.mkdir(parents=True, exist_ok=True)
        self.open()

    def open(self) -> None:
        self.state = State(str(self.data / "simulator.db"))
        self.api = Api(Simulator(self.state))

    def close(self) -> None:
        self.state.close()

    def save(self) -> Path:
        """A copy of everything, for ``restore``."""
        copy = self.folder / "saved"
        self.close()
        shutil.copytree(self.data, copy, dirs_exist_ok=True)
        self.open()
        return copy

    def restore(self, copy: Path) -> None:
        self.close()
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)
        self.open()

    # -- charts ------------------------------------------------------------------------------------------------

    def chart(self, manifests: str | Mapping[str, str], *, values: str = "", name: str = "app", **files: str) -> str:
        """A chart of these templates in place of the one of that name before; its path."""
        folder = self.folder / "charts" / name
        templates = {"all.yaml": manifests} if isinstance(manifests, str) else manifests
        if folder.exists():
            for old in (folder / "templates").iterdir():
                old.unlink()
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: {name}\nversion: 0.1.0\n")
        (folder / "values.yaml").write_text(values)
        for path, text in templates.items():
            (folder / "templates" / path).write_text(text)
        for path, text in files.items():
            (folder / path.replace("_", ".")).write_text(text)
        return str(folder)

    # -- the command line --------------------------------------------------------------------------------------

    def run(self, *args: str, code: int | None = 0, stdin: str = "") -> Result:
        """The command line, in this process."""
        out, err = io.StringIO(), io.StringIO()
        self.monkeypatch.setattr(sys, "argv", ["pvehelm", *args])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            ended = main(list(args))
        result = Result(args, ended, out.getvalue(), err.getvalue())
        assert "Traceback" not in result.text, result
        assert "a defect of pvehelm" not in result.err, result
        if code is not None:
            assert ended == code, result
        return result

    def start(self, *args: str, **more: Any) -> subprocess.Popen[str]:
        """The command line, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "pvehelm", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            **more,
        )

    def killed(self, method: str, when: str, count: int, *args: str) -> bool:
        """The command line in a forked process that kills itself ``before`` or ``after`` its ``count``-th call of a
        method of the store; whether it came to that."""
        self.close()  # a database connection must not be carried into a child
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._die(method, when, count, args)
        _, status = os.waitpid(child, 0)
        self.open()
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    def _die(self, method: str, when: str, count: int, args: tuple[str, ...]) -> None:
        try:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            real = getattr(Store, method)
            left = itertools.count(1)

            def deadly(*given: Any, **more: Any) -> Any:
                mine = next(left) == count
                if mine and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                answer = real(*given, **more)
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)
                return answer

            setattr(Store, method, deadly)
            sys.argv = ["pvehelm", *args]
            main(list(args))
        finally:
            os._exit(0)

    def settled(self, release: str, *more: str, chart: str = "") -> None:
        """The second plan is empty: nothing differs, and the same upgrade writes no revision."""
        result = self.run("diff", release, "--detailed-exitcode", *more, code=None)
        assert result.code == 0, result
        if chart:
            before = self.history(release)
            again = self.run("upgrade", release, chart, *more)
            assert "nothing to do" in again.out, again
            assert self.history(release) == before

    def history(self, release: str) -> Any:
        return self.run("history", release, "-o", "json").json

    def status(self, release: str) -> str:
        return str(self.run("status", release, "-o", "json").json["info"]["status"])

    # -- what there is -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        with open_store(environ={"PVEHELM_DATA": str(self.data)}) as opened:
            yield opened

    def key(self, release: str, namespace: str = "default") -> ReleaseKey:
        return ReleaseKey(self.state.cluster_id, namespace, release)

    def inventory(self, release: str) -> Inventory:
        with self.store() as store:
            return store.inventory(self.key(release))

    def vmid(self, release: str, ref: str) -> int:
        return int(self.inventory(release).entries[ref].identifier["vmid"])

    def guests(self) -> dict[str, Any]:
        """Every guest but the base's template: ``vmid -> document`` of the simulator."""
        found = {**self.state.collection("qemu"), **self.state.collection("lxc")}
        return {vmid: document for vmid, document in found.items() if vmid != "9000"}

    def config(self, vmid: int | str) -> dict[str, Any]:
        """A guest's configuration, with what waits for a restart."""
        guest = self.guests()[str(vmid)]
        config = {**guest["config"], **guest.get("pending", {})}
        return {name: value for name, value in config.items() if name not in guest.get("delete", ())}

    def volumes(self) -> set[str]:
        """Volumes beside those of the base."""
        return {v for v, d in self.state.collection("volumes").items() if d.get("vmid") not in (None, 9000)}

    def set(self, vmid: int, **params: Any) -> None:
        """An administrator changes a guest by hand."""
        kind, node = self._where(vmid)
        method = "POST" if kind == "qemu" else "PUT"
        self.api.ok(method, f"/nodes/{node}/{kind}/{vmid}/config", **params)

    def power(self, vmid: int, action: str) -> None:
        kind, node = self._where(vmid)
        self.api.ok("POST", f"/nodes/{node}/{kind}/{vmid}/status/{action}")

    def remove(self, vmid: int) -> None:
        kind, node = self._where(vmid)
        if self.guests()[str(vmid)]["status"] == "running":
            self.power(vmid, "stop")
        self.api.ok("DELETE", f"/nodes/{node}/{kind}/{vmid}")

    def _where(self, vmid: int) -> tuple[str, str]:
        kind = "qemu" if str(vmid) in self.state.collection("qemu") else "lxc"
        return kind, str(self.state.collection(kind)[str(vmid)]["node"])

    def fault(self, match: str, *, times: int | None = None, **what: Any) -> None:
        faults.add(self.state, match, times=times, **what)

    def has_faults(self) -> bool:
        """Whether a fault is still to strike."""
        return bool(faults.listed(self.state))

    def clear_faults(self) -> None:
        faults.clear(self.state)

    def sound(self, *releases: str, strangers: Iterable[int] = ()) -> None:
        """No guest, volume or VMID is lost or orphaned: what the releases own is just what is there, but for guests of
        nobody, ``strangers``."""
        owned: dict[int, str] = {}
        for release in releases:
            for entry in self.inventory(release):
                if entry.kind in GUEST_KINDS:
                    vmid = int(entry.identifier["vmid"])
                    assert vmid not in owned, f"VMID {vmid} twice: {owned[vmid]} and {release}/{entry.ref}"
                    owned[vmid] = f"{release}/{entry.ref}"
        theirs = set(strangers) - owned.keys()
        assert {str(vmid) for vmid in owned.keys() | theirs} == set(self.guests())
        for volid, document in self.state.collection("volumes").items():
            if document.get("vmid") not in (None, 9000) and document.get("content") != "backup":
                assert int(document["vmid"]) in owned.keys() | theirs, f"orphan volume {volid}"
        with self.store() as store:
            assert store.reserved(self.state.cluster_id) == set(owned), "a reservation is left or missing"
            for release in releases:
                assert store.open_entries(self.key(release)) == []


def load_cases(name: str) -> list[dict[str, Any]]:
    """The cases of a data file beside the tests."""
    cases = yaml.safe_load((ROOT / "tests" / name).read_text())
    assert isinstance(cases, list)
    return cases
