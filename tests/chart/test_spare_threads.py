"""Threads that render for the first time at once: none of their children waits for what another one imports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

def rendered(_):
    from pvehelm.actions.charts import prepare
    from pvehelm.chart.chart import load
    from pvehelm.chart.render import Capabilities, ReleaseInfo, texts

    prepared = prepare(load("."))
    return str(texts(prepared.chart, dict(prepared.values), ReleaseInfo("rel", "ns"), Capabilities()))

with ThreadPoolExecutor(6) as threads:
    found = set(threads.map(rendered, range(6)))
from pvehelm.chart import spare

assert len(found) == 1, found
nursery = spare._mine.nursery
print("gone" if nursery is None else "there")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_threads_that_begin_at_once(tmp_path: Path) -> None:
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: web\nversion: 1.0.0\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "pool.yaml").write_text("kind: Pool\nmetadata: {name: {{ Release.Name | quote }}}\n")
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PVEHELM_CACHE": str(tmp_path / "cache")}
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (found.stdout, found.stderr) == ("there\n", "")
