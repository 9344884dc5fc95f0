"""Sets of templates as Helm renders them: its own engine's cases, and ours."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from pvehelm.chart.gotpl.objects import Files
from tests.chart.gotpl.templates import Failed, cases, go_data, published, rendered, rendered_set
from tests.helpers import needs_shared

_HELM = published("helm-cases")


def data_of(name: str, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = go_data(given.get("vals") or {})
    if isinstance(found.get("Files"), dict):
        found["Files"] = Files({path: base64.b64decode(content) for path, content in found["Files"].items()})
    return found | {"Template": {"Name": name, "BasePath": given.get("basePath", "")}}


@needs_shared
@pytest.mark.parametrize("case", _HELM.get("engine", []), ids=lambda case: str(case["id"]))
def test_engine_of_helm(case: dict[str, Any]) -> None:
    sources = {name: given["tpl"] for name, given in case["templates"].items()}
    data = {name: data_of(name, given) for name, given in case["templates"].items()}
    if case["error"]:
        with pytest.raises(Failed) as caught:
            rendered_set(sources, data, strict=case["strict"], lint=case["lint"])
        assert str(caught.value) == case["error"]
    else:
        assert rendered_set(sources, data, strict=case["strict"], lint=case["lint"]) == case["rendered"]


@needs_shared
@pytest.mark.parametrize("case", _HELM.get("funcs", []), ids=lambda case: str(case["id"]))
def test_functions_of_helm(case: dict[str, Any]) -> None:
    assert rendered(case["template"], go_data(case["data"])) == case["expected"]


@pytest.mark.parametrize("case", cases("sets"), ids=lambda case: str(case["name"]))
def test_ours(case: dict[str, Any]) -> None:
    shared = go_data(case.get("data", {}))
    data = dict.fromkeys(case["files"], shared)
    if "error" in case:
        with pytest.raises(Failed) as caught:
            rendered_set(case["files"], data, strict=case.get("strict", False))
        assert str(caught.value) == case["error"]
    else:
        assert rendered_set(case["files"], data) == case["text"]
