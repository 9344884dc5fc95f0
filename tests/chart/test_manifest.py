"""Resources: read with all problems and their places, written and read back."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.manifest import LIFECYCLES, Resource, Source, check_unique, parse, to_text
from pvehelm.errors import InvalidError
from tests.chart.data import cases
from tests.helpers import SHARED, needs_shared


@pytest.mark.parametrize("case", cases("manifest.yaml"))
def test_case(case: dict[str, Any]) -> None:
    if "problems" not in case:
        found = parse(case["text"], file="f")
        assert [resource.ref for resource in found] == case["refs"]
        assert [str(resource.source) for resource in found] == case["sources"]
        return
    with pytest.raises(InvalidError) as caught:
        parse(case["text"], file="f")
    problems = caught.value.problems
    assert [problem.where for problem in problems] == [where for where, _, _ in case["problems"]], problems
    for problem, (_, what, hint) in zip(problems, case["problems"], strict=True):
        assert what in problem.what
        assert hint in problem.hint


def test_a_place_for_every_path() -> None:
    text = "kind: VirtualMachine\nmetadata:\n  name: a\nspec:\n  cpu:\n    cores: 2\n  disks:\n    - {size: 1G}\n"
    resource = parse(text, file="vm.yaml")[0]
    assert str(resource.where(("spec", "cpu", "cores"))) == "vm.yaml:6:5"
    assert str(resource.where(("spec", "disks", 0, "size"))) == "vm.yaml:8:8"
    assert str(resource.where(("spec", "disks", 3, "size"))) == "vm.yaml:7:3"
    assert str(resource.where(("spec", "memory"))) == "vm.yaml:4:1"
    assert str(resource.where(())) == "vm.yaml:1:1"
    assert resource.marks[("metadata", "name")] == Source("vm.yaml", 3, 3)
    assert ("spec", "nothing") not in resource.marks
    assert str(Source("f", 3)) == "f:3"
    assert str(Source("f", 0)) == "f"


def test_lines_are_mapped_to_where_they_were_rendered_from() -> None:
    def line_of(line: int) -> Source:
        return Source("templates/vm.yaml", line * 10)

    text = "kind: List\nitems:\n  - kind: Pool\n    metadata:\n      name: a\n"
    resource = parse(text, file="rendered", line_of=line_of)[0]
    assert str(resource.source) == "templates/vm.yaml:30"
    assert str(resource.where(("metadata", "name"))) == "templates/vm.yaml:50"
    with pytest.raises(InvalidError) as caught:
        parse("kind: Pool\nspec: {}\n", file="rendered", line_of=line_of)
    assert caught.value.problems[0].where == "templates/vm.yaml:10"
    with pytest.raises(InvalidError) as caught:
        parse("kind: Pool\nkind: Pool\n", file="rendered", line_of=line_of)
    assert caught.value.problems[0].where == "templates/vm.yaml:20"
    assert "first at templates/vm.yaml:10" in caught.value.problems[0].what
    copied = pickle.loads(pickle.dumps(resource))
    assert copied == resource
    assert str(copied.where(("metadata", "name"))) == "templates/vm.yaml:50"


def test_the_same_name_twice() -> None:
    resources = parse("kind: Pool\nmetadata: {name: a}\n---\nkind: Group\nmetadata: {name: a}\n", file="f")
    check_unique(resources)
    with pytest.raises(InvalidError) as caught:
        check_unique([*resources, *parse("\nkind: Pool\nmetadata: {name: a}\n", file="g")])
    assert [(p.where, p.what) for p in caught.value.problems] == [("g:2:1", "Pool/a is given twice, first at f:1:1")]


def test_written_form() -> None:
    resource = Resource(
        "VirtualMachine",
        "web",
        "prod",
        {"memory": 8192, "tags": ["a"], "description": "one\ntwo " + "long " * 40, "discard": "on", "none": None},
        {"name": "web", "namespace": "prod", "lifecycle": "protect"},
        Source("f", 1),
        {},
    )
    text = to_text([resource])
    assert text.startswith("---\napiVersion: proxmox.io/v1\nkind: VirtualMachine\nmetadata:\n  lifecycle: protect\n")
    assert 'discard: "on"' in text
    assert parse(text, file="x") == [resource]
    assert to_text(parse(text, file="x")) == text
    assert resource.as_dict()["spec"]["memory"] == 8192
    assert to_text([]) == ""


_TEXT = st.text(max_size=12)
_NAME = st.from_regex(r"[a-z0-9][a-z0-9@/!._-]{0,15}", fullmatch=True)
_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(_TEXT, below, max_size=3),
    max_leaves=8,
)


@st.composite
def _resources(draw: Any) -> Resource:
    metadata: dict[str, Any] = {"name": draw(_NAME)}
    if draw(st.booleans()):
        metadata["namespace"] = draw(_NAME)
    if draw(st.booleans()):
        metadata["labels"] = draw(st.dictionaries(_TEXT, _TEXT, max_size=3))
        metadata["lifecycle"] = draw(st.sampled_from(LIFECYCLES))
        metadata["needs"] = [f"Pool/{name}" for name in draw(st.lists(_NAME, max_size=2))]
    spec = draw(st.dictionaries(_TEXT, _DATA, max_size=4))
    kind = draw(st.sampled_from(["VirtualMachine", "Pool", "Container"]))
    return Resource(kind, metadata["name"], metadata.get("namespace"), spec, metadata, Source("f", 1), {})


@given(st.lists(_resources(), max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back(resources: list[Resource]) -> None:
    text = to_text(resources)
    assert parse(text, file="f") == resources
    assert to_text(parse(text, file="f")) == text


@needs_shared
def test_the_documented_manifests_are_valid() -> None:
    for page, wanted in (("MANIFESTS.md", 18), ("DESIGN.md", 1)):
        text = (SHARED / page).read_text(encoding="utf-8")
        blocks = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "kind:" in block]
        assert len(parse(blocks[0], file=page)) == wanted
