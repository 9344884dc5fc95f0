"""The function library, by the published probes of Helm's functions and by cases of our own, run as templates."""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart.gotpl.library import FUNCTIONS, SIGNATURES
from pvehelm.chart.gotpl.values import Int64
from tests.chart.gotpl.templates import Failed, go_data, published, rendered
from tests.helpers import needs_shared

#: Published cases that cannot hold; docs/helm-compatibility.md gives the reasons.
CANNOT_HOLD = {
    "sprig/TestGetHostByName#1": "templates do not ask the network, and Helm does not either",
    "sprig/TestEmpty#7": "fields of a missing value are an error in Helm, not in Sprig's own tests",
    "sprig/TestCoalesce#7": "fields of a missing value are an error in Helm, not in Sprig's own tests",
    "sprig/TestAll#7": "fields of a missing value are an error in Helm, not in Sprig's own tests",
}
_CHUNKS = 40


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The probes were made where the local zone is UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def _outcome(template: str, data: Any) -> str | None:
    """What a template prints, bytes outside UTF-8 as Go's JSON shows them; None for an error."""
    try:
        shown = rendered(template, data)
    except Failed:
        return None
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


@functools.cache
def _probes() -> list[tuple[str, str, Any, str | None]]:
    found = published("oracle-cases")
    shared = found.get("shared_data")
    out = []
    for case in found.get("cases", ()):
        raw = shared if case["data"] == "@shared" else case["data"]
        for name, whole in (("int", Int64), ("float64", float)):
            wanted = case if case["numbers"] == "any" else case[name]
            out.append((f"{case['id']}/{name}", case["template"], go_data(raw, whole), wanted.get("expected")))
    return out


@needs_shared
@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_probes(chunk: int) -> None:
    probes = _probes()[chunk::_CHUNKS]
    wrong = [
        (name, template, wanted, got)
        for name, template, data, wanted in probes
        if (got := _outcome(template, data)) != wanted
    ]
    assert wrong == []
    assert probes


@needs_shared
def test_sprig() -> None:
    wrong = []
    for case in published("sprig-cases")["cases"]:
        got = _outcome(case["template"], go_data(case["data"], Int64))
        if got != (case["expected"] if case["ok"] else None) and case["id"] not in CANNOT_HOLD:
            wrong.append((case["id"], case["template"], case["expected"], got))
    assert wrong == []


@needs_shared
def test_helm() -> None:
    for case in published("helm-cases")["funcs"]:
        assert _outcome(case["template"], go_data(case["data"], Int64)) == case["expected"], case["id"]


@needs_shared
def test_random() -> None:
    """Of what differs between runs the shape can be tested."""
    for case in published("sprig-cases")["random"]:
        if not isinstance(case["data"], str):
            got = _outcome(case["template"], {})
            assert got is not None, case["id"]
            assert _shape(got) == _shape(case["example"]), case["id"]


def _shape(text: str) -> str:
    body = re.sub(r"(-----BEGIN [A-Z ]+-----)[^-]*(-----END)", r"\1\2", text)
    return body if "BEGIN" in body else str(len(body))


def _own() -> list[dict[str, Any]]:
    """What Helm 4.2.3 printed for probes of our own, with the numbers of values files."""
    found: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cases" / "functions.json").read_text("utf-8"))
    return found


def test_own_probes() -> None:
    wrong = []
    for case in _own():
        got = _outcome(case["template"], go_data(case["data"]))
        # Helm takes the mark of nil out of the final text.
        if (got and got.replace("<no value>", "")) != case["expected"]:
            wrong.append((case["template"], case["data"], case["expected"], got))
    assert wrong == []


def test_every_function_has_a_summary() -> None:
    assert {name for name, signature in SIGNATURES.items() if not signature.summary.endswith(".")} == set()
    assert set(SIGNATURES) == set(FUNCTIONS)
