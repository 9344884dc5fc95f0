"""The cache of compiled templates: used when it fits, ignored when it does not, never in the way."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pvehelm.chart import cache, sandbox
from pvehelm.chart.chart import Chart
from pvehelm.chart.render import Rendered, _apart
from pvehelm.chart.rendering import _together
from pvehelm.chart.sandbox import dismiss
from pvehelm.errors import InvalidError
from tests.chart.test_render import VM, chart_of, rendered

CASE = {
    "values": {"a": 1},
    "files": {"vm.yaml": VM % ("x", "{{ Values.a }}"), "_h.tpl": "{% define 'd' %}{% enddefine %}"},
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    place = cache.directory()
    assert place is not None
    dismiss()  # of other tests
    return Path(place)


def both(chart: Chart) -> tuple[Rendered, Rendered]:
    first = rendered(chart, CASE)
    dismiss()
    return first, rendered(chart, CASE)


def test_the_second_rendering_is_the_same(home: Path, tmp_path: Path) -> None:
    one, other = both(chart_of(tmp_path, CASE))
    assert one == other
    (entry,) = home.iterdir()
    assert entry.stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0


def test_spoilt_entries_are_ignored_and_replaced(home: Path, tmp_path: Path) -> None:
    chart = chart_of(tmp_path, CASE)
    good = rendered(chart, CASE)
    dismiss()
    (entry,) = home.iterdir()
    whole = entry.read_bytes()
    for spoilt in (b"", whole[:100], whole[:-1] + b"\0", b"\0" * 64):
        entry.write_bytes(spoilt)
        assert rendered(chart, CASE) == good
        dismiss()
        assert entry.read_bytes() == whole


def test_what_loads_but_is_no_code_is_ignored(home: Path, tmp_path: Path) -> None:
    chart = chart_of(tmp_path, CASE)
    good = rendered(chart, CASE)
    dismiss()
    (entry,) = home.iterdir()
    for body in (b"N", b"not marshal", b"i\x01\x00\x00\x00"):
        cache.save(str(home), entry.stem, body)
        assert rendered(chart, CASE) == good
        dismiss()


def test_it_is_kept_while_another_chart_is_rendered(home: Path, tmp_path: Path) -> None:
    one = chart_of(tmp_path, CASE)
    other = chart_of(tmp_path, {**CASE, "files": {"vm.yaml": VM % ("y", "2")}})
    rendered(one, CASE)
    (child,) = sandbox._resting
    while child[3].silent():
        time.sleep(0.001)
    rendered(other, CASE)
    assert len(list(home.iterdir())) == 1
    dismiss()
    assert len(list(home.iterdir())) == 2


@pytest.mark.parametrize("later", [b"", b"\n", b"[]\n", b'{"jinja2": -1}\n', b'{"jinja2": "x"}\n', b"{}", b"\xff"])
def test_what_a_child_says_in_the_end_is_taken_for_nothing_else(later: bytes) -> None:
    assert _apart(later) == {}
    assert _apart(_together({"jinja2": b"a\n", "gotpl": b"bc"})) == {"jinja2": b"a\n", "gotpl": b"bc"}


def test_errors_keep_their_places(home: Path, tmp_path: Path) -> None:
    case = {"files": {"vm.yaml": "a: 1\nb: {{ Values.nope }}\n"}}
    chart = chart_of(tmp_path, case)
    told = []
    for _ in range(2):
        with pytest.raises(InvalidError) as caught:
            rendered(chart, case)
        told.append(caught.value.problems)
        dismiss()
    assert told[0] == told[1]
    assert told[0][0].where == "web/templates/vm.yaml:2:14"


def test_each_text_has_its_own_entry() -> None:
    keys = {cache.key(sources) for sources in ({}, {"a": "b"}, {"ab": ""}, {"a": "", "b": ""}, {"a": "c"})}
    assert len(keys) == 5


def test_a_directory_open_to_others_is_not_used(home: Path, tmp_path: Path) -> None:
    home.chmod(0o777)
    assert cache.directory() is None
    assert rendered(chart_of(tmp_path, CASE), CASE).resources
    assert not list(home.iterdir())


def test_an_entry_that_others_could_have_written_is_none(home: Path) -> None:
    cache.save(str(home), "one", b"x")
    (home / "one.bin").chmod(0o620)
    assert cache.load(str(home), "one") == b""
    (home / "one.bin").chmod(0o604)
    assert cache.load(str(home), "one") == b"x"


def test_old_entries_go(home: Path) -> None:
    for number in range(210):
        path = home / f"{number}.bin"
        path.write_bytes(b"")
        os.utime(path, (number, number))
    cache.save(str(home), "new", b"x")
    assert len(list(home.iterdir())) == 200
    assert cache.load(str(home), "new") == b"x"
    assert not (home / "0.bin").exists()


def test_nothing_that_its_user_alone_knows_is_kept(home: Path, tmp_path: Path) -> None:
    """Texts given to tpl are compiled, too: those of the chart's own values are kept."""
    text = "kind: Pool\nmetadata: { name: p }\nspec: { comment: {{ tpl .Values.text . | quote }} }\n"
    case = {"chart": {"engine": "gotpl"}, "values": {"text": "made by {{ .Release.Name }}"}, "files": {"vm.yaml": text}}
    chart = chart_of(tmp_path, case)
    for said in ("made by {{ .Release.Name }}", "hunter2 of {{ .Release.Name }}"):
        rendered(chart, {**case, "user": {"text": said}})
    dismiss()
    [entry] = home.iterdir()
    assert b"made by" in entry.read_bytes()
    assert b"hunter2" not in entry.read_bytes()
