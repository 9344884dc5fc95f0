"""Expressions that were compiled before are what compiling them now gives."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm import entries, expressions
from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not hasattr(re, "_compiler"), reason="this Python compiles expressions elsewhere")

PLAIN = st.sampled_from(
    ["a", r"\d+", "[^a-c]", "(?P<x>b|c)", ".*?", r"\bw", "(?i:q)", "[\u00e9-\uffff]", "(x)(?(1)y|z)", "$"]
)
PATTERNS = st.lists(PLAIN, min_size=1, max_size=4, unique=True).map("".join)
FLAGS = st.sampled_from([0, re.IGNORECASE, re.MULTILINE | re.DOTALL, re.VERBOSE, re.ASCII]).map(int)


def again(pattern: str | bytes, flags: int) -> tuple[re.Pattern[Any], re.Pattern[Any]]:
    """An expression as it is compiled, and as it is kept and made again."""
    made = expressions.Expressions(re._compiler, "none")  # type: ignore[attr-defined]
    key = (type(pattern) is bytes, flags, pattern)
    made.known[key] = made._worked_out(*key)
    found = made.compile(pattern, flags)
    assert made.known
    assert not made.missed
    return re.compile(pattern, flags), found


@given(PATTERNS, FLAGS, st.text("abcdeqwxyz1 \u00e9\n", max_size=12))
def test_kept_and_made_again(pattern: str, flags: int, text: str) -> None:
    expected, found = again(pattern, flags)
    # Python compares their code as well.
    assert found == expected
    assert (found.groups, found.groupindex, found.flags) == (expected.groups, expected.groupindex, expected.flags)
    assert [one.span() for one in found.finditer(text)] == [one.span() for one in expected.finditer(text)]


def test_texts_and_bytes_are_told_apart() -> None:
    made = expressions.Expressions(re._compiler, "none")  # type: ignore[attr-defined]
    for pattern in ("a+", b"a+"):
        made.known[type(pattern) is bytes, 0, pattern] = made._worked_out(False, 0, pattern)
    assert made.compile("a+").fullmatch("aa")
    assert made.compile(b"a+").fullmatch(b"aa")


@pytest.mark.parametrize(
    "told",
    [
        (32, b"\xff\xff\xff\x7f" * 4, 0, {}, (None,)),
        (32, b"", 0, {}, (None,)),
        (32, b"123", 0, {}, (None,)),
        (32, b"\1\0\0\0"),
        ("x", b"\1\0\0\0", 0, {}, (None,)),
    ],
)
def test_what_the_matcher_refuses_is_compiled_anew(told: Any) -> None:
    made = expressions.Expressions(re._compiler, "none")  # type: ignore[attr-defined]
    made.known[False, 0, "a+b"] = told
    assert made.compile("a+b").fullmatch("aab")


MODULE = """
import re

OUTER = re.compile("outer+(?P<name>x)")

class Thing:
    INNER = re.compile(rb"inner[^\\xff]", re.IGNORECASE)
    MORE = [re.compile("first"), re.compile("second", re.X)]

def ask(text):
    return re.compile(text)
"""
SCRIPT = """
import json, sys
from pvehelm import expressions
used = expressions.use()
import thing
found = thing.ask("somebody's")
used.renew()
about = [thing.OUTER.pattern, thing.OUTER.groupindex["name"], thing.Thing.INNER.match(b"INNERx").span()]
print(json.dumps([[key[2] if not key[0] else key[2].decode() for key in used.missed], about, found.pattern]))
"""


def run(folder: Path, **more: str) -> Any:
    environ = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "PVEHELM_CACHE": str(folder / "cache"),
        **more,
    }
    if "PYTHONDONTWRITEBYTECODE" not in more:
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture
def thing(tmp_path: Path) -> Path:
    (tmp_path / "thing.py").write_text(MODULE)
    return tmp_path


def test_what_stands_in_modules_and_classes_is_kept_and_nothing_else(thing: Path) -> None:
    first, about, asked = run(thing)
    assert {"outer+(?P<name>x)", "inner[^\\xff]", "first", "second"} <= {*first}
    assert asked == "somebody's"
    (kept,) = (thing / "cache" / "expressions").iterdir()
    assert b"outer" in kept.read_bytes()
    assert b"somebody" not in kept.read_bytes()
    again, same, _ = run(thing)
    assert again == []
    assert same == about


def test_whoever_writes_no_code_keeps_none(thing: Path) -> None:
    run(thing, PYTHONDONTWRITEBYTECODE="1")
    assert not [*(thing / "cache" / "expressions").iterdir()]


def test_a_damaged_entry_is_none(thing: Path) -> None:
    _, about, _ = run(thing)
    (kept,) = (thing / "cache" / "expressions").iterdir()
    for data in (kept.read_bytes()[:-5], b"", os.urandom(200)):
        kept.write_bytes(data)
        missed, same, _ = run(thing)
        assert missed
        assert same == about
    assert len(kept.read_bytes()) > entries.SEAL
