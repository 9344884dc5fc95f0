"""The spare: a child that is started early, takes the first work there is, and is left behind by nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chart.data import write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")

#: In a process of its own: where other threads run, as in a test run on several processors, there is no spare.
BEGIN = """\
import json, os, sys
from pvehelm.chart import spare, sandbox
from pvehelm.errors import InvalidError
spare.start({dialects})
(worker,) = spare._mine.waiting
from tests.chart.spare_work import Work, ready
LIMITS = sandbox.Limits(memory=256 << 20, cpu_seconds=1, wall_seconds=60, output=1 << 20)
def serve(what, of=None):
    try:
        return sandbox.serve(Work, what, LIMITS, of=of, ready=ready)[0]
    except InvalidError as error:
        return str(error)
"""


ROOT = str(Path(__file__).parents[2])


def process(script: str, dialects: str = "'jinja2'", cwd: str | Path = ROOT, **environment: str) -> Any:
    found = subprocess.run(
        [sys.executable, "-c", BEGIN.format(dialects=dialects) + script],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": ROOT, **environment},
    )
    assert not found.returncode, found.stderr
    assert not found.stderr
    return json.loads(found.stdout)


def test_it_takes_the_first_work_and_keeps_it() -> None:
    first, second, other, pid, here = process("""
mine = object()
print(json.dumps([serve("who", mine), serve("who", mine), serve("who"), worker.pid, os.getpid()]))
""")
    assert first == second == pid
    assert other not in (pid, here)


def test_it_has_no_environment_and_two_pipes_and_is_ready() -> None:
    found, loaded = process("""
work = serve("inside", mine := object())
print(json.dumps([work, serve("loaded", mine)]))
""")
    assert found["environment"] == {}
    # Two pipes, and four times nothing.
    assert len(found["descriptors"]) <= 6
    assert {"tests.chart.spare_work", "jinja2", "pvehelm.chart.engine"} <= set(loaded)


@pytest.mark.parametrize(("what", "told"), [("hungry", "memory limit"), ("busy", "processor limit"), ("file", "file")])
def test_limits_hold(what: str, told: str, tmp_path: Path) -> None:
    assert told in process(f"print(json.dumps(serve({what!r})))", cwd=tmp_path)
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


def test_one_that_died_is_replaced() -> None:
    assert process("""
os.kill(worker.pid, 9)
os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
print(json.dumps(serve("who") != worker.pid))
""")


def test_it_leaves_work_that_cannot_be_sent_and_what_others_forked() -> None:
    forked, taken = process("""
forked = sandbox.run(lambda ask: os.getpid())
if not (pid := os.fork()):
    os._exit(bool(spare._mine.waiting))
assert not os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps([forked != worker.pid, serve("who") == worker.pid]))
""")
    assert forked
    assert taken


def test_with_other_threads_there_is_none() -> None:
    script = """
import threading
from pvehelm.chart import spare
end = threading.Event()
thread = threading.Thread(target=end.wait)
thread.start()
spare.start("jinja2")
print(len(spare._mine.waiting))
end.set()
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout == b"0\n"


@pytest.mark.parametrize(("start", "frozen"), [("spare.start('jinja2')", True), ("pass", False)])
def test_the_end_of_a_program_that_starts_one_is_quick(start: str, frozen: bool) -> None:
    script = (
        "import atexit, gc\nbefore = gc.get_freeze_count()\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > before))\n"
        f"from pvehelm.chart import spare\n{start}\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert said == f"{frozen}\n"


#: From the second child on they come from the nursery.
SECOND = """\
first = serve("who", mine := object())
def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
"""


def test_from_the_second_on_children_come_from_a_nursery() -> None:
    early, here, again, others, parents, nursery = process(
        SECOND
        + """
others = [serve("who", of := object()) for _ in range(3)]
print(json.dumps([first, worker.pid, serve("who", of) == others[-1], others,
    [one.child.nursery.pid for *_, one in sandbox._resting[-3:]], spare._mine.nursery.pid]))
"""
    )
    assert early == here
    assert again
    assert len({early, *others}) == 4
    assert parents == [nursery] * 3


@pytest.mark.parametrize(("what", "told"), [("hungry", "memory limit"), ("busy", "processor limit"), ("file", "file")])
def test_limits_hold_in_the_nursery_too(what: str, told: str, tmp_path: Path) -> None:
    failed, inside = process(
        SECOND + f"""print(json.dumps([serve({what!r}), serve("inside")]))""",
        cwd=tmp_path,
    )
    assert told in failed
    assert inside["environment"] == {}
    assert len(inside["descriptors"]) <= 6
    assert not any(path.stat().st_size for path in tmp_path.iterdir())


def test_the_nursery_learns_what_is_asked_for() -> None:
    first, second = process(
        SECOND
        + """
serve("who")
from functools import partial
from pvehelm.chart.rendering import preload
def loaded():
    found = sandbox.serve(Work, "loaded", LIMITS, ready=partial(preload, ("gotpl",)))[0]
    return [one for one in found if one in ("pvehelm.chart.gotpl.engine", "pvehelm.chart.rehearsal")]
print(json.dumps([loaded(), loaded()]))
"""
    )
    # The first was waiting already when it was asked for.
    assert first == ["pvehelm.chart.gotpl.engine"]
    assert second == ["pvehelm.chart.gotpl.engine", "pvehelm.chart.rehearsal"]


#: The waiting child of the nursery.
WAITING = """\
nursery = spare._mine.nursery
while not nursery._born:
    nursery._hear()
(waiting,) = nursery._born
"""


def test_without_the_nursery_it_goes_on() -> None:
    assert process(
        SECOND
        + """
serve("who")
nursery = spare._mine.nursery
os.kill(nursery.pid, 9)
os.waitid(os.P_PID, nursery.pid, os.WEXITED | os.WNOWAIT)
print(json.dumps([*(serve("inside")["environment"] for _ in range(3)), spare._mine.nursery is not nursery]))
"""
    ) == [{}, {}, {}, True]


def test_a_waiting_child_that_died_is_replaced() -> None:
    assert process(
        SECOND
        + """
serve("who")
"""
        + WAITING
        + """
from pvehelm.chart.worker import ready as heard
os.kill(waiting.pid, 9)
# A process of several threads is a zombie before the last of them is gone.
assert heard(waiting.read_end, 60)
print(json.dumps([serve("inside")["environment"] for _ in range(3)]))
"""
    ) == [{}, {}, {}]


def test_another_fork_has_a_nursery_of_its_own() -> None:
    assert process(
        SECOND
        + """
second = serve("who", mine2 := object())
if not (pid := os.fork()):
    os._exit(spare._mine.nursery is not None or len({serve("who"), serve("who"), second}) != 3)
assert not os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(json.dumps(serve("who", mine2) == second))
"""
    )


def test_nothing_of_it_is_left_open_or_running() -> None:
    before, after, children = process("""
before = len(os.listdir("/proc/self/fd"))
for _ in range(6):
    serve("who", object())
serve("hungry")
sandbox.dismiss()
after = len(os.listdir("/proc/self/fd"))
try:
    os.waitpid(-1, os.WNOHANG)
    children = True
except ChildProcessError:
    children = False
print(json.dumps([before, after, children]))
""")
    # The early one's two pipes are gone.
    assert after == before - 2
    assert not children


def test_threads_get_a_child_each() -> None:
    found = process(
        SECOND
        + """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    print(json.dumps([*pool.map(lambda _: serve("who", object()), range(24))]))
"""
    )
    assert len(set(found)) == 24


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "os._exit(0)", "os.kill(os.getpid(), 9)", "sandbox.dismiss()"])
def test_nobody_leaves_the_nursery_behind(end: str) -> None:
    script = (
        BEGIN.format(dialects="")
        + SECOND
        + f"""
two = [serve("who", object()), serve("who", other := object())]
{WAITING}
sys.stdout.write(json.dumps([worker.pid, *two, nursery.pid, waiting.pid])); sys.stdout.flush()
{end}
"""
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=False).stdout
    until = time.monotonic() + 60
    while any(map(_lives, json.loads(said))):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "os._exit(0)", "os.kill(os.getpid(), 9)", "sandbox.dismiss()"])
def test_nobody_leaves_it_behind(end: str) -> None:
    script = BEGIN.format(dialects="") + f"sys.stdout.write(str(worker.pid)); sys.stdout.flush()\n{end}\n"
    # What it says ends although the child may still import: nothing of its parent's is open in it.
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=ROOT, check=False).stdout
    until = time.monotonic() + 60
    while _lives(int(said)):
        assert time.monotonic() < until
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Where nobody asks after orphans, the dead stay listed.
    state = Path(f"/proc/{pid}/stat")
    return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_it_works_where_the_standard_streams_are_closed(tmp_path: Path) -> None:
    script = (
        BEGIN.format(dialects="")
        + 'said = [serve("who") == worker.pid for _ in "12"]; open("said", "w").write(f"{said[0]} {said[1]}")'
    )
    command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ROOT}, check=True)
    assert (tmp_path / "said").read_text() == "True False"


def test_an_interrupt_is_its_parents() -> None:
    assert process(f"""
sandbox.serve(Work, "who", LIMITS, of=(mine := object()), ready=ready)
os.kill(worker.pid, {int(signal.SIGINT)})
print(json.dumps(serve("who", mine) == worker.pid))
""")


#: What Jinja2 needs more of itself for: contexts within contexts, macros, imports, texts that are compiled.
RARE = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\nengine: jinja2\n",
    "values.yaml": "text: '{{ Release.Name }}!'\n",
    "templates/_h.tpl": """
{% macro label(x, y=2) %}l-{{ x }}-{{ y }}-{{ Values.none | default("none") }}{% endmacro %}
{% define "n" %}name: {{ Release.Name }}-{{ ctx.z }}{% enddefine %}
""",
    "templates/a.yaml": """
{% import "_h.tpl" as h %}
{% from "_h.tpl" import label with context %}
{% for i in range(1, 3) %}
- {{ include("n", {"z": i}) }}
  a: {{ h.label(i) }} {{ label(i, 5) }} {{ loop.depth0 }}{{ loop.length }}{{ loop.cycle("a", "b") }}
{% endfor %}
{% macro m(x) %}[{{ caller(x) }}]{% endmacro %}
b: {% call(q) m(3) %}{{ q }}{% endcall %} {{ tpl(Values.text) }}
c: {{ [3, 1] | join(",") }} {{ "a b" | replace(" ", "-") }} {{ [{"a": 1}] | map(attribute="a") | sum }}
d: {{ 2.5 | round }} {{ label is defined }} {{ nothing is defined }} {{ 5 is number }} {{ dict("a", 1) | items | list }}
""",
}


def test_its_jinja2_is_jinja2(tmp_path: Path) -> None:
    write(tmp_path / "web", dict(RARE))
    script = f"""
from pathlib import Path
from pvehelm.chart.chart import load
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.render import Capabilities, ReleaseInfo, texts
def made(sandbox):
    chart = load(Path({str(tmp_path / "web")!r}))
    return dict(texts(chart, coalesce(chart, {{}}), ReleaseInfo("rel", "ns"), Capabilities(), sandbox=sandbox).files)
print(json.dumps([made(True), made(False)]))
"""
    for _ in range(2):  # compiled there, and before
        early, here = process(script, PVEHELM_CACHE=str(tmp_path / "cache"), PYTHONDONTWRITEBYTECODE="")
        assert early == here
    assert early == {
        "web/templates/a.yaml": """
- name: rel-1
  a: l-1-2-none l-1-5-none 02a
- name: rel-2
  a: l-2-2-none l-2-5-none 02b
b: [3] rel!
c: 3,1 a-b 1
d: 3 true false true [["a", 1]]
"""
    }


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "values.yaml": "name: web\n",
    "values.schema.json": '{"type": "object"}',
    "templates/vm.yaml": (
        "apiVersion: proxmox.io/v1\nkind: VirtualMachine\nmetadata: {name: {{ Values.name }}}\n"
        "spec: {description: {{ Files.Get('x.txt') | quote }}}\n"
    ),
    "x.txt": "x",
    "charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 1.0.0\nengine: gotpl\n",
    "charts/sub/templates/ct.yaml": (
        "apiVersion: proxmox.io/v1\nkind: Container\nmetadata: {name: {{ .Chart.Name }}}\nspec: {cores: 1}\n"
    ),
}


@pytest.mark.parametrize("dialects", ["", "'jinja2'", "'gotpl'"])
def test_it_renders_whatever_it_was_made_for(tmp_path: Path, dialects: str) -> None:
    write(tmp_path / "web", dict(CHART))
    script = f"""
from pathlib import Path
from pvehelm.chart.chart import load
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
chart = load(Path({str(tmp_path / "web")!r}))
def made(of=chart):
    found = render(of, coalesce(of, {{}}), ReleaseInfo("rel", "ns"), Capabilities())
    return [dict(found.files), [one.as_dict() for one in found.resources], [one.pid for *_, one in sandbox._resting]]
print(json.dumps([made(), made(), made(chart._replace()), worker.pid]))
"""
    early, again, other, pid = process(script, dialects, PVEHELM_CACHE=str(tmp_path / "cache"))
    assert early[2] == again[2] == [pid]
    assert pid != other[2][-1]
    assert early[:2] == again[:2] == other[:2]
    assert [one["metadata"]["name"] for one in early[1]] == ["web", "sub"]
    assert early[1][0]["spec"]["description"] == "x"
