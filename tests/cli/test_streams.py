"""Pipes that are closed, disks that are full, interrupts: work goes on to its end, or says why not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pvehelm.errors import PvehelmError
from pvehelm.faces.cli.command import write_file
from tests.release.charts import SCALED
from tests.release.lab import Lab

POOL = {"pool.yaml": "kind: Pool\nmetadata: { name: web }\n"}
PVEHELM = (sys.executable, "-m", "pvehelm")


@pytest.mark.parametrize(
    "words", [["list"], ["--help"], ["api-resources"], ["explain", "vm"], ["env"], ["get", "nodes"]]
)
def test_a_reader_that_has_seen_enough(words: list[str], lab: Lab) -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        run = subprocess.run([*PVEHELM, *words], stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Traceback" not in run.stderr
    assert "Error" not in run.stderr


def test_work_goes_on_when_nobody_listens(lab: Lab) -> None:
    chart = lab.chart(POOL)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        assert subprocess.run([*PVEHELM, "install", "web", chart], stdout=closed, stderr=closed).returncode == 0
        assert lab.status("web") == "deployed"
        failed = subprocess.run([*PVEHELM, "install", "web", chart], stdout=closed, stderr=closed)
    # An error is one also where nobody hears of it.
    assert failed.returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_messages(lab: Lab) -> None:
    chart = lab.chart(POOL)
    with open("/dev/full", "w") as full:
        run = subprocess.run([*PVEHELM, "install", "web", chart], stdout=subprocess.PIPE, stderr=full, text=True)
        assert (run.returncode, "STATUS: deployed" in run.stdout) == (0, True)
        told = subprocess.run([*PVEHELM, "list"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert told.returncode == 1
    assert "Error: the output can't be written: No space left on device\n" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "below" / "file"
    write_file(target, "one")
    write_file(target, b"two")
    assert (target.read_text(), os.listdir(target.parent)) == ("two", ["file"])
    link = tmp_path / "link"
    link.symlink_to("/dev/full")
    with pytest.raises(PvehelmError, match=r"can't write .*link: No space left"):
        write_file(link, "x")
    assert link.is_symlink()
    with pytest.raises(PvehelmError, match=r"can't write .*below"):
        write_file(target.parent, "x")


def test_no_output_at_all(lab: Lab) -> None:
    command = f"'{sys.executable}' -m pvehelm list >&- 2>&-"
    assert subprocess.run(["sh", "-c", command]).returncode == 0


def test_nobody_to_ask(lab: Lab) -> None:
    """Closed streams are as good as empty ones, and what is opened does not get into their places."""
    chart = lab.chart(SCALED)

    def closed(*words: str, streams: str = "<&-") -> subprocess.CompletedProcess[str]:
        shell = ["sh", "-c", f'exec "$@" {streams}', "sh", *PVEHELM, *words]
        return subprocess.run(shell, capture_output=True, text=True, check=False)

    assert closed("install", "web", chart, streams="<&- >&- 2>&-").returncode == 0
    lab.sound("web")
    refused = closed("uninstall", "web")
    assert (refused.returncode, "--yes confirms" in refused.stderr) == (3, True), refused
    missing = closed("apply", "-f", "-", "--set-name", "x")
    assert (missing.returncode, "no manifests in standard input" in missing.stderr) == (64, True), missing
    assert closed("uninstall", "web", "--yes", streams="<&- >&- 2>&-").returncode == 0
    assert not lab.guests()


def test_every_letter_under_a_locale_that_has_few(lab: Lab) -> None:
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    manifest = "kind: Pool\nmetadata: { name: web }\nspec: { comment: grün → ✓ }\n".encode()

    def run(*words: str | bytes, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*PVEHELM, *words], env=env, input=stdin, capture_output=True, check=False)

    applied = run("apply", "-f", "-", "--set-name", "web", stdin=manifest)
    assert applied.returncode == 0, applied
    assert "grün → ✓".encode() in run("get", "pools").stdout
    odd = run("history", b"a\xff")
    assert (odd.returncode, b"'a\\udcff': an argument is no UTF-8 text" in odd.stderr) == (64, True), odd


def test_an_interrupt_is_answered(lab: Lab) -> None:
    # In the middle of work that no loop does: a template that never ends.
    chart = lab.chart({"pool.yaml": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"})
    program = (
        "import os, signal, sys, threading\n"
        "from pvehelm.__main__ import main\n"
        "threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "sys.exit(main())\n"
    )
    command = [sys.executable, "-c", program, "template", chart]
    run = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    assert (run.returncode, run.stderr.splitlines()[-1:]) == (130, ["interrupted"]), run
    assert signal.getsignal(signal.SIGINT) is not None
