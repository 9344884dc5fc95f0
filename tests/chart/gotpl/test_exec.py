"""What templates print: Go's table, the published probes of Helm's functions, and cases of ours."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.chart.gotpl.values import Int64
from tests.chart.gotpl.templates import Failed, cases, go_data, published, rendered
from tests.helpers import needs_shared

_GO = published("gotemplate-cases")
_PROBES = published("oracle-cases")


@needs_shared
@pytest.mark.parametrize("case", _GO.get("exec", []), ids=lambda case: str(case["template"]))
def test_of_go(case: dict[str, Any]) -> None:
    data = go_data(case["data"], Int64)
    strict = case.get("missingkey") == "error"
    if case["ok"]:
        assert rendered(case["template"], data, strict=strict, plain_go=True) == case["expected"]
    else:
        with pytest.raises(Failed):
            rendered(case["template"], data, strict=strict, plain_go=True)


def _probe(case: dict[str, Any], data: Any, wanted: dict[str, Any] | str) -> str:
    """What is wrong with the answer to a probe."""
    if isinstance(wanted, str):
        wanted = {"expected": wanted}
    try:
        found = rendered(case["template"], data)
    except Failed as error:
        said = str(error).replace("template: gotpl:", "template: t:").replace('template "gotpl"', 'template "t"')
        # Helm marks what charts say themselves, and takes the marks out when it prints it.
        asked = wanted.get("error", "").replace("HELM_ERR_START", "").replace("HELM_ERR_END", "")
        return "" if said == asked else f"{case['template']}: failed: {error}, not {asked}"
    if "error" in wanted:
        return f"{case['template']}: should fail, printed {found!r}"
    # The published text has been through JSON, where bytes that are no text became a sign.
    shown = found.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "" if shown == wanted["expected"] else f"{case['template']}: {shown!r} instead of {wanted['expected']!r}"


@needs_shared
@pytest.mark.parametrize("numbers", ["float64", "int"])
def test_probes(numbers: str) -> None:
    wrong = []
    for case in _PROBES["cases"]:
        data = _PROBES["shared_data"] if case["data"] == "@shared" else case["data"]
        wanted = case[numbers] if case["numbers"] == "differ" else case
        wrong.append(_probe(case, go_data(data, Int64 if numbers == "int" else float), wanted))
    wrong = [text for text in wrong if text]
    assert not wrong, f"{len(wrong)} of {len(_PROBES['cases'])}:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize("case", cases("exec"), ids=lambda case: str(case["template"]))
def test_ours(case: dict[str, Any]) -> None:
    data = go_data(case.get("data"), Int64 if case.get("numbers") == "int" else float)
    strict = case.get("strict", False)
    if "error" in case:
        with pytest.raises(Failed) as caught:
            rendered(case["template"], data, strict=strict)
        assert str(caught.value) == case["error"]
    else:
        assert rendered(case["template"], data, strict=strict) == case["text"]


#: What the templates of ``errors.yaml`` were rendered with.
_DATA: dict[str, Any] = {
    "Values": {"s": "text", "num": 5, "f": 1.5, "m": {"k": "v"}, "l": [1, "b"], "t": True},
    "Chart": {"Name": "e", "AppVersion": ""},
    "Release": {"Name": "r"},
    "Template": {"Name": "t", "BasePath": "templates"},
}


@pytest.mark.parametrize("case", cases("errors"), ids=lambda case: str(case["template"]))
def test_mistakes_are_told_as_by_helm(case: dict[str, Any]) -> None:
    with pytest.raises(Failed) as caught:
        rendered(case["template"], go_data(_DATA))
    told = str(caught.value)
    if "error" in case:
        assert told == case["error"]
    else:
        assert told.startswith(f"template: {case['at']}: ")
        assert told.endswith(f" {case['says']}")
