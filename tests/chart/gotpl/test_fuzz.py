"""Whatever templates do, they give text or an error of theirs: nothing of Python's shows (bombs are in cases/bombs)."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart.gotpl.library import FUNCTIONS, SIGNATURES
from pvehelm.chart.gotpl.runtime import ExecError, shown
from pvehelm.chart.gotpl.values import GoError, Int64
from tests.chart.gotpl.templates import Failed, cases, rendered

#: Keys and hashes take their time, whatever they are given.
_SLOW = {name for name in FUNCTIONS if name.startswith("gen")} | {"bcrypt", "htpasswd", "derivePassword"}
_NAMES = sorted(set(FUNCTIONS) - _SLOW)

_WORDS: Any = cases("fuzz")
_TEXTS = st.sampled_from([*_WORDS["texts"], "\udce4", "9" * 5000, "9" * 400 + "h", "x" * 300, "\x00\x01"])
_INTS = st.sampled_from([0, 1, -1, 2, 7, 100, -100, 1 << 31, (1 << 63) - 1, -(1 << 63)])
_SCALARS = (
    st.none() | st.booleans() | _INTS | _INTS.map(Int64) | _TEXTS | st.sampled_from([0.0, -0.0, 1.5, 1e300, 1e6, 1e-9])
)
_ANY = st.recursive(
    _SCALARS,
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "_0", ""]), below, max_size=3)
    ),
    max_leaves=6,
)
_TYPED: dict[str, Any] = {"string": _TEXTS, "int": _INTS, "int64": _INTS, "uint32": _INTS}


@st.composite
def _calls(draw: st.DrawFn) -> tuple[str, list[Any]]:
    name = draw(st.sampled_from(_NAMES))
    signature = SIGNATURES[name]
    kinds = list(signature.parameters)
    if signature.variadic:
        kinds[-1:] = kinds[-1:] * draw(st.integers(0, 3))
    return name, [draw(_TYPED.get(kind.lstrip("."), _ANY) | _ANY) for kind in kinds]


@given(_calls())
@settings(max_examples=600, deadline=None)
def test_functions(call: tuple[str, list[Any]]) -> None:
    name, args = call
    with contextlib.suppress(GoError, ExecError):
        shown(FUNCTIONS[name](*args))


_PIECES = st.sampled_from(_WORDS["pieces"])
_OF_PYTHON = re.compile(r"\b(?:Type|Value|Index|Key|Attribute|Name|Assertion|Overflow|UnboundLocal)Error\b")


@given(
    st.lists(_PIECES, max_size=30).map("".join)
    | st.lists(_PIECES, max_size=12).map(" ".join).map("{{{{ {} }}}}".format)
)
@settings(max_examples=400, deadline=None)
def test_templates(source: str) -> None:
    told = ""
    try:
        rendered(source, {"a": {"b": [1.0, "x", None]}, "Values": {}})
    except Failed as error:
        told = str(error)
    assert not _OF_PYTHON.search(told), told
