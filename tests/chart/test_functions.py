"""The function library: each function by cases, Sprig's own cases through the dialect, and properties."""

from __future__ import annotations

import datetime
import json
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart.functions import FUNCTIONS, SUBJECT_FIRST, Failed, FunctionError
from pvehelm.chart.functions.dates import format_date, parse_date
from pvehelm.chart.traced import misread
from tests.chart.data import CASES
from tests.helpers import SHARED, needs_shared

GROUPS = yaml.safe_load((CASES / "functions.yaml").read_text(encoding="utf-8"))
CALLS = [
    pytest.param(*call, id=f"{call[0]}-{number}") for group in GROUPS for number, call in enumerate(group["calls"])
]


@pytest.mark.parametrize(("name", "arguments", "wanted"), CALLS)
def test_call(name: str, arguments: list[Any], wanted: Any) -> None:
    function = FUNCTIONS[name]
    if isinstance(wanted, dict) and wanted.keys() <= {"error", "failed"} and wanted:
        with pytest.raises(FunctionError if "error" in wanted else Failed) as caught:
            function(*arguments)
        assert next(iter(wanted.values())) in str(caught.value)
        return
    found = function(*arguments)
    assert found == wanted
    assert isinstance(found, bool) == isinstance(wanted, bool)


def test_every_subject_is_a_function() -> None:
    assert set(SUBJECT_FIRST) <= set(FUNCTIONS)


def test_changing_functions_change_their_first_argument_only() -> None:
    target: dict[str, Any] = {"n": {"a": 1}}
    source = {"n": {"b": 2}, "m": 1}
    assert FUNCTIONS["merge"](target, source) is target
    assert target == {"n": {"a": 1, "b": 2}, "m": 1}
    assert source == {"n": {"b": 2}, "m": 1}
    assert FUNCTIONS["set"](target, "x", 1) is target
    assert FUNCTIONS["unset"](target, "n") == {"m": 1, "x": 1}


def test_certificates_are_maps() -> None:
    authority = FUNCTIONS["genCAWithKey"]("ca", 30, FUNCTIONS["genPrivateKey"]("ecdsa"))
    made = FUNCTIONS["genSignedCertWithKey"]("web", ["10.0.0.1"], ["web.lan"], 3, authority, authority["Key"])
    assert made.keys() == {"Cert", "Key"}
    assert made["Cert"].startswith("-----BEGIN CERTIFICATE-----")
    assert made["Key"] == authority["Key"]
    sealed = FUNCTIONS["encryptAES"]("key", "text")
    assert FUNCTIONS["decryptAES"]("key", sealed) == "text"
    assert FUNCTIONS["htpasswd"]("me", "secret").startswith("me:$2a$10$")


def test_random_functions_by_shape() -> None:
    assert re.fullmatch(r"[A-Za-z0-9]{20}", FUNCTIONS["randAlphaNum"](20))
    assert re.fullmatch(r"[A-Za-z]{20}", FUNCTIONS["randAlpha"](20))
    assert re.fullmatch(r"[0-9]{20}", FUNCTIONS["randNumeric"](20))
    assert re.fullmatch(r"[ -~]{20}", FUNCTIONS["randAscii"](20))
    assert len(FUNCTIONS["randBytes"](12)) == 16
    assert 3 <= FUNCTIONS["randInt"](3, 9) < 9
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", FUNCTIONS["uuidv4"]())
    assert sorted(FUNCTIONS["shuffle"]("hello")) == sorted("hello")
    assert (datetime.datetime.now(datetime.UTC) - FUNCTIONS["now"]()).total_seconds() < 5


@given(st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9999, 12, 30)))
def test_dates_are_read_as_they_are_written(when: datetime.datetime) -> None:
    layout = "Mon, 02 Jan 2006 15:04:05.000000 -0700"
    aware = when.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert parse_date(layout.replace(".000000", ""), format_date(layout, aware)) == aware


@given(st.text(max_size=30))
def test_quoted_texts_are_read_as_they_were(value: str) -> None:
    assert yaml.safe_load(f"k: {FUNCTIONS['quote'](value)}") == {"k": value}


@given(st.text(alphabet=st.characters(codec="ascii") | st.sampled_from("ä€\u2028\x85"), max_size=12))
def test_texts_that_need_no_quotes_are_read_as_they_are(value: str) -> None:
    if misread(value, given=True):
        return
    assert yaml.safe_load(f"k: {value}\n") == {"k": value}


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**18), 10**18))
def test_numbers_are_read_as_they_were(value: float) -> None:
    assert yaml.safe_load(FUNCTIONS["toString"](value)) == value


_OTHER = re.compile(
    # Printing as Go does, nil and missing, statements and Go's own functions are the other dialect's affair.
    r"\$|\bif\b|range|end|:=|define|with|printf|/\*|`|template|nil|print\b|println|\bnot\b|urlquery|html|\bjs\b"
    r"|[.]Compare|Password|AES|[Pp]rivateKey|genCA|Cert|[.]Top|[.]V\b|[.]Value\b|[.]Time\b|missing|NoSuch|[.]Nothing|^\{\{\s*\w+\s*\}\}$"
    r"|toToml|hello|getHostByName|tuple \||deepEqual|typeOf|typeIs|toYamlPretty|\beq\b|\bne\b|mustWithout list"
    r"|\btpl\b|\badd [.][lmei]|\{\{ '|-\}\}"
)


@needs_shared
@pytest.mark.parametrize("file", ["sprig-cases.json", "oracle-cases.json"])
def test_cases_of_sprig(file: str) -> None:
    """Published cases of one call or pipeline, in Jinja2's words; few may differ: Go's printing, and errors."""
    from pvehelm.chart.engine import Engine
    from pvehelm.chart.gosyntax import expression
    from pvehelm.chart.sandbox import DEFAULT
    from pvehelm.chart.secrets import Tokens

    engine = Engine([], Tokens(), DEFAULT, lambda _: None)
    engine.scalars = False
    document = json.loads((SHARED / "helm-compat" / file).read_text(encoding="utf-8"))
    compared, different = 0, []
    for case in document["cases"]:
        source, wanted = case["template"], case.get("expected")
        data = document["shared_data"] if case["data"] == "@shared" else case["data"] or {}
        if wanted is None or case.get("numbers") == "differ" or not isinstance(data, dict) or _OTHER.search(source):
            continue
        if re.search(r"map\[|<nil>|<no value>|\[\S+ \S|\d[eE][-+]\d|\[\[", wanted) or re.search(
            r"e2[01]|tin|\bn\b", source
        ):
            continue
        words = re.sub(
            r"\{\{-?\s*(.*?)\s*-?\}\}",
            lambda found: "{{ " + re.sub(r"\bitem\.", "d.", expression(found[1])) + " }}",
            source,
        )
        engine.trouble.problems.clear()
        compared += 1
        try:
            template = engine.env.from_text(words, "case")
            context = engine._context(template, {"d": data, "root": {}, "_": data})
            found = str(engine.concat(template.root_render_func(context)))
        except Exception as error:
            found = repr(error)
        if engine.trouble.problems or found != wanted:
            different.append((source, words, wanted, found))
    assert compared > 50
    assert len(different) <= compared // 25, f"{len(different)} of {compared}: {different}"
