"""The parser: Go's own tables of trees, errors, numbers and empty templates, and cases of ours."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.gotpl.literals import Number, unquote
from pvehelm.chart.gotpl.parser import ParseError, parse
from pvehelm.chart.gotpl.quick import Memory
from pvehelm.chart.gotpl.syntax import Body, Branch, Tree
from tests.chart.gotpl.templates import cases, published
from tests.helpers import needs_shared

_GO = published("gotemplate-cases")
_NUMBER = ("is_int", "is_uint", "is_float", "is_complex", "int", "uint", "float")


def tree(case: dict[str, Any], name: str = "t", depth: int = 90) -> str:
    return str(parse(name, case["template"], set(case.get("funcs", ["printf"])), max_depth=depth)[name])


@needs_shared
@pytest.mark.parametrize("case", _GO.get("parse", []), ids=lambda case: str(case["id"]))
def test_of_go(case: dict[str, Any]) -> None:
    error = case.get("error_contains", "")
    name = "test" if "test:" in error else case["name"]
    if case["ok"]:
        found = tree(case, name, 3)
        assert found == case.get("tree", found)
        return
    with pytest.raises(ParseError) as caught:
        tree(case, name, 3)
    # Two cases of the table name the template where others name the error.
    assert error in str(caught.value) or error == case["template"]


@needs_shared
@pytest.mark.parametrize("case", _GO.get("numbers", []), ids=lambda case: str(case["Text"]))
def test_numbers_of_go(case: dict[str, Any]) -> None:
    try:
        number = Number(case["Text"])
        found = [getattr(number, name) for name in _NUMBER]
    except ValueError:
        found = [False, False, False, False, 0, 0, 0]
    names = ("IsInt", "IsUint", "IsFloat", "IsComplex", "Int", "Uint", "Float")
    assert found == [case[name] for name in names]


@needs_shared
@pytest.mark.parametrize("case", _GO.get("isEmpty", []), ids=lambda case: str(case["Name"]))
def test_empty_of_go(case: dict[str, Any]) -> None:
    assert parse("file", case["Input"], ())["file"].empty == case["Empty"]


@pytest.mark.parametrize("case", cases("parse"), ids=lambda case: str(case["template"]))
def test_ours(case: dict[str, Any]) -> None:
    if "tree" in case:
        found = tree(case)
        assert found == case["tree"]
        assert tree({**case, "template": found}) == found if '"' not in found else True
        return
    with pytest.raises(ParseError) as caught:
        tree(case)
    assert str(caught.value) == f"template: t:{case['error']}"


@given(st.text(alphabet='{} -/*"`.$|():=ab10x_p+\n,\\nilfedr', max_size=50))
def test_any_text_parses_or_is_refused(source: str) -> None:
    with contextlib.suppress(ParseError):
        parse("t", source, {"a", "b"})


def _told(source: str, memory: Memory | None) -> object:
    """The trees of a source as text, with what is noted of their bodies; or the error."""

    def bodies(nodes: list[Any]) -> list[Any]:
        of = [part for node in nodes if isinstance(node, Branch) for part in (node.body, node.other or Body())]
        return [(node.pos, str(node)) for node in nodes if isinstance(node, Branch)] + [
            (sorted(body.names), sorted(body.assigned), body.actions, body.leaves, bodies(body)) for body in of
        ]

    def told(tree: Tree) -> object:
        return str(tree), tree.loose, tree.empty, bodies(tree.root)

    try:
        return {name: told(tree) for name, tree in parse("t", source, _FUNCTIONS, memory=memory).items()}
    except ParseError as error:
        return str(error)


_FUNCTIONS = {"print", "printf", "len", "index", "eq", "and", "or", "not", "default", "toYaml", "list", "dict"}
_WORDS: Any = cases("fuzz")
_ACTIONS = st.lists(st.sampled_from(_WORDS["pieces"]), max_size=5).map(" ".join)
_KNOWN = Memory(_FUNCTIONS)


@given(st.lists(st.builds("{{{{{}{} }}}}{}".format, st.sampled_from([" ", "- "]), _ACTIONS, st.just("x ")), max_size=6))
def test_the_quick_way_leads_to_the_same_place(actions: list[str]) -> None:
    source = "".join([*actions, "{{ end }}" * sum("if" in one or "with" in one for one in actions)])
    assert _told(source, _KNOWN) == _told(source, None)


@given(st.text(max_size=20))
def test_strings_are_read_as_they_are_written(text: str) -> None:
    written = "".join(f"\\U{ord(char):08x}" if char in '"\\\n' or ord(char) < 32 else char for char in text)
    assert unquote(f'"{written}"') == text
