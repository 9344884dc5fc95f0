"""Names: free of collisions for every version, and never translated wrongly."""

from __future__ import annotations

import keyword
from collections import Counter

import pytest
from pydantic import BaseModel

from pvehelm import ProxmoxClient
from pvehelm.api.arguments import keywords_of
from pvehelm.api.layout import (
    MODEL_NAMES,
    TAKEN,
    Layout,
    field_name,
    layout_of,
    objects,
    properties,
    python_name,
    segment_name,
)
from pvehelm.api.models import Model, answers_of
from pvehelm.api.schema import Schema

RELEASES = ("7.4", "8.4", "9.2")


@pytest.fixture(params=RELEASES)
def layout(request: pytest.FixtureRequest) -> Layout:
    return layout_of(Schema.load(request.param))


def test_keywords_do_not_collide(layout: Layout) -> None:
    for operation in layout.schema.operations():
        known = keywords_of(operation)
        names = [name for name in operation.everything if name not in operation.path_names]
        # A family and a parameter of its name are told apart by the value: a map by index, or not.
        plain = Counter(python_name(name) for name in names if "[n]" not in name)
        families = Counter(python_name(name) for name in names if "[n]" in name)
        assert not [name for name, count in (plain | families).items() if count > 1], operation.path
        assert {param.name for param in (*known.plain.values(), *known.families.values())} == set(names)
        for name, param in known.plain.items():
            assert name.isidentifier()
            assert not keyword.iskeyword(name)
            assert name not in ("raw", "self"), (operation.path, name)
            if name in known.families:
                assert param.type in ("boolean", "integer")
        if layout.is_upload(operation.path):
            assert not {"file", "size"} & known.plain.keys()
        for stem in known.families:
            clash = {f"{stem}{n}" for n in range(256)} & known.plain.keys()
            assert not clash


def test_attributes_do_not_collide(layout: Layout) -> None:
    own = set(dir(ProxmoxClient)) | {"raw", "request", "task", "sync", "schema"}
    for template, below in layout.tree.items():
        literal = [part for part in below if not part.startswith("{")]
        assert len({segment_name(part) for part in literal}) == len(literal), template
        assert len(below) - len(literal) <= 1, template
        names = [*layout.attributes(template), *layout.methods(template), "lines", "stream"]
        assert len(set(names)) == len(names), template
        assert not [name for name in names if name.startswith("_") or keyword.iskeyword(name)]
    assert not own & set(layout.attributes("/"))


def test_classes_and_models_do_not_collide(layout: Layout) -> None:
    for section in layout.sections:
        names = [layout.class_name(template) for template in layout.templates(section)]
        for template in layout.templates(section):
            for method in layout.schema.methods(template):
                operation = layout.schema.operation(method, template)
                names += [layout.model_name(operation, trail) for trail in objects(operation.returns)]
        assert len(set(names)) == len(names), section
        assert not set(names) & TAKEN
        assert set(layout.names(section)) == set(names)
    assert sum(len(layout.templates(section)) for section in layout.sections) == len(layout.tree)


def test_fields_do_not_collide(layout: Layout) -> None:
    for operation in layout.schema.operations():
        for trail in objects(operation.returns):
            model = answers_of(layout.schema).model(operation, trail)
            assert not set(model.model_fields) & set(dir(Model)), model
            assert all(name.isidentifier() and not name.startswith("_") for name in model.model_fields)
        names = [name for name in properties(operation.returns) if "[n]" not in name]
        assert len({field_name(name) for name in names}) == len(names)


def test_names_of_models_are_known() -> None:
    assert {name for name in dir(BaseModel) if not name.startswith("_")} <= MODEL_NAMES
    assert {name for name in dir(Model) if not name.startswith("_")} <= MODEL_NAMES


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("base-id", "base_id"), ("net[n]", "net"), ("in", "in_"), ("1st", "n_1st"), ("a.b", "a_b"), ("-", "n__")],
)
def test_python_names(name: str, wanted: str) -> None:
    assert python_name(name) == wanted
    assert wanted.isidentifier()
