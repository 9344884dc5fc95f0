"""chart test: what authors see, and that a life on a simulator finds what is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import git
import pytest

from tests.helpers import ROOT
from tests.release.lab import Lab

POOL = """\
apiVersion: proxmox.io/v1
kind: Pool
metadata: { name: {{ Release.Name }} }
spec: { comment: "{{ Values.text }}" }
"""


def chart(lab: Lab, suite: str, template: str = POOL, values: str = "text: a\n", name: str = "app") -> Path:
    folder = Path(lab.chart(template, values=values, name=name))
    (folder / "tests").mkdir(exist_ok=True)
    (folder / "tests/app_test.yaml").write_text(suite)
    return folder


def test_reports(lab: Lab) -> None:
    place = chart(
        lab,
        """
        suite: pool
        tests:
          - { it: holds, asserts: [{ equal: { path: spec.comment, value: a } }] }
          - { it: fails, set: { text: b }, asserts: [{ equal: { path: spec.comment, value: "<c>" } }] }
          - { it: waits, skip: later, asserts: [{ isKind: { of: Pool } }] }
        """,
    )
    told = lab.run("chart", "test", str(place), code=1).out
    assert "pass  pool: holds" in told
    assert f'{place}/tests/app_test.yaml:5: equal: templates/all.yaml: Pool/release-name: spec.comment is "b"' in told
    assert "skip  pool: waits: later" in told
    assert told.endswith("1 passed, 1 failed, 1 skipped\n")
    rows = lab.run("chart", "test", str(place), "-o", "json", code=1).json
    assert [row["phase"] for row in rows] == ["Succeeded", "Failed", "Skipped"]
    root = ElementTree.fromstring(lab.run("chart", "test", str(place), "-o", "junit", code=1).out)
    assert [len(case) for case in root.iter("testcase")] == [0, 1, 1]
    assert "<c>" in str(next(root.iter("failure")).get("message"))
    assert lab.run("chart", "test", str(place), "--filter", "HOLDS").out.endswith("1 passed, 0 failed\n")
    assert "no test is meant by --suite x" in lab.run("chart", "test", str(place), "--suite", "x", code=1).err


def test_files_of_a_test_alone(lab: Lab) -> None:
    """A named template, of a library as well, is tried by a template that the chart does not have."""
    place = chart(
        lab,
        """
        files: { text.txt: from a file }
        tests:
          - it: is tried
            files:
              templates/probe.yaml: |
                kind: Pool
                metadata: { name: probe }
                spec: { comment: {{ Files.Get("text.txt") }} }
            document: Pool/probe
            asserts: [{ equal: { path: spec.comment, value: from a file } }]
          - { it: is not there elsewhere, asserts: [{ hasDocuments: { count: 1 } }] }
        """,
    )
    assert lab.run("chart", "test", str(place)).out.endswith("2 passed, 0 failed\n")
    (place / "Chart.yaml").write_text((place / "Chart.yaml").read_text() + "type: library\n")
    assert "pass  app_test.yaml: is tried" in lab.run("chart", "test", str(place), code=1).out


def test_show_values_picks(lab: Lab) -> None:
    place = lab.chart(POOL, values="text: a\nlist: [{ n: 1 }, { n: 2 }]\n", name="app")
    assert lab.run("show", "values", place, "--jsonpath", "{.list[*].n}").out == "1 2\n"
    assert "is not closed" in lab.run("show", "values", place, "--jsonpath", "{.", code=64).err


def test_snapshots(lab: Lab) -> None:
    place = chart(lab, "suite: s\ntests: [{ it: looks, asserts: [{ matchSnapshot: { path: spec } }] }]\n")
    assert "--update makes it" in lab.run("chart", "test", str(place), code=1).out
    assert "wrote tests/__snapshot__/app_test.yaml.snap" in lab.run("chart", "test", str(place), "--update").out
    lab.run("chart", "test", str(place))
    (place / "values.yaml").write_text("text: b\n")
    told = lab.run("chart", "test", str(place), code=1).out
    assert "-comment: a\n        +comment: b" in told
    (place / "tests/app_test.yaml").write_text("tests: [{ it: looks, asserts: [{ isKind: { of: Pool } }] }]\n")
    lab.run("chart", "test", str(place), "-u")
    assert not (place / "tests/__snapshot__/app_test.yaml.snap").exists()


def test_broken_suites_and_charts(lab: Lab) -> None:
    place = chart(lab, "tests: [{ it: a, assert: [] }]\n")
    result = lab.run("chart", "test", str(place), code=1)
    assert f"{place}/tests/app_test.yaml:1: unknown key 'assert' in a test" in result.err
    assert "did you mean 'asserts'?" in result.err
    place = chart(lab, "tests: [{ it: a, asserts: [{ isKind: { of: Pool } }] }]\n", "{{ Values.nothing }}")
    assert "Values.nothing is not defined" in lab.run("chart", "test", str(place), code=1).out
    place = chart(lab, "tests: [{ it: a, asserts: [{ isKind: { of: Pool } }] }]\n", POOL.replace("comment", "coment"))
    assert "coment" in lab.run("chart", "test", str(place), code=1).out
    assert lab.run("chart", "test", str(place), "-o", "toml", code=64)
    assert lab.run("chart", "test", str(place), "--only", "both", code=64)


def test_a_template_that_fails_beside_the_one_that_is_tested(lab: Lab) -> None:
    place = chart(lab, "tests: [{ it: a, template: all.yaml, asserts: [{ hasDocuments: { count: 1 } }] }]\n")
    (place / "templates/other.yaml").write_text('{{ fail("not today") }}')
    lab.run("chart", "test", str(place))


def test_helm_syntax_and_its_lookup(lab: Lab) -> None:
    template = POOL.replace("Release.Name", ".Release.Name").replace(
        "Values.text", '.Values.text }}{{ (lookup "proxmox.io/v1" "Pool" "" "x").comment'
    )
    place = chart(
        lab,
        """
        release: { name: web, upgrade: true }
        objects: [{ kind: Pool, metadata: { name: x }, spec: { comment: there } }]
        tests:
          - it: sees it
            asserts: [{ equal: { path: spec.comment, value: athere } }, { equal: { path: metadata.name, value: web } }]
        """,
        template,
    )
    lab.run("chart", "test", str(place), "--engine", "gotpl")


LIFE = "install: { upgrades: [{ set: { text: b }, asserts: [{ equal: { path: spec.comment, value: b } }] }] }\n"


def test_a_life(lab: Lab) -> None:
    place = chart(lab, LIFE)
    lab.run("chart", "test", str(place))
    assert lab.run("list", "-o", "json").json == []
    assert lab.run("chart", "test", str(place), "--only", "render").out.endswith("0 passed, 0 failed\n")
    wrong = LIFE.replace("value: b", "value: c")
    assert 'upgrade 1: equal: Pool/release-name: spec.comment is "b"' in (
        lab.run("chart", "test", str(chart(lab, wrong)), code=1).out
    )


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("kind: Storage\nmetadata: { name: store }\nspec: { type: dir, path: /srv/{{ Values.text }} }\n", "privileged"),
        (POOL + "\nmoment: {{ now() }}", "unknown key 'moment'"),
        (POOL.replace("Values.text", "Release.Revision"), "the same upgrade again writes a revision"),
    ],
)
def test_what_a_life_finds(lab: Lab, template: str, told: str) -> None:
    assert told in lab.run("chart", "test", str(chart(lab, "install: true", template)), code=1).out


def test_what_a_life_is_allowed(lab: Lab) -> None:
    template = "kind: Storage\nmetadata: { name: store }\nspec: { type: dir, path: /srv/{{ Values.text }} }\n"
    suite = "install: { allowPrivileged: [Storage], before: [{ kind: Pool, metadata: { name: p } }] }"
    lab.run("chart", "test", str(chart(lab, suite, template)))


def test_changed_charts_and_older_ones(lab: Lab) -> None:
    suite = "suite: s\ntests: [{ it: lives, install: { from: 'git:HEAD' } }]\n"
    places = [chart(lab, suite, name=name) for name in ("one", "two")]
    repo = git.Repo.init(lab.folder / "charts", initial_branch="main")
    with repo.config_writer() as config:
        config.set_value("user", "name", "a").set_value("user", "email", "a@example.org")
    repo.git.add("--all")
    repo.git.commit("--quiet", "--message", "first")
    both = [str(place) for place in places]
    result = lab.run("chart", "test", *both, "--changed-since", "main")
    assert "0 passed" in result.out
    assert result.err.count("unchanged since main") == 2
    (places[1] / "values.yaml").write_text("text: b\n")
    result = lab.run("chart", "test", *both, "--changed-since", "main")
    assert "pass  s: lives" in result.out
    assert str(places[0]) not in result.out
    assert "there is no 'nowhere'" in lab.run("chart", "test", *both, "--changed-since", "nowhere", code=1).err
    assert "pass  upgrade: upgrades from git:main" in lab.run("chart", "test", *both, "--upgrade-from", "git:main").out
    new = chart(lab, suite, name="three")
    assert "skip  s: lives: there is no three at git:HEAD" in lab.run("chart", "test", str(new)).out
    repo.close()


def test_an_older_version_of_a_repository(lab: Lab) -> None:
    old = chart(lab, "", name="app")
    lab.run("package", str(old), "-d", str(lab.folder / "repo"))
    lab.run("repo", "index", str(lab.folder / "repo"))
    lab.run("repo", "add", "here", f"file://{lab.folder}/repo")
    (old / "Chart.yaml").write_text("apiVersion: v2\nname: app\nversion: 0.2.0\n")
    (old / "values.yaml").write_text("text: new\n")
    for origin in ("previous", "0.1.0", str(next((lab.folder / "repo").glob("*.tgz")))):
        told = lab.run("chart", "test", str(old), "--upgrade-from", origin).out
        assert f"pass  upgrade: upgrades from {origin}" in told
    assert "skip" in lab.run("chart", "test", str(old), "--upgrade-from", "0.0.7").out


def test_a_package(lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "single-container"
    shutil.copytree(ROOT / "charts/single-container", place)
    lab.run("package", str(place), "-d", str(tmp_path))
    (package,) = tmp_path.glob("*.tgz")
    assert "0 failed" in lab.run("chart", "test", str(package), "--only", "render").out
    assert os.listdir(tmp_path)


def test_docs(lab: Lab) -> None:
    place = chart(lab, "", values="# A text.\ntext: a\n")
    told = lab.run("chart", "docs", str(place), "--check", code=1)
    assert "+| `text` | string | `a` | A text. |" in told.out
    assert not (place / "README.md").exists()
    assert lab.run("chart", "docs", str(place)).out == f"wrote {place}/README.md\n"
    lab.run("chart", "docs", str(place), "--check")
    assert lab.run("chart", "docs", str(place)).out == ""


def test_a_chart_that_begins_as_another(lab: Lab) -> None:
    lab.run("create", "model")
    chart, notes = Path("model/Chart.yaml"), Path("model/templates/NOTES.txt")
    chart.write_text(chart.read_text().replace("name: model", "name: <CHARTNAME>"))
    notes.write_text("<CHARTNAME> is here\n")
    lab.run("create", "shop", "--starter", "model")
    assert "name: shop\n" in Path("shop/Chart.yaml").read_text()
    assert Path("shop/templates/NOTES.txt").read_text() == "shop is here\n"
    lab.run("lint", "shop")
    Path("none").mkdir()
    assert "no Chart.yaml" in lab.run("create", "shop2", "--starter", "none", code=1).err
    assert "no chart name" in lab.run("create", "a b", "-p", "model", code=64).err


@pytest.mark.parametrize("engine", ["jinja2", "gotpl"])
def test_what_create_makes_passes_everything(lab: Lab, engine: str) -> None:
    lab.run("create", "shop", "--engine", engine)
    lab.run("lint", "shop", "--strict")
    lab.run("lint", "shop", "--strict", "-f", "shop/ci/full-values.yaml", "--unused")
    assert lab.run("chart", "test", "shop").out.endswith("6 passed, 0 failed\n")
    lab.run("chart", "docs", "shop", "--check")
    lab.run("schema", "values", "shop", "--check")
    lab.run("install", "web", "shop")
    assert "Succeeded" in lab.run("test", "web").out
    assert lab.run("diff", "web", "--detailed-exitcode").code == 0


def test_lint_of_subcharts_by_themselves(lab: Lab, tmp_path: Path) -> None:
    from tests.chart.data import write
    from tests.chart.servers import packed

    base = "apiVersion: v2\nversion: 1.0.0\ntype: library\n"
    deep: dict[str, str | bytes] = {"Chart.yaml": base + "name: deep\n", "charts/z.tgz": packed("z")}
    files: dict[str, str | bytes] = {f"charts/deep/{path}": text for path, text in deep.items()}
    write(tmp_path / "top", {"Chart.yaml": base + "name: top\n", **files})
    told = lab.run("lint", "top", "--with-subcharts").out
    assert [line.split()[-1] for line in told.splitlines() if line.startswith("==>")] == [
        "top",
        "top/charts/deep",
        "top/charts/deep/charts/z.tgz",
    ]
    assert "3 chart(s) linted" in told
    assert "1 chart(s) linted" in lab.run("lint", "top").out
