"""The release engine's laboratory with somebody else's server behind it: fakepve, as a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.release import ReleaseKey
from tests.release.lab import Lab

HERE = Path(__file__).parent
FINDINGS: list[dict[str, Any]] = yaml.safe_load((HERE / "findings.yaml").read_text())
PYTHON = os.environ.get("FAKEPVE_PYTHON") or (sys.executable if importlib.util.find_spec("fakepve") else "")
needs_fakepve = pytest.mark.skipif(
    not PYTHON,
    reason="fakepve is not here: pip install 'pvehelm[thirdparty]', or FAKEPVE_PYTHON=/its/environment/bin/python",
)


class Peer:
    """fakepve in its own process. ``peer.METHOD(...)`` calls a method of it."""

    def __init__(self, folder: Path) -> None:
        base = folder / "base.json"
        base.write_text((HERE / "base.json").read_text())
        self._process = subprocess.Popen(
            [PYTHON, "-I", str(HERE / "peer.py"), str(base)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
        )
        at = self._heard()
        self.url: str = at["url"]
        self.fingerprint: str = at["fingerprint"]

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "fakepve's process ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["data"]

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **keywords: Any) -> Any:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([name, args, keywords]) + "\n")
            self._process.stdin.flush()
            return self._heard()

        return call

    def close(self) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


class ForeignLab(Lab):
    """The command line with fakepve as its context; ``guests``, ``config`` and the like look there."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.peer = Peer(folder)
        monkeypatch.setenv("FAKEPVE_PW", "secret")
        where = ("--host", self.peer.url, "--user", "root@pam", "--secret", "secret://env/FAKEPVE_PW")
        self.run("context", "add", "fake", *where, "--fingerprint", self.peer.fingerprint)

    def close(self) -> None:
        self.peer.close()
        super().close()

    def guests(self) -> dict[str, Any]:
        return {vmid: guest for vmid, guest in self.peer.guests().items() if vmid != "9000"}

    def config(self, vmid: int | str) -> dict[str, Any]:
        return dict(self.guests()[str(vmid)]["config"])

    def volumes(self) -> set[str]:
        return {volume for volume in self.peer.volumes() if re.search(r"[/:](vm|base|subvol)-(?!9000)", volume)}

    def key(self, release: str, namespace: str = "default") -> ReleaseKey:
        with self.store() as store:
            return next(found.key for found in store.list(None, namespace) if found.key.name == release)

    def sound(self, *releases: str) -> None:
        """Every guest belongs to one of the releases, and nothing of theirs is left open."""
        owned = [entry for release in releases for entry in self.inventory(release) if entry.kind in GUEST_KINDS]
        assert sorted(str(entry.identifier["vmid"]) for entry in owned) == sorted(self.guests())
        with self.store() as store:
            assert [key for key in map(self.key, releases) if store.open_entries(key)] == []
