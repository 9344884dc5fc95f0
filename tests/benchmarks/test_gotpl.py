"""Helm's own template syntax beside Helm's own code.

``PVEHELM_BENCH_HELM`` names the Python of an environment that has helm-python-sdk (Helm in process), and
``PVEHELM_HELM_CHARTS`` a folder of public charts, each with its dependencies in ``charts/``.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.conftest import chart_of, note, paired
from tests.benchmarks.test_charts import TEMPLATE

HELM = os.environ.get("PVEHELM_BENCH_HELM", "")
CHARTS = os.environ.get("PVEHELM_HELM_CHARTS", "")
needs_helm = pytest.mark.skipif(not HELM, reason="PVEHELM_BENCH_HELM names no Python with helm-python-sdk")
Make = Callable[[Sequence[str]], Callable[[], object]]

ONCE = "import helm_python, sys; helm_python.Chart.load(sys.argv[1]).render(values={}, name='rel', namespace='ns')"
# The same in Python with us: the child is started first, and gets ready while the chart is read.
LIBRARY = """
import sys, time
from pvehelm.chart import spare
spare.start(sys.argv[2])
from pvehelm.actions.charts import prepare
from pvehelm.chart.chart import load
from pvehelm.chart.dialects import with_engine
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
prepared = prepare(with_engine(load(sys.argv[1]), sys.argv[2]))
begin = time.perf_counter()
render(prepared.chart, dict(prepared.values), ReleaseInfo("rel", "ns"), Capabilities())
print(time.perf_counter() - begin)
"""
# ... for what the templates print and nothing else, as Helm's own library gives it.
TEXTS = LIBRARY.replace("ReleaseInfo, render\n", "ReleaseInfo, texts\n").replace("\nrender(", "\ntexts(")
# Go renders with all processors; what a user waits for is the time on the wall.
REPEATED = """
import json, resource, statistics, sys, time
import helm_python
chart = helm_python.Chart.load(sys.argv[1])
def once():
    begin = time.perf_counter()
    chart.render(values={}, name="rel", namespace="ns")
    return time.perf_counter() - begin
try:
    once()
except helm_python.HelmError:
    print("null")
else:
    print(json.dumps([statistics.median(once() for _ in range(9)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""
GO_TEMPLATE = """\
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: {{ name: "vm-{index}-{{{{ .Values.suffix }}}}" }}
spec:
  node: pve-node1
  cpu: {{ cores: {{{{ .Values.cores }}}} }}
  memory: {{{{ .Values.memory | default 1024 }}}}
  disks: [{{ storage: local-lvm, size: "{{{{ .Values.size }}}}G" }}]
{{{{- range $i, $tag := .Values.tags }}}}{{{{ if not $i }}}}
  tags:{{{{ end }}}}
    - {{{{ $tag | lower | quote }}}}
{{{{- end }}}}
"""
VALUES = "suffix: a\ncores: 2\nmemory: 2048\nsize: 10\ntags: [One, Two, Three]\n"


@needs_helm
@pytest.mark.usefixtures("compiled")
def test_hundred_templates_beside_helm(benchmark: Any, process: Make, home: Path) -> None:
    """Whole processes: our chart of 100 Jinja2 templates, and the same in Go's syntax by both."""
    ours = chart_of(home / "ours", "hundred", VALUES, {f"vm-{i}.yaml": TEMPLATE.format(index=i) for i in range(100)})
    texts = {f"vm-{i}.yaml": GO_TEMPLATE.format(index=i) for i in range(100)}
    theirs = chart_of(home / "theirs", "hundred", VALUES, texts)
    script = str(Path(sys.executable).with_name("pvehelm"))

    def helm() -> None:
        subprocess.run([HELM, "-c", ONCE, str(theirs)], capture_output=True, check=True)

    for chart, what, engine in ((ours, "in Jinja2", "jinja2"), (theirs, "in Helm's syntax", "gotpl")):
        for how, arguments, goal in (
            ("a Python program, texts", ["-c", TEXTS, str(chart), engine], " (goal 0.8)" if chart is ours else ""),
            ("a Python program, with the resources", ["-c", LIBRARY, str(chart), engine], ""),
            ("pvehelm template", [script, "template", "rel", str(chart), "--engine", engine], ""),
        ):
            mine, other, ratio = paired(process(arguments), helm, 11)
            note(
                f"100 templates {what}, whole process of {how}: {mine * 1000:.0f} ms, Helm in a Python program "
                f"(Go syntax, texts) {other * 1000:.0f} ms, ratio {ratio:.2f}{goal}"
            )
    benchmark.pedantic(helm, rounds=3)


@needs_helm
@pytest.mark.skipif(not CHARTS, reason="PVEHELM_HELM_CHARTS names no folder with charts")
def test_public_charts(home: Path) -> None:
    """Each chart with its own values, beside Helm's in its process.

    Warm in a child and in this process; cold in a child of this process, and as the first of a process of its own.
    """
    from pvehelm.actions.charts import prepare
    from pvehelm.chart.chart import load
    from pvehelm.chart.dialects import with_engine
    from pvehelm.chart.render import Capabilities, ReleaseInfo, render
    from pvehelm.errors import PvehelmError

    release, capabilities = ReleaseInfo("rel", "ns"), Capabilities()
    ratios: dict[str, list[float]] = {"warm": [], "warm, in this process": [], "cold": [], "cold, first": []}
    for path in sorted(Path(CHARTS).glob("*/Chart.yaml")):
        said = subprocess.run([HELM, "-c", REPEATED, str(path.parent)], capture_output=True, check=True).stdout
        theirs = json.loads(said.splitlines()[-1])
        if theirs is None:
            continue
        shutil.rmtree(home / "cache", ignore_errors=True)
        alone = subprocess.run([sys.executable, "-c", LIBRARY, str(path.parent), "gotpl"], capture_output=True)
        shutil.rmtree(home / "cache", ignore_errors=True)
        try:
            prepared = prepare(with_engine(load(path.parent), "gotpl"))
        except PvehelmError as error:
            note(f"{path.parent.name}: {error}")
            continue

        def once(sandbox: bool = True) -> float:
            begin = time.perf_counter()
            render(prepared.chart, dict(prepared.values), release, capabilities, sandbox=sandbox)  # noqa: B023
            return time.perf_counter() - begin

        cold = once()
        warm = statistics.median(once() for _ in range(9))
        first = float(alone.stdout or "nan")
        for name, seconds in (
            ("warm", warm),
            ("cold", cold),
            ("cold, first", first),
            ("warm, in this process", _inside(once)),
        ):
            ratios[name].append(seconds / theirs[0])
        if theirs[0] > 0.03 or ratios["warm"][-1] > 1.5:
            note(
                f"{path.parent.name}: Helm {theirs[0] * 1000:.1f} ms, {theirs[1] / 1024:.0f} MiB; warm "
                f"{warm * 1000:.1f} ms (ratio {ratios['warm'][-1]:.2f}), in this process "
                f"{ratios['warm, in this process'][-1]:.2f}, cold {cold * 1000:.0f} ms (ratio {ratios['cold'][-1]:.1f})"
            )
    for name, goal in (("warm", 1.5), ("warm, in this process", 1.5), ("cold", 15), ("cold, first", 15)):
        found = sorted(ratios[name])
        note(
            f"{len(found)} public charts {name}: ratio to Helm {statistics.median(found):.2f} in the middle, "
            f"{found[-1]:.2f} at most (goal {goal}), {sum(ratio > goal for ratio in found)} above"
        )
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    note(f"peak memory of any child process of this run: {peak / 1024:.0f} MiB")


def _inside(once: Callable[[bool], float]) -> float:
    """Warm without a child: with the compiled code at hand, as it is after the cache was read."""
    return statistics.median(once(False) for _ in range(5))
