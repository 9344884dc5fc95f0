"""Many processes at once on one simulator and one store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pvehelm.actions import releases
from pvehelm.chart.chart import load
from pvehelm.config import load as load_config
from pvehelm.errors import LeaseHeldError
from pvehelm.faces.build import build_context
from pvehelm.release.desire import Options
from pvehelm.release.pipeline import run
from tests.release.charts import SCALED
from tests.release.lab import Lab

MANY = 20


def test_twenty_processes_install_at_once(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    names = [f"r{index:02}" for index in range(MANY)]
    running = [lab.start("install", name, chart) for name in names]
    for name, process in zip(names, running, strict=True):
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, (name, out, err)
    assert len(lab.guests()) == 2 * MANY
    lab.sound(*names)
    for name in names:
        lab.settled(name)


def test_one_release_is_worked_on_by_one_process(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    running = [lab.start("install", "web", chart) for _ in range(4)]
    codes = []
    for process in running:
        _, err = process.communicate(timeout=120)
        codes.append(process.returncode)
        if process.returncode:
            assert "web" in err
            assert "Traceback" not in err
    assert codes.count(0) == 1, codes
    assert set(codes) <= {0, 3, 4}, codes
    lab.settled("web")
    lab.sound("web")


def test_an_install_that_was_overtaken_by_another(lab: Lab) -> None:
    """It was allowed while the first was under way, which is done by the time that the lease is free."""
    chart = lab.chart(SCALED)
    context = build_context(load_config(), announce=False)
    key = context.key("web")

    async def overtaken() -> None:
        request = releases.Request("web", load(Path(chart)))
        # The first had its number while it was under way.
        late = await releases.desired(context, request, "install", recorded={}, revision=2, labels={})
        with pytest.raises(LeaseHeldError, match="changed by another process meanwhile"):
            await run(context, key, late, Options())
        await context.aclose()

    lab.run("install", "web", chart)
    asyncio.run(overtaken())
    lab.sound("web")
