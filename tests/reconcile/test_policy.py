"""Policies, windows, pauses, and the files that declare them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.durations import seconds
from pvehelm.errors import InvalidError, PvehelmError, UsageError
from pvehelm.faces.daemon.settings import File, load
from pvehelm.release.policy import DAYS, Mode, Policy, State, Window
from tests.release.lab import Lab

CASES = Path(__file__).parent / "cases"
WINDOWS = yaml.safe_load((CASES / "windows.yaml").read_text())
DECLARATIONS = yaml.safe_load((CASES / "declarations.yaml").read_text())


@pytest.mark.parametrize("case", WINDOWS, ids=lambda case: f"{case['window']} {case.get('at', '')}")
def test_windows(case: dict[str, Any]) -> None:
    if "wrong" in case:
        with pytest.raises(UsageError, match=case["wrong"]):
            Window.parse(case["window"])
    else:
        assert Window.parse(case["window"]).holds(datetime.fromisoformat(case["at"])) is case["inside"]


clock = st.builds(lambda hour, minute: (hour, minute), st.integers(0, 23), st.integers(0, 59))
spans = st.tuples(clock, clock).filter(lambda pair: pair[0] != pair[1])


@given(st.sets(st.sampled_from(DAYS), min_size=1), spans, st.integers(0, 7 * 1440 - 1))
def test_a_window_and_its_complement_part_the_week(
    days: set[str], span: tuple[tuple[int, int], tuple[int, int]], minute: int
) -> None:
    (start, end), names = span, ",".join(sorted(days))
    whole = [Window.parse(f"{a[0]:02}:{a[1]:02}-{b[0]:02}:{b[1]:02}") for a, b in ((start, end), (end, start))]
    now = datetime.fromtimestamp(minute * 60, UTC)
    assert whole[0].holds(now) is not whole[1].holds(now)
    some = Window.parse(f"{names} {start[0]:02}:{start[1]:02}-{end[0]:02}:{end[1]:02}")
    assert whole[0].holds(now) or not some.holds(now)


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (Window.parse, seconds, Mode.of, lambda t: Policy(timezone=t)):
        with suppress(UsageError):
            parse(text)


def test_a_policy_reads_back() -> None:
    policy = Policy(Mode.prune, 90, (Window.parse("Sat 02:00-03:00"),), (Window.parse("12:00-13:00"),), "Europe/Berlin")
    assert Policy.from_json(policy.to_json()) == policy


def test_windows_go_by_the_clock_of_their_timezone() -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()
    windows = (Window.parse("13:30-14:30"),)
    assert Policy(windows=windows, timezone="Europe/Berlin").closed(noon) == ""
    assert "outside of the maintenance windows 13:30-14:30 (UTC)" in Policy(windows=windows).closed(noon)


def test_the_next_look_is_when_a_window_opens() -> None:
    policy = Policy(windows=(Window.parse("12:10-12:20"),))
    noon = datetime(2026, 7, 1, 12, 0, 30, tzinfo=UTC).timestamp()
    assert policy.opens(noon, 3600) == noon + 9.5 * 60
    assert policy.opens(noon, 60) == noon + 60


@given(st.integers(0, 1000), st.floats(1, 7 * 86400), st.floats(1, 7 * 86400))
def test_pauses_grow_and_are_bounded(failures: int, interval: float, longest: float) -> None:
    pause = State(failures=failures).pause(interval, longest)
    assert interval <= pause <= max(interval, longest)
    assert pause <= State(failures=failures + 1).pause(interval, longest)


def loaded(text: str) -> Any:
    return load([File("r.yaml", text)], namespace="default", policy=Policy())


@pytest.mark.parametrize("case", DECLARATIONS, ids=lambda case: case["name"])
def test_wrong_declarations(case: dict[str, Any]) -> None:
    with pytest.raises(InvalidError) as caught:
        loaded(case["text"])
    said = "\n".join([str(caught.value), *map(str, caught.value.problems)])
    for problem in case["problems"]:
        assert problem in said
    assert all(p.where.startswith("r.yaml:") for p in caught.value.problems)


def test_settings_and_a_sync_are_read() -> None:
    settings, syncs = loaded(
        "kind: Reconciler\nspec: { policy: repair, interval: 2m, jitter: 0, concurrency: 2 }\n"
        "---\nkind: Sync\nmetadata: { name: web, namespace: prod }\n"
        "spec: { repository: 'git+https://h.example/a.git@main', chart: c, values: [v.yaml], set: { a: [1] },\n"
        "  policy: observe, windows: ['01:00-02:00'], secrets: [env], timeout: 5m, signers: [ssh-ed25519 AAAA] }\n"
    )
    assert (settings.policy, settings.jitter) == (Policy(Mode.repair, 120), 0)
    (sync,) = syncs
    assert (sync.policy.mode, sync.policy.interval, sync.timeout) == (Mode.observe, 120, 300)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(PvehelmError):
        loaded(text)


# -- the commands ----------------------------------------------------------------------------------------------------

WRONG = [
    (("reconcile", "policy", "set", "web"), 64, "set what?"),
    (("reconcile", "policy", "set", "web", "repair", "--clear"), 64, "set what?"),
    (("reconcile", "policy", "set", "web", "always"), 64, "one of observe, repair, repair-and-prune"),
    (("reconcile", "policy", "set", "web", "--window", "never"), 64, "is no window"),
    (("reconcile", "--once", "--interval", "0.5s"), 64, "between 1s and 7d"),
    (("reconcile", "policy", "set", "web", "repair"), 1, "release web not found"),
    (("reconcile", "policy", "show", "web"), 1, "release web not found"),
    (("reconcile", "--once", "--policy", "always"), 64, "is no policy"),
    (("reconcile", "--once", "-f", "nowhere.yaml"), 1, "can't read nowhere.yaml"),
    (("reconcile", "--listen", "here"), 64, "HOST:PORT"),
    (("reconcile", "--interval", "soon"), 64, "is no time"),
]


@pytest.mark.parametrize(
    ("args", "code", "said"), WRONG, ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else ""
)
def test_wrong_commands(lab: Lab, args: tuple[str, ...], code: int, said: str) -> None:
    assert said in lab.run(*args, code=code).err


def test_no_releases(lab: Lab) -> None:
    assert "there are no releases" in lab.run("reconcile", "--once").out
    assert lab.run("reconcile", "--once", "-o", "json").json == []
