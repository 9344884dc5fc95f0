"""The package: a chart as one archive, the same bytes whoever makes it, wherever and whenever."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

from pvehelm.chart.chart import Chart
from pvehelm.chart.deflate import gzip
from pvehelm.chart.dependencies import missing
from pvehelm.errors import InvalidError

# 1980, the oldest time that every archive tool takes without a warning.
_TIME = 315532800


def filename(chart: Chart) -> str:
    """``name-version.tgz``."""
    return f"{chart.metadata.name}-{chart.version}.tgz"


def package(chart: Chart) -> bytes:
    """The chart's ``.tgz``: its files, sorted, in a folder of its name. Loading it gives the same chart and digest.

    Raises InvalidError when a declared dependency is not in ``charts/``.
    """
    problems = missing(chart)
    if problems:
        raise InvalidError(f"{chart.path} cannot be packaged", problems)
    return pack(chart.metadata.name, chart.raw)


def pack(name: str, raw: Mapping[str, bytes]) -> bytes:
    """The ``.tgz`` of a chart's files by path, complete or not."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(raw):
            content = raw[path]
            member = tarfile.TarInfo(f"{name}/{path}")
            member.size = len(content)
            member.mtime = _TIME
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(content))
    return gzip(out.getvalue())
