"""The package: a chart as one archive, the same bytes whoever makes it, wherever and whenever."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Mapping

from pvehelm.chart.chart import Chart, load_archive
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


def stamp(chart: Chart, *, version: str = "", app_version: str = "") -> Chart:
    """The chart with another version or appVersion in its Chart.yaml, whose other lines stay as they are.

    Raises InvalidError for what is no version, or a Chart.yaml that does not name them on lines of their own.
    """
    from pvehelm.chart.metadata import SEMVER

    if version and not SEMVER.match(version):
        raise InvalidError(f"{version!r} is no semantic version", hint="for example 1.2.3")
    text = chart.raw["Chart.yaml"].decode("utf-8-sig")
    for key, value in (("version", version), ("appVersion", app_version)):
        if not value:
            continue
        line = f"{key}: {json.dumps(value, ensure_ascii=False)}"
        found_line = re.search(rf"(?m)^{key}:.*$", text)
        if found_line:
            text = text[: found_line.start()] + line + text[found_line.end() :]
        else:
            text = text.rstrip("\n") + f"\n{line}\n"
    stamped = load_archive(pack(chart.metadata.name, {**chart.raw, "Chart.yaml": text.encode()}), name=chart.path)
    found = stamped.metadata
    if (version and found.version != version) or (app_version and found.app_version != app_version):
        raise InvalidError(f"{chart.path}/Chart.yaml: the version cannot be set in it", hint="write it on its own line")
    return stamped


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
