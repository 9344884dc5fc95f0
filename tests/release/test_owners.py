"""Whose a rendering child is: a release of that name on another cluster, or in another store, is somebody else's."""

from __future__ import annotations

from pathlib import Path

import pytest

from pvehelm.actions.releases import Request, upgrade
from pvehelm.chart import sandbox
from pvehelm.chart.chart import load
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from tests.release.charts import VM
from tests.release.lab import Lab, with_context


@pytest.mark.parametrize("other", ["cluster", "store", "none"])
def test_a_child_that_rests_is_no_other_clusters(lab: Lab, tmp_path: Path, other: str) -> None:
    chart = load(lab.chart(VM))

    def rendered(where: str) -> object:
        """What stays behind of a rendering."""

        async def work(ctx: Context) -> None:
            if where == "cluster":
                ctx.known_cluster = "another"
            await upgrade(ctx, Request("web", chart, install_if_missing=True), Options(dry_run=True))

        if where == "store":
            lab.monkeypatch.setenv("PVEHELM_STORE", str(tmp_path / "other.db"))
        with_context(work)
        return sandbox._resting[-1][3]

    sandbox.dismiss()
    try:
        first = rendered("")
        assert (rendered(other) is first) is (other == "none")
        if other == "cluster":
            assert rendered("") is first
    finally:
        sandbox.dismiss()
