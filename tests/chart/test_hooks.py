"""metadata.hook and metadata.readyWhen: what they mean and what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart import condition
from pvehelm.chart.hooks import hook_of, problems
from pvehelm.chart.manifest import parse
from pvehelm.errors import InvalidError
from tests.chart.data import cases

DOCUMENT: dict[str, Any] = {
    "status": {"state": "running", "uptime": 99, "addresses": ["10.0.0.5", "fe80::1"], "lock": ""},
    "config": {
        "memory": "2048",
        "onboot": 1,
        "odd": "1",
        "tags": ["web", "prod"],
        "net0": {"bridge": "vmbr0"},
        "odd.name": "x",
        "empty": "",
        "zero": 0,
        "off": False,
        "text": "1 2",
    },
}


@pytest.mark.parametrize("case", cases("hooks.yaml"))
def test_hook(case: dict[str, Any]) -> None:
    if "problems" in case:
        found = [[".".join(path), what, hint] for path, what, hint in problems(case["metadata"])]
        assert found == case["problems"]
        return
    assert list(problems(case["metadata"])) == []
    hook = hook_of(case["metadata"])
    assert (hook and [list(hook.events), hook.weight, sorted(hook.policies)]) == case["hook"]


@pytest.mark.parametrize("case", cases("conditions.yaml"))
def test_condition(case: dict[str, Any]) -> None:
    for text in case.get("holds", ()):
        assert condition.parse(text).holds(DOCUMENT), text
    for text in case.get("fails", ()):
        assert not condition.parse(text).holds(DOCUMENT), text
    for text in case.get("wrong", ()):
        with pytest.raises(InvalidError):
            condition.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_an_error(text: str) -> None:
    try:
        made = condition.parse(text)
    except InvalidError:
        return
    assert made.holds(DOCUMENT) in (True, False)


@given(
    st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,6}", fullmatch=True), min_size=1, max_size=4),
    st.one_of(st.integers(), st.booleans(), st.from_regex(r"[a-z]{1,8}", fullmatch=True)),
)
def test_what_is_there_is_found(path: list[str], value: Any) -> None:
    document: Any = value
    for name in reversed(path):
        document = {name: document}
    shown = str(value).lower() if isinstance(value, bool) else value
    assert condition.parse(f"{'.'.join(path)} == {shown}").holds(document)
    assert not condition.parse(f"{'.'.join(path)} != {shown}").holds(document)


def test_problems_have_their_place() -> None:
    text = "kind: VirtualMachine\nmetadata:\n  name: a\n  hook: pre-instal\n  readyWhen:\n    - status.state ==\n"
    with pytest.raises(InvalidError) as caught:
        parse(text, file="f.yaml")
    places = [(problem.where, problem.what) for problem in caught.value.problems]
    assert places[0] == ("f.yaml:6:7", "condition 'status.state ==': nothing to compare with")
    with pytest.raises(InvalidError) as caught:
        parse(text.replace("state ==", "state"), file="f.yaml")
    assert [(p.where, p.hint) for p in caught.value.problems] == [("f.yaml:4:3", "did you mean 'pre-install'?")]
