"""--post-renderer: the user's own program changes manifests, and is told on when it spoils them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.release.lab import Lab

CHART = """\
apiVersion: proxmox.io/v1
kind: Pool
metadata: { name: "{{ Release.Name }}" }
spec: { comment: "{{ Values.text }}" }
---
apiVersion: proxmox.io/v1
kind: User
metadata: { name: "{{ Release.Name }}@pve" }
spec: { password: "{{ Values.password }}" }
"""


def program(lab: Lab, body: str) -> str:
    place = lab.folder / "change.py"
    place.write_text(f"#!{sys.executable}\nimport sys\ntext = sys.stdin.read()\n{body}\n")
    place.chmod(0o755)
    return str(place)


@pytest.fixture
def chart(lab: Lab) -> str:
    return lab.chart(CHART, values="text: plain\npassword: correct-horse\n")


CHANGE = 'print(text.replace("plain", sys.argv[1]))'


def test_what_it_says_is_installed(lab: Lab, chart: str) -> None:
    flags = ("--post-renderer", program(lab, CHANGE), "--post-renderer-args", "changed", "--allow-privileged", "User")
    assert 'comment: "changed"' in lab.run("template", "web", chart, *flags[:4]).out
    assert 'comment: "changed"' in lab.run("install", "web", chart, *flags, "--dry-run=client").out
    assert "comment: changed" in lab.run("plan", "install", "web", chart, *flags).out
    lab.run("install", "web", chart, *flags)
    assert lab.api.ok("GET", "/pools")[0]["comment"] == "changed"
    assert "nothing to do" in lab.run("upgrade", "web", chart, *flags).out
    assert "comment: changed -> plain" in lab.run("diff", "web", chart, "--allow-privileged", "User").out
    lab.run("diff", "web", chart, *flags, "--detailed-exitcode")


def test_it_sees_references_for_secrets(lab: Lab, chart: str) -> None:
    body = f'open("{lab.folder}/seen", "w").write(text)\nprint(text)'
    lab.run("install", "web", chart, "--post-renderer", program(lab, body), "--allow-privileged", "User")
    seen = (lab.folder / "seen").read_text()
    assert "correct-horse" not in seen
    assert "secret://release/" in seen


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("", "printed nothing"),
        ('sys.exit("no such patch")', "failed with exit code 1"),
        ('print("kind: [")', "change.py:"),
        ('print(text + "---\\nkind: Pool\\n")', "metadata.name is missing"),
        ('print(text.replace("comment", "coment"))', "coment"),
        ("print(text + text)", "given twice"),
        ('sys.stdout.buffer.write(b"\\xff")', "not UTF-8"),
    ],
)
def test_what_is_refused(lab: Lab, chart: str, body: str, told: str) -> None:
    flags = ("--post-renderer", program(lab, body), "--allow-privileged", "User")
    for verb in (("template", "web", chart, *flags[:2]), ("install", "web", chart, *flags)):
        assert told in lab.run(*verb, code=1).err
    assert lab.run("list", "-q").out == ""


def test_what_cannot_be_run(lab: Lab, chart: str, tmp_path: Path) -> None:
    assert "there is no post-renderer" in lab.run("template", chart, "--post-renderer", "./nothing", code=1).err
    plain = tmp_path / "plain"
    plain.write_text("")
    assert "chmod +x" in lab.run("template", chart, "--post-renderer", str(plain), code=1).err
    assert lab.run("template", chart, "--post-renderer-args", "x", code=64)
    assert lab.run("template", chart, "--post-renderer", "cat", "-s", "templates/all.yaml", code=64)
    assert lab.run("template", chart, "--post-renderer", "cat").out == lab.run("template", chart).out
