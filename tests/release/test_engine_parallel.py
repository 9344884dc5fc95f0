"""Many processes at once on one simulator and one store."""

from __future__ import annotations

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
