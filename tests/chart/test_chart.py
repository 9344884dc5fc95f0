"""Charts: from directories and archives, with every problem at once, and nothing let in that does not belong."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart import files
from pvehelm.chart.chart import load, load_archive
from pvehelm.chart.metadata import FIELDS
from pvehelm.errors import InvalidError, NotFoundError
from tests.chart.data import cases, write

CHART = "apiVersion: v2\nname: web\nversion: 1.2.3\n"


@pytest.mark.parametrize("case", cases("chart.yaml"))
def test_broken_chart(case: dict[str, Any], tmp_path: Path) -> None:
    root = write(tmp_path / "a", case["files"])
    with pytest.raises(InvalidError) as caught:
        load(root)
    problems = caught.value.problems
    assert [p.where for p in problems] == [f"{root}/{where}" for where, _, _ in case["problems"]], problems
    for problem, (_, what, hint) in zip(problems, case["problems"], strict=True):
        assert what in problem.what
        assert hint in problem.hint


def test_a_chart_of_the_time_before_helm_3(tmp_path: Path) -> None:
    chart = load(write(tmp_path / "old", {"Chart.yaml": "name: old\nversion: 1.0.0\n"}))
    assert chart.metadata.api_version == "v1"
    (warning,) = chart.warnings
    assert warning.what == "apiVersion is missing in Chart.yaml"


def test_a_chart_and_what_is_in_it(tmp_path: Path) -> None:
    root = write(
        tmp_path / "web",
        {
            "Chart.yaml": CHART + "appVersion: '1.10'\nunknwon: 1\nkeyword: x\nengine: jinja2\n"
            "description: |\n  two\n  lines\nmaintainers: [{name: A, email: a@b.c}]\n"
            "dependencies:\n- {name: db, version: ^1, alias: store, condition: store.enabled, tags: [t]}\n",
            "values.yaml": "\ufeffa:\n  b: 1\n",
            "values.schema.json": '{"type": "object"}',
            "templates/vm.yaml": "kind: VirtualMachine\n",
            "templates/_helpers.tpl": "",
            "templates/NOTES.txt": "hi",
            "templates/.hidden": "x",
            "files/motd": b"\xff\xfe",
            "README.md": "# web",
            "Chart.lock": "",
            "secret.bak": "x",
            ".helmignore": "*.bak\n.git/\n",
            ".git/config": "x",
            "charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.5.0\ntype: library\n",
            "charts/db/values.yaml": "size: 1\n",
            "charts/_not/Chart.yaml": "",
            "charts/README.md": "x",
            "charts/db-1.5.0.tgz.prov": "signature",
        },
    )
    chart = load(root)
    assert (chart.name, chart.version, chart.metadata.app_version) == ("web", "1.2.3", "1.10")
    assert chart.metadata.description == "two lines "
    assert chart.metadata.engine == "jinja2"
    assert chart.metadata.maintainers[0].email == "a@b.c"
    assert chart.metadata.dependencies[0].key == "store"
    assert chart.values == {"a": {"b": 1}}
    assert chart.values_marks[("a", "b")].line == 2
    assert chart.schema == {"type": "object"}
    assert list(chart.templates) == ["templates/NOTES.txt", "templates/_helpers.tpl", "templates/vm.yaml"]
    assert list(chart.files) == [".helmignore", "README.md", "charts/db-1.5.0.tgz.prov", "files/motd"]
    assert [sub.name for sub in chart.dependencies] == ["db"]
    assert chart.dependencies[0].is_library
    assert chart.dependencies[0].path == f"{root}/charts/db"
    assert [(p.where, p.what, p.hint) for p in chart.warnings] == [
        (f"{root}/Chart.yaml:5:1", "unknown field 'unknwon' in Chart.yaml", "it has no effect"),
        (f"{root}/Chart.yaml:6:1", "unknown field 'keyword' in Chart.yaml", "did you mean 'keywords'?"),
    ]
    assert ".git/config" not in chart.raw
    assert "secret.bak" not in chart.raw
    assert chart.digest.startswith("sha256:")


def test_what_helm_reads_too(tmp_path: Path) -> None:
    root = write(
        tmp_path / "web",
        {
            "Chart.yaml": "apiVersion: v1\nname: web\nversion: v1.2\nappVersion: 1.10\n"
            "annotations: {a: true, b: 2.0}\n",
            "requirements.yaml": "dependencies:\n- {name: db, version: ^1, condition: db.on}\n",
            "values.yaml": "a: {b: 1, c: 2}\n---\na: {c: 3}\nd: 4\n",
            "charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.5.0\n",
            "charts/db/requirements.yaml": "",
        },
    )
    chart = load(root)
    assert (chart.version, chart.metadata.app_version) == ("v1.2", "1.1")
    assert chart.metadata.annotations == {"a": "true", "b": "2"}
    assert [(need.name, need.condition) for need in chart.metadata.dependencies] == [("db", "db.on")]
    assert "requirements.yaml" in chart.files
    assert "requirements.yaml" not in chart.dependencies[0].files
    assert chart.values == {"a": {"b": 1, "c": 3}, "d": 4}
    assert chart.values_marks[("a", "b")].line == 1
    assert chart.values_marks[("a", "c")].line == 3
    assert [problem.what for problem in chart.warnings] == [
        "appVersion is read as 1.1",
        "a is read as true",
        "b is read as 2",
    ]


def test_the_digest_is_of_paths_and_contents(tmp_path: Path) -> None:
    one = load(write(tmp_path / "one", {"Chart.yaml": CHART, "a": "x", "b": "y"}))
    two = load(write(tmp_path / "two", {"Chart.yaml": CHART, "b": "y", "a": "x"}))
    three = load(write(tmp_path / "three", {"Chart.yaml": CHART, "a": "y", "b": "x"}))
    assert one.digest == two.digest != three.digest


def test_paths_that_are_no_chart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        load(tmp_path / "nothing")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InvalidError) as caught:
        load(empty)
    assert "Chart.yaml is missing" in caught.value.problems[0].what
    write(empty, {"chart.yml": CHART})
    with pytest.raises(InvalidError) as caught:
        load(empty)
    assert "rename chart.yml" in caught.value.problems[0].hint
    write(empty, {"Chart.yaml": CHART})
    with pytest.raises(InvalidError, match="not a chart") as caught:
        load(empty / "Chart.yaml")
    assert "directory" in caught.value.problems[0].what


def test_links_out_of_the_chart_and_round_in_it(tmp_path: Path) -> None:
    root = write(tmp_path / "web", {"Chart.yaml": CHART, "files/a": "x"})
    (tmp_path / "outside").mkdir()
    (root / "passwd").symlink_to("/etc/passwd")
    (root / "up").symlink_to(tmp_path / "outside")
    (root / "files" / "round").symlink_to(root)
    (root / "self").symlink_to("self")
    os.mkfifo(root / "pipe")
    with pytest.raises(InvalidError) as caught:
        load(root)
    found = {problem.where.removeprefix(f"{root}/"): problem.what for problem in caught.value.problems}
    assert "leads out of the chart" in found["passwd"]
    assert "leads out of the chart" in found["up"]
    assert "leads back" in found["files/round"]
    assert "no regular file" in found["pipe"]
    assert "self" in found


def test_links_within_the_chart_are_followed(tmp_path: Path) -> None:
    root = write(tmp_path / "web", {"Chart.yaml": CHART, "files/a": "x"})
    (root / "b").symlink_to("files/a")
    (root / "more").symlink_to("files")
    chart = load(root)
    assert chart.files["b"] == chart.files["more/a"] == b"x"


def test_bounds(tmp_path: Path) -> None:
    big = write(tmp_path / "big", {"Chart.yaml": CHART, "big.bin": b"\0" * (files.MAX_FILE + 1)})
    with pytest.raises(InvalidError) as caught:
        load(big)
    assert "a chart's may have 5" in caught.value.problems[0].what
    many = write(tmp_path / "many", {f"files/{n}": "" for n in range(30)})
    budget = files.Budget(files=10)
    assert len(files.read_directory(many, budget)) == 10
    assert ["this is one more" in problem.what for problem in budget.problems] == [True]
    wide = write(tmp_path / "wide", {"a": "x" * 40, "b": "x" * 40, "c": "x"})
    budget = files.Budget(total=60)
    assert list(files.read_directory(wide, budget)) == ["a"]
    assert ["exceeds" in problem.what for problem in budget.problems] == [True]


# -- archives ----------------------------------------------------------------------------------------------------------


def _archive(*members: tuple[str, Any], **more: Any) -> bytes:
    """A .tgz of (name, content) or (name, TarInfo fields)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", **more) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, dict):
                for key, value in content.items():
                    setattr(info, key, value)
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _without_header(data: bytes) -> bytes:
    """The archive with the header of its last file damaged, which to tar is where the archive ends."""
    plain = bytearray(gzip.decompress(data))
    plain[plain.rindex(b"web/b")] = 0x20
    return gzip.compress(bytes(plain))


GOOD = ("web/Chart.yaml", CHART.encode())

HOSTILE: dict[str, tuple[bytes, str]] = {
    "symbolic link": (_archive(GOOD, ("web/x", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})), "is a link"),
    "hard link": (_archive(GOOD, ("web/x", {"type": tarfile.LNKTYPE, "linkname": "web/Chart.yaml"})), "is a link"),
    "device": (_archive(GOOD, ("web/x", {"type": tarfile.CHRTYPE})), "no regular file"),
    "fifo": (_archive(GOOD, ("web/x", {"type": tarfile.FIFOTYPE})), "no regular file"),
    "absolute": (_archive(GOOD, ("/etc/x", b"x")), "absolute path"),
    "parent": (_archive(GOOD, ("web/../../x", b"x")), "leads out"),
    "drive": (_archive(GOOD, ("web/c:/x", b"x")), "name that a chart's files"),
    "stream": (_archive(GOOD, ("web/values.yaml:x", b"x")), "name that a chart's files"),
    "last dot": (_archive(GOOD, ("web/values.yaml.", b"x")), "name that a chart's files"),
    "last blank": (_archive(GOOD, ("web/a /b", b"x")), "name that a chart's files"),
    "device's name": (_archive(GOOD, ("web/templates/Con.yaml", b"x")), "name that a chart's files"),
    "sparse": (
        _archive(GOOD, ("web/x", {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}})),
        "damaged",
    ),
    "backslash": (_archive(GOOD, ("web/..\\x", b"x")), "holds characters that"),
    "newline": (_archive(GOOD, ("web/a\nb", b"x")), "holds characters that"),
    "no text": (_archive(GOOD, ("web/\udcff", b"x"), errors="surrogateescape"), "holds characters that"),
    "outside": (_archive(GOOD, ("README.md", b"x")), "outside the chart's folder"),
    "twice": (_archive(GOOD, ("web/./a", b"x"), ("web/a", b"y")), "is in the archive twice"),
    "large file": (_archive(GOOD, ("web/a", os.urandom(files.MAX_FILE + 1))), "a chart's may have 5"),
    "bomb": (gzip.compress(bytes(60 << 20)), "decompression bomb"),
    "cut off": (_archive(GOOD)[:-20], "cut off"),
    "a byte is missing within": (_without_header(_archive(GOOD, ("web/a", b"x"), ("web/b", b"y"))), "it is damaged"),
    "two charts": (_archive(GOOD, ("other/values.yaml", b"a: 1")), "outside the chart's folder"),
    "accents": (_archive(GOOD, ("web/\u00e9", b""), ("web/e\u0301", b"")), "same file as"),
    "a file that is a folder": (_archive(GOOD, ("web/a", b""), ("web/a/b", b"")), "is a file and a folder"),
    "a command to the terminal": (_archive(GOOD, ("web/\x1b[31mx", b"")), "holds characters that"),
    "letters from right to left": (_archive(GOOD, ("web/\u202elmay.x", b"")), "holds characters that"),
    "letters that cannot be seen": (_archive(GOOD, ("web/values\u200b.yaml", b"")), "holds characters that"),
    "a long name": (_archive(GOOD, ("web/" + "a" * 300, b"")), "the name is too long"),
    "deep folders": (_archive(GOOD, ("web/" + "a/" * 600 + "b", b"")), "the name is too long"),
    "charts within charts": (
        _archive(*(("web/" + "charts/s/" * n + "Chart.yaml", CHART.encode()) for n in range(200))),
        "the name is too long",
    ),
    "a name in an extended header": (_archive(GOOD, ("web/x", {"pax_headers": {"path": "../../x"}})), "leads out"),
    "a size in an extended header": (
        _archive(GOOD, ("web/x", {"pax_headers": {"size": "99999999999"}})),
        "a chart's may have 5",
    ),
    "many extended headers": (
        _archive(GOOD, ("web/x", {"pax_headers": {f"k{n}": os.urandom(9).hex() for n in range(5_000)}})),
        "an extended header has",
    ),
    "a long name of GNU's": (
        _archive(GOOD, ("web/" + "n" * 70_000, b""), format=tarfile.GNU_FORMAT),
        "extended header",
    ),
    "a sparse file": (
        _archive(
            GOOD, ("web/x", {"pax_headers": {"GNU.sparse.map": "0,5,99999999,5", "GNU.sparse.size": "100000004"}})
        ),
        "no regular file",
    ),
    "hundreds of thousands of pieces": (gzip.compress(b"") * 200_000 + _archive(GOOD), "more than 1,000 pieces"),
    "no gzip": (b"PK\x03\x04", "not compressed with gzip"),
    "no tar": (gzip.compress(b"hello" * 500), "not a chart archive"),
    "nothing": (_archive(), "holds no files"),
    "no Chart.yaml": (_archive(("web/README.md", b"x")), "Chart.yaml is missing"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive(name: str) -> None:
    data, what = HOSTILE[name]
    with pytest.raises(InvalidError) as caught:
        load_archive(data, name="x.tgz")
    assert any(what in problem.what for problem in caught.value.problems), caught.value.problems
    assert all(
        problem.where.startswith("x.tgz") and str(problem.where).isprintable() for problem in caught.value.problems
    )


def test_names_that_differ_in_case_only_are_two_files(tmp_path: Path) -> None:
    data = _archive(GOOD, ("web/templates/a.yaml", b"a"), ("web/templates/A.yaml", b"b"))
    chart = load_archive(data, name="x.tgz")
    assert chart.templates == {"templates/A.yaml": "b", "templates/a.yaml": "a"}
    [warning] = chart.warnings
    assert str(warning).startswith("x.tgz/templates/a.yaml: some systems take it for the same file as templates/A.yaml")
    folder = write(tmp_path / "web", chart.raw)
    if len(list((folder / "templates").iterdir())) == 2:
        assert load(folder).digest == chart.digest


def test_pieces_of_gzip_are_one_archive() -> None:
    plain = gzip.decompress(_archive(GOOD, ("web/values.yaml", b"a: 1\n")))
    pieces = b"".join(gzip.compress(plain[at : at + 700]) for at in range(0, len(plain), 700))
    assert load_archive(pieces + b"\0" * 100, name="x.tgz").values == {"a": 1}


def test_archives_within_archives_without_end() -> None:
    data = _archive(GOOD)
    for _ in range(files.MAX_NESTED + 2):
        data = _archive(GOOD, ("web/charts/web.tgz", data))
    with pytest.raises(InvalidError) as caught:
        load_archive(data, name="x.tgz")
    assert any("archives within archives" in problem.what for problem in caught.value.problems)


def test_a_packed_subchart(tmp_path: Path) -> None:
    sub = _archive(("db/Chart.yaml", CHART.replace("web", "db").encode()), ("db/values.yaml", b"a: 1\n"))
    chart = load(write(tmp_path / "web", {"Chart.yaml": CHART, "charts/db-1.2.3.tgz": sub}))
    assert chart.dependencies[0].values == {"a": 1}
    assert chart.dependencies[0].path.endswith("charts/db-1.2.3.tgz")


def test_other_tools_archives_load(tmp_path: Path) -> None:
    """Folders, a leading ./ and any top folder are what tar and other packers write."""
    data = _archive(
        ("./web", {"type": tarfile.DIRTYPE}), ("./web/Chart.yaml", CHART.encode()), format=tarfile.GNU_FORMAT
    )
    assert load_archive(data, name="x").name == "web"
    place = tmp_path / "web.tgz"
    place.write_bytes(data)
    assert load(place).digest == load_archive(data, name="y").digest


_PLAIN = gzip.decompress(_archive(GOOD, ("web/values.yaml", b"a: 1\n"), ("web/templates/x.yaml", b"kind: X\n")))


@given(st.lists(st.tuples(st.integers(0, 2200), st.integers(0, 255)), min_size=1, max_size=6), st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_archives_load_or_are_refused(damage: list[tuple[int, int]], packed: bool) -> None:
    data = bytearray(gzip.compress(_PLAIN, mtime=0) if packed else _PLAIN)
    for place, value in damage:
        data[place % len(data)] = value
    with contextlib.suppress(InvalidError):
        load_archive(bytes(data) if packed else gzip.compress(bytes(data)), name="x.tgz")


@given(st.text(max_size=60), st.sampled_from(["Chart.yaml", "values.yaml", "values.schema.json", ".helmignore"]))
@settings(max_examples=150, deadline=None)
def test_any_text_in_a_charts_files_loads_or_is_refused(text: str, name: str) -> None:
    files: dict[str, str] = {"Chart.yaml": CHART, name: text}
    with contextlib.suppress(InvalidError):
        load_archive(_archive(*((f"web/{path}", content.encode()) for path, content in files.items())), name="x.tgz")


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "version", "alias", "import-values", "child"]), below, max_size=3)
    ),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*FIELDS, "other"]), _ANY))
@settings(max_examples=200, deadline=None)
def test_any_metadata_loads_or_is_refused(data: dict[str, Any]) -> None:
    text = json.dumps({"apiVersion": "v2", "name": "web", "version": "1.0.0", **data})
    with contextlib.suppress(InvalidError):
        load_archive(_archive(("web/Chart.yaml", text.encode())), name="x.tgz")
