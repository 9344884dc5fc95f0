"""Killed before and after every call and every write, and every call failing in every way: one more command completes.

The default run tries a sample (``PVEHELM_SWEEP_SEED`` chooses another one), ``pytest -m sweep`` everything. What was
tried and survived is printed at the end.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.release.sweeps.bench import Scenario, Trial, disturbances, kills, sample, shuffled, try_all
from tests.release.sweeps.conftest import LINES

SEED = int(os.environ.get("PVEHELM_SWEEP_SEED", "9"))
EACH = 4
"""So many trials of each scenario are a sample."""
SHOWN = 5
MINUTES = float(os.environ.get("PVEHELM_SWEEP_MINUTES", "20"))
"""So long at most for both together: on a slow machine the coverage that is printed is less than all."""
KILLS, CALLS = 0.3 * MINUTES, 0.7 * MINUTES
Scenarios = tuple[Path, list[Scenario]]


def sweep(what: str, scenarios: Scenarios, all_: list[Trial], chosen: list[Trial], minutes: float) -> None:
    folder, each = scenarios
    began = time.monotonic()
    tried, survived, missed = Counter[int](), Counter[int](), 0
    wrong: list[str] = []
    for trial, came, found in try_all(folder, each, chosen, minutes):
        tried[trial.scenario] += 1
        missed += not came
        if found:
            wrong.append(found)
        else:
            survived[trial.scenario] += 1
    LINES.append(
        f"{what}: {tried.total()} of {len(all_)} tried (seed {SEED}), {survived.total()} survived, "
        f"{time.monotonic() - began:.0f} s"
    )
    for index, scenario in enumerate(each):
        total = sum(trial.scenario == index for trial in all_)
        LINES.append(f"  {scenario.name}: {tried[index]} of {total} tried, {survived[index]} survived")
    assert not wrong, f"{len(wrong)} of {len(chosen)}\n\n" + "\n\n".join(text[-4000:] for text in wrong[:SHOWN])
    # Hardly ever does a step more or less come in between.
    assert missed <= len(chosen) // 50, f"{missed} of {len(chosen)} never came to their step"


def test_some_kills(scenarios: Scenarios) -> None:
    everything = kills(scenarios[1])
    sweep("kills", scenarios, everything, sample(everything, EACH, SEED), KILLS)


def test_some_disturbed_calls(scenarios: Scenarios) -> None:
    everything = disturbances(scenarios[1])
    sweep("failing calls", scenarios, everything, sample(everything, EACH, SEED), CALLS)


@pytest.mark.sweep
def test_every_kill(scenarios: Scenarios) -> None:
    everything = kills(scenarios[1])
    sweep("kills", scenarios, everything, shuffled(everything, SEED), KILLS)


@pytest.mark.sweep
def test_every_call_in_every_way(scenarios: Scenarios) -> None:
    everything = disturbances(scenarios[1])
    sweep("failing calls", scenarios, everything, shuffled(everything, SEED), CALLS)
