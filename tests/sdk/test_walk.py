"""Every operation of every schema is called under its path, with arguments and answers drawn from the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pvehelm import ProxmoxClient
from pvehelm.api.layout import VERBS, layout_of, objects, properties, segment_name
from pvehelm.api.models import Model, answers_of
from pvehelm.api.schema import Facts, Operation, Schema
from tests.sdk import draw
from tests.sdk.wire import Heard, Script

COUNTS = {"7.4": 540, "8.4": 605, "9.2": 661}


def walk(client: Any, operation: Operation, values: Mapping[str, Any]) -> Any:
    place = client
    for part in operation.path.strip("/").split("/"):
        place = place(values[part[1:-1]]) if part.startswith("{") else getattr(place, segment_name(part))
    return place


def shape(answer: Any, facts: Facts) -> None:
    """Assert that an answer has become what the schema says."""
    kind = facts.get("type")
    if properties(facts):
        assert isinstance(answer, Model)
        assert answer.not_in_schema == 1  # type: ignore[attr-defined]
    elif kind == "array":
        assert isinstance(answer, list)
        for row in answer:
            shape(row, facts.get("items") or {})
    elif kind in ("integer", "number", "boolean"):
        assert answer == {"integer": 7, "number": 1.5, "boolean": True}[kind]


@pytest.mark.parametrize("release", COUNTS)
@pytest.mark.parametrize("optional", [False, True], ids=["required", "everything"])
def test_every_operation_can_be_called(release: str, optional: bool) -> None:
    schema = Schema.load(release)
    data: Any = None
    transport = Script(lambda heard: data, version=f"{release}.1")
    called = 0
    with ProxmoxClient.sync("pve", token="root@pam!t=secret", transport=transport) as pve:
        assert pve.schema.release == release
        for operation in schema.operations():
            if operation.path == "/version":
                assert pve.version.get() is not None
                called += 1
                continue
            data = draw.answer(operation.returns)
            for values, given in draw.arguments(operation, optional=optional):
                place = walk(pve, operation, values)
                transport.heard.clear()
                answer = getattr(place, VERBS[operation.method])(**given)
                shape(answer, operation.returns)
                check(transport.heard[0], operation, values, given, schema)
            called += 1
    assert called == COUNTS[release]
    assert transport.closed


def check(
    heard: Heard, operation: Operation, values: Mapping[str, Any], given: Mapping[str, Any], schema: Schema
) -> None:
    found = schema.match(heard.method, heard.path)
    assert found is not None, (operation.method, operation.path, heard.path)
    assert found[0] is operation
    assert found[1] == {name: str(value) for name, value in values.items()}
    sent = {name for name in heard.params if operation.param(name) is not None}
    assert sent == set(heard.params), f"{operation.method} {operation.path} was sent {set(heard.params) - sent}"
    assert len(heard.params) == len(given) if not any(value == [] for value in given.values()) else True


@pytest.mark.parametrize("release", COUNTS)
def test_every_model_can_be_made(release: str) -> None:
    schema = Schema.load(release)
    for operation in schema.operations():
        for trail in objects(operation.returns):
            model = answers_of(schema).model(operation, trail)
            model.model_rebuild()
            assert model.__name__ == layout_of(schema).model_name(operation, trail)


@pytest.mark.parametrize("release", COUNTS)
def test_most_optional_parameters_can_be_drawn(release: str) -> None:
    """So that the walk above is no walk past them."""
    params = [param for operation in Schema.load(release).operations() for param in operation.everything.values()]
    missing = {str(param.format or param.facts.get("pattern")) for param in params if draw.value(param.facts) is None}
    assert not missing
