"""Rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.conftest import chart_of, note, paired

TEMPLATE = """\
apiVersion: proxmox.io/v1
kind: VirtualMachine
metadata: {{ name: "vm-{index}-{{{{ Values.suffix }}}}" }}
spec:
  node: pve-node1
  cpu: {{ cores: {{{{ Values.cores }}}} }}
  memory: {{{{ Values.memory | default(1024) }}}}
  disks: [{{ storage: local-lvm, size: "{{{{ Values.size }}}}G" }}]
{{% for tag in Values.tags %}}{{% if loop.first %}}  tags:
{{% endif %}}    - {{{{ tag | lower | quote }}}}
{{% endfor %}}
"""


def test_hundred_templates(benchmark: Any, home: Path) -> None:
    """A chart of 100 templates, against bare Jinja2 compiling and rendering the same texts in this process."""
    from jinja2 import Environment

    from pvehelm.chart.chart import load
    from pvehelm.chart.render import Capabilities, ReleaseInfo, render, texts
    from pvehelm.chart.values import coalesce

    values = "suffix: a\ncores: 2\nmemory: 2048\nsize: 10\ntags: [One, Two, Three]\n"
    sources = {f"vm-{i}.yaml": TEMPLATE.format(index=i) for i in range(100)}
    chart = load(chart_of(home / "chart", "hundred", values, sources))
    whole = coalesce(chart, {})
    release = ReleaseInfo("web", "default", 1, True, False)
    capabilities = Capabilities("9.2", ("VirtualMachine",), "0")

    def ours() -> object:
        return render(chart, whole, release, capabilities)

    def bare() -> None:
        environment = Environment()
        environment.filters["quote"] = lambda text: f'"{text}"'
        for text in sources.values():
            environment.from_string(text).render(Values=whole)

    mine, theirs, ratio = paired(ours, bare, 7)
    alone, *_ = paired(lambda: texts(chart, whole, release, capabilities), bare, 7)
    benchmark.pedantic(ours, rounds=3)
    note(
        f"100 templates rendered in a limited child and parsed: {mine * 1000:.0f} ms, "
        f"texts alone {alone * 1000:.0f} ms; "
        f"bare Jinja2 {theirs * 1000:.0f} ms, ratio {ratio:.2f}"
    )
