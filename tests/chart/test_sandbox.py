"""The sandbox: limits that hold, questions that are answered, and attacks that get nowhere (cases/attacks)."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.chart.chart import Chart, load
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
from pvehelm.chart.sandbox import Answer, Ask, Limits, dismiss, run, serve
from pvehelm.errors import InvalidError
from tests.chart.data import CASES, write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")

SMALL = Limits(memory=256 * 1024 * 1024, cpu_seconds=1, wall_seconds=30, output=1024 * 1024)


def stopped(work: Any, limits: Limits = SMALL) -> str:
    with pytest.raises(InvalidError) as caught:
        run(work, limits)
    assert caught.value.problems
    return str(caught.value)


def test_the_result_comes_back() -> None:
    assert run(lambda _: {"a": [1, None, "ä\ud800"]}) == {"a": [1, None, "ä\ud800"]}


def test_questions_are_answered() -> None:
    def work(ask: Ask) -> Any:
        return [ask(number) for number in range(3)]

    assert run(work, answer=lambda number: number * 2) == [0, 2, 4]


def test_an_error_of_the_answer_is_raised_here() -> None:
    def answer(_: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(lambda ask: ask(1), answer=answer)


class Counter:
    """Work that counts its jobs."""

    def __init__(self) -> None:
        self.jobs = 0

    def __call__(self, job: Any, ask: Ask) -> Answer:
        self.jobs += 1
        return Answer([self.jobs, os.getpid(), job(ask) if callable(job) else job], {"long": "ä\ud800" * 5})


def test_a_child_stays_for_more_jobs_of_the_same_object() -> None:
    mine, other = object(), object()
    (first, pid, job), texts, _ = serve(Counter, {"a": 1}, SMALL, of=mine)
    assert (first, job, texts) == (1, {"a": 1}, {"long": "ä\ud800" * 5})
    assert pid != os.getpid()
    assert serve(Counter, 2, SMALL, of=mine)[0] == [2, pid, 2]
    for others in (
        serve(Counter, 3, SMALL, of=other)[0],
        serve(Counter, 3, SMALL._replace(output=1 << 16), of=mine)[0],
    ):
        assert others[0] == 1
        assert others[1] != pid
    assert serve(Counter, 4, SMALL)[0][0] == 1
    assert serve(Counter, 4, SMALL, of=mine, name="another")[0][0] == 1
    dismiss()
    assert serve(Counter, 5, SMALL, of=mine)[0][0] == 1


def _hungry(_: Ask) -> int:
    return len(bytearray(1 << 30))


def _busy(_: Ask) -> int:
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass
    return 1


def test_after_a_limit_there_is_another_child_and_each_job_has_all_of_the_time() -> None:
    mine = object()
    limits = SMALL._replace(wall_seconds=30)
    pids = [serve(Counter, _busy, limits, of=mine)[0][:2] for _ in range(4)]
    assert [jobs for jobs, _ in pids] == [1, 2, 3, 4]
    with pytest.raises(InvalidError, match="memory limit"):
        serve(Counter, _hungry, limits, of=mine)
    assert serve(Counter, None, limits, of=mine)[0][0] == 1
    dismiss()


def test_a_child_that_died_in_its_sleep_is_replaced() -> None:
    mine = object()
    _, pid, _ = serve(Counter, None, SMALL, of=mine).data
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert serve(Counter, None, SMALL, of=mine)[0][0] == 1
    dismiss()


def test_another_fork_of_this_process_leaves_the_children_alone() -> None:
    mine = object()
    serve(Counter, None, SMALL, of=mine)
    if not (pid := os.fork()):
        code = 1
        try:
            code = serve(Counter, None, SMALL, of=mine)[0][0] != 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert serve(Counter, None, SMALL, of=mine)[0][0] == 2
    dismiss()


def test_who_says_no_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvehelm.chart.child._FAREWELL", 0.1)

    def work(_: Ask) -> None:
        os.closerange(3, 256)
        time.sleep(600)

    assert "processor limit" in stopped(work)


def test_memory() -> None:
    assert "memory limit of 256 MiB" in stopped(lambda _: len(bytearray(1 << 30)))


def test_processor_time() -> None:
    def work(_: Ask) -> None:
        while True:
            pass

    assert "processor limit of 1 s" in stopped(work, SMALL._replace(wall_seconds=120))


def test_wall_clock() -> None:
    assert "time limit of 0.3 s" in stopped(lambda _: time.sleep(600), SMALL._replace(wall_seconds=0.3))


def test_the_parents_time_is_not_the_templates() -> None:
    limits = SMALL._replace(wall_seconds=1.5)
    assert run(lambda ask: ask(1), limits, answer=lambda _: time.sleep(1.7) or 5) == 5


def test_output() -> None:
    assert "output limit of 1 MiB" in stopped(lambda _: "x" * (32 << 20))


def test_deep_recursion_is_an_error_and_no_crash() -> None:
    def work(_: Ask) -> Any:
        def deeper(depth: int) -> int:
            return deeper(depth + 1)

        return deeper(0)

    assert "RecursionError" in stopped(work)


def test_no_files_no_environment_no_descriptors(tmp_path: Path) -> None:
    inherited = os.open(tmp_path / "secret", os.O_RDWR | os.O_CREAT)
    os.set_inheritable(inherited, True)

    def work(_: Ask) -> Any:
        found: dict[str, Any] = {"environment": dict(os.environ)}
        try:
            os.write(inherited, b"x")
            found["descriptor"] = True
        except OSError:
            found["descriptor"] = False
        return found

    try:
        assert run(work) == {"environment": {}, "descriptor": False}
    finally:
        os.close(inherited)


def test_no_file_is_written(tmp_path: Path) -> None:
    assert "file limit" in stopped(lambda _: (tmp_path / "new").write_text("x"))
    assert not (tmp_path / "new").exists() or not (tmp_path / "new").read_text()


def test_nothing_is_left_behind() -> None:
    dismiss()  # of other tests
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    for _ in range(3):
        run(lambda _: 1)
        stopped(lambda _: time.sleep(9), SMALL._replace(wall_seconds=0.05))
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert sys.getrecursionlimit() <= 10000


# Attacks

ATTACKS = Limits(memory=512 * 1024 * 1024, cpu_seconds=1, wall_seconds=60, output=2 * 1024 * 1024)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Chart:
    files: dict[str, str | bytes] = {
        "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        "values.yaml": "name: web\nlist: [1]\n",
    }
    return load(write(tmp_path_factory.mktemp("attacks") / "web", files))


def attack(chart: Chart, template: str) -> list[str]:
    """The problems of rendering ``template``; fails when there are none."""
    armed = chart._replace(templates={"templates/bomb.yaml": template})
    with pytest.raises(InvalidError) as caught:
        render(armed, coalesce(armed, {}), ReleaseInfo("rel", "ns"), Capabilities(), limits=ATTACKS)
    return [str(problem) for problem in caught.value.problems]


def templates(file: str) -> list[str]:
    found: list[str] = yaml.safe_load((CASES / "attacks" / file).read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("template", templates("escapes.yaml"))
def test_no_way_out(chart: Chart, template: str) -> None:
    told = "\n".join(attack(chart, template))
    for inside in ("<class", "<function", "<module", "built-in", "root:x:", "object at 0x"):
        assert inside not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("template", templates("bombs.yaml"))
def test_no_bomb_goes_off(chart: Chart, template: str) -> None:
    told = attack(chart, template)
    assert all(len(problem) < 2000 for problem in told)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", id="parentheses"),
        pytest.param("{{ " + " + ".join(["1"] * 30000) + " }}{{ nope }}", id="sum"),
        pytest.param("{% if true %}" * 200 + "{% endif %}" * 200 + "{{ nope }}", id="ifs"),
        pytest.param("{% for i in [1] %}" * 50 + "{% endfor %}" * 50 + "{{ nope }}", id="loops"),
        pytest.param("{{ " + "[" * 2000 + "]" * 2000 + " }}", id="lists"),
        pytest.param("{{ 'a'" + "|upper" * 5000 + " }}{{ nope }}", id="filters"),
        pytest.param("{{ x" + ".a" * 20000 + " }}", id="attributes"),
        pytest.param("{{ not " * 1 + "not " * 5000 + "1 }}{{ nope }}", id="not"),
        pytest.param("\0{{ nope }}", id="nul"),
        pytest.param("{{ nope }}\ud7ff\U0010ffff", id="unicode"),
    ],
)
def test_odd_sources_are_problems_and_no_crash(chart: Chart, template: str) -> None:
    assert attack(chart, template)
