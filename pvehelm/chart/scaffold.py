"""The scaffold: a small chart that works, to begin from.

Its files lie in ``starter/``: what both template languages share, and each one's templates. The schema and the README's
table are made of the comments in its values, as the author will make them later.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pvehelm.chart.metadata import NAME
from pvehelm.errors import InvalidError, UsageError

STARTER = Path(__file__).parent / "starter"
ENGINES = ("jinja2", "gotpl")


def from_starter(name: str, raw: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a new chart that begins as another: Helm's ``<CHARTNAME>`` stands for the name wherever it is.

    Raises UsageError when ``name`` is no chart name, InvalidError where there is no Chart.yaml to begin with.
    """
    _check(name)
    if "Chart.yaml" not in raw:
        raise InvalidError("the starter is no chart: it has no Chart.yaml")
    files = {path: content.replace(b"<CHARTNAME>", name.encode()) for path, content in raw.items()}
    files["Chart.yaml"] = re.sub(rb"(?m)^name:.*$", b"name: " + name.encode(), files["Chart.yaml"], count=1)
    return files


def _check(name: str) -> None:
    if not NAME.match(name):
        hint = "letters, digits, '-', '_' and '.', beginning with a letter or digit"
        raise UsageError(f"{name!r} is no chart name", hint=hint)


def scaffold(name: str, engine: str = "jinja2") -> dict[str, str]:
    """The files of a new chart, by path below its directory.

    Raises UsageError when ``name`` is no chart name, or for an engine that there is not.
    """
    _check(name)
    if engine not in ENGINES:
        raise UsageError(f"--engine {engine}: there is gotpl (Helm's own template syntax) and jinja2")
    files = {}
    for folder in (STARTER / "common", STARTER / engine):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                text = path.read_text(encoding="utf-8").replace("@NAME@", name).replace("@ENGINE@", engine)
                files[path.relative_to(folder).as_posix()] = text
    return _written(name, files)


def _written(name: str, files: dict[str, str]) -> dict[str, str]:
    """The files with what is made of the others."""
    from pvehelm.chart import inference, readme
    from pvehelm.chart.chart import Chart, from_files

    def chart() -> Chart:
        return from_files({path: text.encode() for path, text in files.items()}, name=name)

    files["values.schema.json"] = inference.infer(chart())[0]
    files[readme.NAME] = readme.written(chart(), files[readme.NAME])
    return files
