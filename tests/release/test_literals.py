"""A plain password reaches the server and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvehelm.faces.cli.app import main

PLAIN = "Correct-Horse-7"
OTHER = "Battery-Staple-8"
USER = """\
kind: User
metadata: { name: ann@pve }
spec: { password: {{ Values.pw | toJson }}, comment: {{ Values.comment | toJson }} }
---
kind: VirtualMachine
metadata: { name: vm }
spec: { node: pve-node1, power: stopped, cloudInit: { user: ann, password: "{{ Values.pw }}" }, memory: 64 }
---
kind: Container
metadata: { name: ct }
spec:
  node: pve-node1
  image: "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  rootfs: { storage: local-lvm, size: 1G }
  password: "{{ Values.pw }}"
  power: stopped
"""


@pytest.fixture
def chart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVEHELM_DATA", str(tmp_path / "data"))
    folder = tmp_path / "secretive"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: secretive\nversion: 0.1.0\n")
    (folder / "values.yaml").write_text('pw: ""\ncomment: words\n')
    (folder / "templates" / "all.yaml").write_text(USER)
    (folder / "templates" / "NOTES.txt").write_text("The password is {{ Values.pw }}\n")
    return folder


def run(*words: str) -> int:
    return main([*words, "--allow-privileged", "all"])


def test_plain_secrets_are_sealed(chart: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("install", "s", str(chart), "--set", f"pw={PLAIN}", "--dry-run") == 0
    assert run("install", "s", str(chart), "--set", f"pw={PLAIN}") == 0
    assert main(["api", "post", "/access/ticket", "username=ann@pve", f"password={PLAIN}", "-o", "json"]) == 0
    said = capsys.readouterr()
    said_of_us = said.out.replace("ann@pve", "")
    assert main(["get", "all", "s"]) == 0
    assert main(["status", "s", "-o", "json"]) == 0
    assert PLAIN not in capsys.readouterr().out + said_of_us + said.err
    for path in (tmp_path / "data").glob("releases.db*"):
        assert PLAIN.encode() not in path.read_bytes()


def test_the_same_secret_is_no_change_and_rollback_restores_the_old_one(
    chart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("install", "s", str(chart), "--set", f"pw={PLAIN}") == 0
    for words in (["--set", f"pw={PLAIN}"], []):
        capsys.readouterr()
        assert run("upgrade", "s", str(chart), *words) == 0
        assert "no new revision" in capsys.readouterr().out
    assert run("upgrade", "s", str(chart), "--set", f"pw={OTHER}") == 0
    assert main(["api", "post", "/access/ticket", "username=ann@pve", f"password={OTHER}", "-o", "json"]) == 0
    assert run("rollback", "s", "1") == 0
    assert main(["api", "post", "/access/ticket", "username=ann@pve", f"password={OTHER}", "-o", "json"]) == 1
    assert main(["api", "post", "/access/ticket", "username=ann@pve", f"password={PLAIN}", "-o", "json"]) == 0
