"""fakepve's own errors, by name, while the engine works: clear errors, nothing lost, nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from tests.release.charts import SCALED
from tests.release.lab import load_cases
from tests.thirdparty.lab import ForeignLab, needs_fakepve

pytestmark = needs_fakepve

CASES = load_cases("thirdparty/faults.yaml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_install_under_faults(lab: ForeignLab, case: dict[str, Any]) -> None:
    chart = lab.chart(SCALED)
    for name, *args in case["do"]:
        keywords = args.pop() if args and isinstance(args[-1], dict) else {}
        getattr(lab.peer, name)(*args, **keywords)
    result = lab.run("install", "web", chart, *case.get("args", ()), code=case.get("code", 1))
    for text in case.get("text", ()):
        assert text in result.err, result
    lab.peer.calm()
    for name, *args in case.get("undo", ()):
        getattr(lab.peer, name)(*args)
    if case.get("code") != 0:
        assert lab.run("list", "-q").out.split() == (["web"] if case.get("revision") else [])
        lab.run("install", "web", chart)
    lab.settled("web", chart=chart)
    assert len(lab.guests()) == 2
    lab.sound("web")
    lab.run("uninstall", "web", "--yes")
    assert (lab.guests(), lab.volumes()) == ({}, set())
