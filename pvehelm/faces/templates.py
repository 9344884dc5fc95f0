"""What ``-o jsonpath=``, ``jsonpath-as-json=`` and ``go-template=`` print of plain data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pvehelm.errors import PvehelmError, UsageError

Printer = Callable[[Any], str]
FORMS = ("jsonpath", "jsonpath-file", "jsonpath-as-json", "go-template", "go-template-file")


def template(how: str) -> Printer:
    """The printer of ``FORM=TEMPLATE``. Raises UsageError for one that is none, PvehelmError for a file that can't be
    read."""
    form, _, source = how.partition("=")
    if form not in FORMS or not source:
        raise UsageError(f"-o {how}: a template is expected", hint="for example -o jsonpath={.items[*].metadata.name}")
    if form.endswith("-file"):
        form, source = form.removesuffix("-file"), read(source)
    if form == "go-template":
        from pvehelm.chart.gotpl.alone import printer

        return printer(source, "-o go-template")
    if form == "jsonpath-as-json":
        from pvehelm.chart.jsonpath import path

        find = path(source)
        return lambda data: json.dumps(find(data), indent=4, ensure_ascii=False) + "\n"
    from pvehelm.chart.jsonpath import Template

    return Template(source).text


def read(path: str) -> str:
    """A file of a template. Raises PvehelmError."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise PvehelmError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PvehelmError(f"can't read {path}: it is not UTF-8 text") from None
