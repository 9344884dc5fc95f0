"""Findings as SARIF 2.1.0, which code hosts show beside the lines they are about."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pvehelm import __version__
from pvehelm.chart.rules import Finding, Rule

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def report(findings: Iterable[Finding], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The document; rules that found something are described in it."""
    found = list(findings)
    used = sorted({one.rule for one in found if one.rule in rules})
    driver = {
        "name": "pvehelm",
        "version": __version__,
        "rules": [
            {
                "id": name,
                "shortDescription": {"text": rules[name].told},
                "defaultConfiguration": {"level": _LEVELS[rules[name].severity]},
            }
            for name in used
        ],
    }
    results = [_result(one, used) for one in found]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(one: Finding, used: list[str]) -> dict[str, Any]:
    file, line, column = _place(one.where)
    place: dict[str, Any] = {"artifactLocation": {"uri": file}}
    if line:
        place["region"] = {"startLine": line, **({"startColumn": column} if column else {})}
    text = one.what + (f"\n{one.hint}" if one.hint else "")
    result: dict[str, Any] = {"ruleId": one.rule, "level": _LEVELS[one.severity], "message": {"text": text}}
    if one.rule in used:
        result["ruleIndex"] = used.index(one.rule)
    if file:
        result["locations"] = [{"physicalLocation": place}]
    return result


def _place(where: str) -> tuple[str, int, int]:
    """File, line and column (0: not known); a relative URI without ``./``."""
    found = re.fullmatch(r"(.*?):(\d+)(?::(\d+))?", where)
    file = (found[1] if found else where).removeprefix("./")
    # What is no file, --set for one, is no place.
    return ("", 0, 0) if file.startswith("-") else (file, int(found[2]) if found else 0, int((found and found[3]) or 0))
