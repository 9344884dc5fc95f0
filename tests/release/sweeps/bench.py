"""Scenarios and trials: interrupt a command at one place, go on with one more command, and look at everything."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.faces.cli.app import main
from tests.release.lab import Lab, Result
from tests.release.sweeps.charts import CHARTS
from tests.release.sweeps.process import Call, Process, Script

HERE = Path(__file__).parent
SCENARIOS: list[dict[str, Any]] = yaml.safe_load((HERE / "scenarios.yaml").read_text())
WAYS: list[dict[str, Any]] = yaml.safe_load((HERE / "ways.yaml").read_text())
CONFIG = "current: simulator\ncontexts:\n  simulator: { policy: { allow_privileged: [all] } }\n"
NEW = "memory=2048,replicas=1,comment=two,macro=SSH,admin=10.1.0.8,policy=ACCEPT,restarts=3"
ENDED = {"deployed", "superseded", "failed", "uninstalled"}
# What differs from run to run and is nobody's business, by key of the simulator's documents.
PASSING = {"ctime", "time", "started", "digest", "used", "uptime", "processes", "files"}
# Snapshots are named by revisions, and there are as many as there were upgrades.
PASSING |= {"snapshots", "snapshot-disks", "parent"}
PATTERNS = [
    (re.compile(r"BC:24:11(:[0-9A-F]{2}){3}"), "MAC"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"), "UUID"),
    (re.compile(r"ctime=\d+"), "CTIME"),
]


class Wrong(AssertionError):
    """What a trial found."""


@dataclass
class State:
    """What there is: the server's objects and what the release owns of them, free of numbers that do not matter."""

    saved: Path
    shape: dict[str, Any]
    numbers: dict[str, list[int]]


@dataclass
class Scenario:
    """One of ``scenarios.yaml``, with its states and what its command does when nothing happens."""

    name: str
    chart: str
    run: list[str]
    go_on: list[dict[str, Any]]
    strangers: set[int] = field(default_factory=set)
    states: dict[str, State] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """Kill at step ``place``, or (with a way) disturb call ``place``; then ``go_on`` number."""

    scenario: int
    place: int
    go_on: int
    way: int | None = None


class Bench(Lab):
    """A laboratory whose commands follow a script."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.patch = pytest.MonkeyPatch()
        super().__init__(folder, self.patch)
        (folder / "config.yaml").write_text(CONFIG)
        # Deriving a key is slow on purpose: all trials have the same, so that a process does it once.
        self.patch.setenv("PVEHELM_KEY", "the key of all trials")
        self.process = Process()
        self.process.install()

    def end(self) -> None:
        self.close()
        self.process.remove()
        self.patch.undo()

    def follow(self, script: Script, args: list[str], code: int | None = 0) -> Result:
        """A command in this process, by a script."""
        self.process.script = script
        try:
            return self.run(*args, code=code)
        finally:
            self.process.script = Script()

    def dies(self, step: int, args: list[str]) -> bool:
        """A command in a process of its own that is killed at a step; whether it came to that."""
        self.close()  # a database connection must not be carried into a child
        sys.stdout.flush()
        child = os.fork()
        if not child:
            try:
                with open(os.devnull, "w") as nowhere:
                    os.dup2(nowhere.fileno(), 1)
                    os.dup2(nowhere.fileno(), 2)
                sys.stdout = sys.stderr = io.StringIO()
                self.process.script = Script(kill=step)
                sys.argv = ["pvehelm", *args]
                main(args)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        self.open()
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL

    # -- what there is -----------------------------------------------------------------------------------------

    def keep(self, folder: Path) -> State:
        self.close()
        shutil.copytree(self.data, folder)
        self.open()
        return State(folder, self.shape(), self.numbers())

    def numbers(self) -> dict[str, list[int]]:
        """The revisions' numbers of every release."""
        with self.store() as store:
            found = {one.key.name: one.key for one in store.list(self.state.cluster_id)}
            return {name: sorted(one.number for one in store.revisions(key)) for name, key in found.items()}

    def shape(self) -> dict[str, Any]:
        names = {
            vmid: f"<{g['config'].get('name') or g['config'].get('hostname')}>" for vmid, g in self.guests().items()
        }
        rows = self.state.execute("SELECT collection, key, body FROM documents ORDER BY 1, 2")
        found: dict[str, Any] = {}
        for collection, key, body in rows:
            document = json.loads(body)
            if collection in ("tasks", "users") or document.get("content") == "backup":
                continue
            found[f"{collection}/{key}"] = document
        found |= {name: self.state.value(name) for name in ("sdn-lock", "sdn-running")}
        with self.store() as store:
            for key, o in store.owned(self.state.cluster_id):
                found[f"{key.name} owns {o.ref}"] = {"at": _place(o.identifier), "fields": dict(o.fields)}
            found["releases"] = sorted(one.key.name for one in store.list(self.state.cluster_id))
        text = json.dumps(_plain(found), sort_keys=True)
        for pattern, word in PATTERNS:
            text = pattern.sub(word, text)
        if names:
            text = re.sub(rf"\b({'|'.join(names)})\b", lambda m: names[m[1]], text)
        text = re.sub(r'"(<[^">]+>(?:,<[^">]+>)+)"', lambda m: json.dumps(",".join(sorted(m[1].split(",")))), text)
        shape: dict[str, Any] = json.loads(re.sub(r": (<[^>]+>)", r': "\1"', text))
        for pool in [shape[key] for key in shape if key.startswith("pools/")]:
            pool["vms"] = sorted(pool.get("vms", []))
        return shape

    def whole(
        self, wanted: list[State], least: Mapping[str, list[int]], but: str | None = None, strangers: Iterable[int] = ()
    ) -> None:
        """Everything is as in one of ``wanted`` (``but`` for what this word is in), nothing is there twice, lost, left
        over or locked, and revisions ``least`` are there still. Raises AssertionError."""
        numbers = self.numbers()
        with self.store() as store:
            for (scope,) in store.db.rows("SELECT scope FROM leases"):
                assert store.holder(scope) is None, f"the lease of {scope} was not given back"
            revisions = {name: store.revisions(self.key(name)) for name in numbers}
        self.sound(*numbers, strangers=strangers)
        for name, found in numbers.items():
            self.settled(name)
            assert found[: len(least.get(name, ()))] == least.get(name, []), f"revisions are lost: {least}, now {found}"
            assert found == list(range(1, len(found) + 1)), f"revisions are missing: {found}"
            statuses = [str(one.status) for one in revisions[name]]
            assert max(revisions[name], key=lambda one: one.number).status == "deployed", statuses
            assert set(statuses) <= ENDED, statuses
        now = self.shape()
        wrong = [[row for row in difference("", state.shape, now) if not but or but not in row] for state in wanted]
        if all(wrong):
            raise Wrong("\n".join(sorted(wrong, key=len)[0]))


def _place(key: Mapping[str, Any]) -> dict[str, Any]:
    """A guest's scope is its VMID; where it runs is told where it is known."""
    return {name: value for name, value in key.items() if "scope" not in key or name not in ("guest", "node")}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _plain(inner) for key, inner in value.items() if key not in PASSING}
        return {key: inner for key, inner in plain.items() if inner not in ({}, [], "", None)}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def difference(where: str, wanted: Any, now: Any) -> Iterator[str]:
    """What differs, a line each."""
    if isinstance(wanted, dict) and isinstance(now, dict):
        for key in sorted(wanted.keys() | now.keys()):
            yield from difference(f"{where} {key}".strip(), wanted.get(key), now.get(key))
    elif wanted != now:
        yield f"{where}: {wanted!r} expected, {now!r} found"


# -- scenarios -------------------------------------------------------------------------------------------------


def words(text: str, folder: Path, chart: str) -> list[str]:
    places = {"CHART": folder / "charts" / chart, "OLD": folder / "old.yaml", "NEW": folder / "new.yaml"}
    return [str(places.get(word, word)) for word in shlex.split(text)]


def prepare(folder: Path) -> list[Scenario]:
    """Every scenario with its states, below ``folder``."""
    bench = Bench(folder / "bench")
    try:
        for name, text in CHARTS.items():
            path = bench.chart(text, name=name)
            shutil.copytree(path, folder / "charts" / name)
        twelve = str(folder / "charts" / "twelve")
        (folder / "old.yaml").write_text(bench.run("template", "web", twelve).out)
        (folder / "new.yaml").write_text(bench.run("template", "web", twelve, "--set", NEW).out)
        bench.close()
        shutil.rmtree(bench.data)
        bench.open()
        none = bench.keep(folder / "none")
        return [_prepared(bench, folder, index, none) for index in range(len(SCENARIOS))]
    finally:
        bench.end()


def _prepared(bench: Bench, folder: Path, index: int, none: State) -> Scenario:
    data = SCENARIOS[index]
    chart = data["chart"]
    go_on = [{**way, "run": words(way["run"], folder, chart)} for way in data["go_on"]]
    run, strangers = words(data["run"], folder, chart), set(data.get("strangers", ()))
    scenario = Scenario(data["name"], chart, run, go_on, strangers, {"none": none, "old": none})
    bench.restore(none.saved)
    for text in data.get("before", ()):
        bench.run(*words(text, folder, chart))
    if data.get("before"):
        scenario.states["old"] = bench.keep(folder / f"{index}-old")
    script = Script()
    bench.follow(script, scenario.run)
    scenario.states["new"] = bench.keep(folder / f"{index}-new")
    scenario.steps, scenario.calls = script.steps, script.calls
    return scenario


# -- trials ----------------------------------------------------------------------------------------------------

_here: tuple[Bench, list[Scenario], float] | None = None


def _begin(folder: Path, scenarios: list[Scenario], end: float) -> None:
    global _here
    _here = (Bench(folder / f"worker-{os.getpid()}"), scenarios, end)


def _tried(trial: Trial) -> tuple[bool, str] | None:
    """As ``attempt``; None once the time is over."""
    assert _here is not None
    bench, scenarios, end = _here
    if time.monotonic() > end:
        return None
    return attempt(bench, scenarios[trial.scenario], trial)


def attempt(bench: Bench, scenario: Scenario, trial: Trial) -> tuple[bool, str]:
    """One trial; whether it came to the interruption, and what is wrong afterwards (nothing: "")."""
    old = scenario.states["old"]
    bench.restore(old.saved)
    said: list[Result] = []
    try:
        if trial.way is None:
            if not bench.dies(trial.place, scenario.run):
                return False, ""
            ended = None
        else:
            script = Script(call=trial.place, fault=WAYS[trial.way]["fault"])
            result = bench.follow(script, scenario.run, code=None)
            said.append(result)
            bench.clear_faults()
            ended = result.code
            if ended == 0:
                bench.whole([scenario.states["new"]], old.numbers, strangers=scenario.strangers)
                return True, ""
            assert ended in (1, 3, 4), f"it ended with {ended}"
        numbers = bench.numbers()
        after = scenario.go_on[trial.go_on]
        begun = numbers != old.numbers
        least = numbers if after["ends"] != "none" else {}
        ends = after["ends"]
        if ends == "begun":
            ends = "new" if begun else "old"
        code: int | None = 0
        if after["run"][0] == "recover" and after["run"][1] not in numbers:
            code = None  # there is no such release
        said.append(bench.run(*after["run"], code=None))
        if code is not None:
            assert said[-1].code in (0, after.get("done", 0))
        wanted = ["old", "new"] if ends == "either" else [ends]
        bench.whole([scenario.states[name] for name in wanted], least, after.get("but"), scenario.strangers)
    except Exception as error:
        where = told(scenario, trial)
        return True, "\n".join([where, *(repr(one) for one in said), f"{type(error).__name__}: {error}"])
    return True, ""


def told(scenario: Scenario, trial: Trial) -> str:
    """A trial for people."""
    after = " ".join(Path(word).name for word in scenario.go_on[trial.go_on]["run"])
    if trial.way is None:
        return f"{scenario.name}: killed at step {trial.place}, {scenario.steps[trial.place - 1]}; then {after}"
    call = scenario.calls[trial.place - 1]
    what = f"call {trial.place}, {call.method} {call.path}: {WAYS[trial.way]['name']}"
    return f"{scenario.name}: {what}; then {after}"


def kills(scenarios: list[Scenario]) -> list[Trial]:
    """Each step of each scenario; the ways to go on take turns."""
    return [
        Trial(index, place + 1, place % len(scenario.go_on))
        for index, scenario in enumerate(scenarios)
        for place in range(len(scenario.steps))
    ]


def disturbances(scenarios: list[Scenario]) -> list[Trial]:
    """Each call of each scenario in each way that it can fail; the ways to go on take turns."""
    found = []
    for index, scenario in enumerate(scenarios):
        for place, call in enumerate(scenario.calls):
            for way, data in enumerate(WAYS):
                of = data.get("of", "all")
                if of == "all" or (of == "writes" and not call.reads) or (of == "tasks" and call.task):
                    found.append(Trial(index, place + 1, (place + way) % len(scenario.go_on), way))
    return found


def shuffled(trials: list[Trial], seed: int) -> list[Trial]:
    """All of them, in an order that covers everything evenly should the time not be enough."""
    return random.Random(seed).sample(trials, len(trials))


def sample(trials: list[Trial], each: int, seed: int) -> list[Trial]:
    """``each`` of every scenario, the same for the same seed."""
    chance = random.Random(seed)
    chosen = []
    for index in sorted({trial.scenario for trial in trials}):
        own = [trial for trial in trials if trial.scenario == index]
        chosen += sorted(chance.sample(own, min(each, len(own))), key=lambda trial: trial.place)
    return chosen


def try_all(
    folder: Path, scenarios: list[Scenario], trials: list[Trial], minutes: float
) -> Iterator[tuple[Trial, bool, str]]:
    """The trials, on all processors, as far as ``minutes`` go."""
    begin = (folder, scenarios, time.monotonic() + minutes * 60)
    with ProcessPoolExecutor(os.cpu_count(), get_context("fork"), initializer=_begin, initargs=begin) as pool:
        for trial, found in zip(trials, pool.map(_tried, trials, chunksize=4), strict=True):
            if found is not None:
                yield trial, *found
