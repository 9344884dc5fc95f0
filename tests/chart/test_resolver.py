"""Dependencies: chosen together, locked with what was fetched, and fetched again only as locked."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from pvehelm.actions import repos as actions
from pvehelm.chart import git, lock, publishing, repositories
from pvehelm.chart.archives import opened
from pvehelm.chart.chart import Chart, load
from pvehelm.chart.sources import fetch
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, RefusedError, UsageError
from tests.chart.data import write
from tests.chart.servers import Hub, Web, packed

pytestmark = pytest.mark.usefixtures("home")

needs_git = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def _needs(*needs: str) -> str:
    return "dependencies:\n" + "".join(f"- {need}\n" for need in needs)


def _need(name: str, version: str, repository: str, more: str = "") -> str:
    return f'{{name: {name}, version: "{version}", repository: "{repository}"{more}}}'


def _chart(folder: Path, name: str, *needs: str, version: str = "1.0.0") -> Path:
    text = f"apiVersion: v2\nname: {name}\nversion: {version}\n" + (_needs(*needs) if needs else "")
    return write(folder, {"Chart.yaml": text})


def _update(folder: Path, build: bool = False) -> actions.Vendored:
    act = actions.dependency_build if build else actions.dependency_update
    made = act(load(folder), folder)
    for path, data in made.files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(data)
    for path in made.remove:
        (folder / path).unlink()
    return made


def _status(folder: Path) -> dict[str, str]:
    return {row["name"]: row["status"] for row in actions.dependency_list(load(folder))}


def _inside(chart: Chart) -> dict[str, object]:
    return {f"{sub.metadata.name} {sub.version}": _inside(sub) for sub in chart.dependencies}


def test_one_version_for_all(web: Web, tmp_path: Path) -> None:
    lib = [packed("lib", version) for version in ("1.0.0", "1.1.0", "1.2.0", "2.0.0")]
    a = packed("a", extra=_needs(_need("lib", ">=1.1", web.url)))
    b = packed("b", extra=_needs(_need("lib", "<1.2", web.url)))
    web.put(*lib, a, b)
    root = _chart(tmp_path / "root", "root", _need("a", "^1", web.url), _need("b", "^1", web.url))
    assert _status(root) == {"a": "missing", "b": "missing"}
    made = _update(root)
    assert _inside(load(root)) == {"a 1.0.0": {"lib 1.1.0": {}}, "b 1.0.0": {"lib 1.1.0": {}}}
    assert _status(root) == {"a": "ok", "b": "ok"}
    first = made.chosen[0]
    assert (first.url, first.sha256) == (f"{web.url}/a-1.0.0.tgz", hashlib.sha256(a).hexdigest())
    assert first.dependencies[0].sha256 == hashlib.sha256(lib[1]).hexdigest()
    before = (root / "Chart.lock").read_text()
    _update(root)
    assert (root / "Chart.lock").read_text() == before
    web.put(*lib, packed("lib", "1.1.5"), a, b)
    shutil.rmtree(root / "charts")
    _update(root, build=True)
    assert _inside(load(root))["a 1.0.0"] == {"lib 1.1.0": {}}
    _update(root)
    assert _inside(load(root))["a 1.0.0"] == {"lib 1.1.5": {}}


def test_backtracking(web: Web, tmp_path: Path) -> None:
    web.put(
        packed("lib", "1.0.0"),
        packed("lib", "2.0.0"),
        packed("a", "1.0.0", extra=_needs(_need("lib", "^1", web.url))),
        packed("a", "1.1.0", extra=_needs(_need("lib", "^2", web.url))),
        packed("b", "1.0.0", extra=_needs(_need("lib", "^1", web.url))),
    )
    root = _chart(tmp_path / "root", "root", _need("a", "*", web.url), _need("b", "*", web.url))
    assert [f"{one.name} {one.version}" for one in _update(root).chosen] == ["a 1.0.0", "b 1.0.0"]


def test_conflicts_name_everyone(web: Web, tmp_path: Path) -> None:
    web.put(
        packed("lib", "1.0.0"),
        packed("lib", "2.0.0"),
        packed("a", extra=_needs(_need("lib", "^1", web.url))),
        packed("b", extra=_needs(_need("lib", "^2", web.url))),
    )
    needs = (_need("a", "*", web.url), _need("b", "*", web.url))
    with pytest.raises(InvalidError) as caught:
        _update(_chart(tmp_path / "root", "root", *needs))
    assert sorted(problem.where for problem in caught.value.problems) == ["a 1.0.0", "b 1.0.0"]
    assert "alias" in caught.value.hint
    web.put(
        packed("lib", "1.0.0"),
        packed("lib", "2.0.0"),
        packed("a", extra=_needs(_need("lib", "^1", web.url))),
        packed("b", extra=_needs(_need("lib", "^2", web.url, ", alias: own"))),
    )
    root = _chart(tmp_path / "root", "root", *needs)
    _update(root)
    assert _inside(load(root)) == {"a 1.0.0": {"lib 1.0.0": {}}, "b 1.0.0": {"lib 2.0.0": {}}}
    with pytest.raises(InvalidError) as caught:
        _update(_chart(tmp_path / "none", "root", _need("lib", "^9", web.url)))
    assert "there is 2.0.0, 1.0.0" in caught.value.problems[0].what


def test_what_a_package_contains_is_its_makers_choice(web: Web, tmp_path: Path) -> None:
    inner = packed("lib", "1.0.0")
    whole = packed("a", files={"charts/lib-1.0.0.tgz": inner}, extra=_needs(_need("lib", "^1", "https://gone.invalid")))
    web.put(whole)
    root = _chart(tmp_path / "root", "root", _need("a", "^1", web.url))
    _update(root)
    assert (root / "charts/a-1.0.0.tgz").read_bytes() == whole


def test_what_was_locked_and_has_changed_is_refused(web: Web, tmp_path: Path) -> None:
    web.put(packed("lib"))
    root = _chart(tmp_path / "root", "root", _need("lib", "^1", web.url))
    _update(root)
    (root / "charts/lib-1.0.0.tgz").write_bytes(packed("lib", files={"README.md": b"x"}))
    assert _status(root) == {"lib": "not as locked"}
    _update(root, build=True)
    assert _status(root) == {"lib": "ok"}
    shutil.rmtree(tmp_path / "cache")
    web.put(packed("lib", files={"README.md": b"x"}))
    with pytest.raises(InvalidError, match="not what was locked"):
        _update(root, build=True)
    web.put(packed("lib", "1.0.1"))
    with pytest.raises(NotFoundError, match="no longer in"):
        _update(root, build=True)
    assert [one.version for one in _update(root).chosen] == ["1.0.1"]
    assert [place.name for place in (root / "charts").iterdir()] == ["lib-1.0.1.tgz"]
    _chart(root, "root", _need("lib", "^2", web.url))
    assert _status(root) == {"lib": "wrong version"}
    with pytest.raises(InvalidError, match="for other dependencies"):
        _update(root, build=True)


def test_folders_and_charts_that_lie_inside(tmp_path: Path) -> None:
    _chart(tmp_path / "lib", "lib", version="1.5.0")
    _chart(tmp_path / "mid", "mid", _need("lib", "^1", "file://../lib"))
    root = _chart(tmp_path / "root", "root", _need("mid", "*", "file://../mid"), "{name: own, version: 1.x}")
    with pytest.raises(InvalidError, match="has no repository"):
        _update(root)
    _chart(root / "charts" / "own", "own")
    _update(root)
    assert _inside(load(root)) == {"mid 1.0.0": {"lib 1.5.0": {}}, "own 1.0.0": {}}
    assert _status(root) == {"mid": "ok", "own": "unpacked"}
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    _update(root, build=True)
    _chart(tmp_path / "lib", "lib", version="1.5.0")
    (tmp_path / "lib" / "values.yaml").write_text("a: 1\n")
    with pytest.raises(InvalidError, match="not what was locked"):
        _update(root, build=True)
    _chart(root / "charts" / "mid", "mid")
    with pytest.raises(InvalidError, match="there twice"):
        _update(root)


def test_circles(tmp_path: Path) -> None:
    _chart(tmp_path / "a", "a", _need("b", "*", "file://../b"))
    _chart(tmp_path / "b", "b", _need("a", "*", "file://../a"))
    with pytest.raises(InvalidError, match="go round in a circle"):
        _update(tmp_path / "a")


def test_strangers_name_no_place_of_this_machine(web: Web, tmp_path: Path) -> None:
    _chart(tmp_path / "secret", "secret")
    for place in (f"file://{tmp_path}/secret", f"git+file://{tmp_path}/secret"):
        web.put(packed("a", extra=_needs(_need("secret", "*", place))))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        with pytest.raises(RefusedError, match="place of this machine"):
            _update(_chart(tmp_path / "root", "root", _need("a", "*", web.url)))


def test_names_of_repositories_and_registries(web: Web, hub: Hub, tmp_path: Path) -> None:
    web.put(packed("lib"))
    repositories.add(repositories.load(), repositories.Repository("lab", web.url))
    publishing.to_registry(repositories.load(), opened(packed("db", "2.1.0"), url="x"), f"oci://{hub.host}/charts")
    needs = (_need("lib", "*", "@lab"), _need("lib", "*", "alias:lab", ", alias: two"))
    root = _chart(tmp_path / "root", "root", *needs, _need("db", "^2", f"oci://{hub.host}/charts"))
    made = _update(root)
    assert [one.url.partition("@")[0] for one in made.chosen] == [
        f"{web.url}/lib-1.0.0.tgz",
        f"{web.url}/lib-1.0.0.tgz",
        f"oci://{hub.host}/charts/db",
    ]
    shutil.rmtree(tmp_path / "cache")
    _update(root, build=True)
    with pytest.raises(NotFoundError, match="no repository 'nix'"):
        _update(_chart(tmp_path / "other", "other", _need("lib", "*", "@nix")))


# -- the lock ----------------------------------------------------------------------------------------------------------


def test_the_digest_is_helms(tmp_path: Path) -> None:
    root = _chart(tmp_path, "root", '{name: lib, version: ">=1 <2", repository: "https://x.example", tags: [a]}')
    text = (
        '[[{"name":"lib","version":"\\u003e=1 \\u003c2","repository":"https://x.example","tags":["a"]}],'
        '[{"name":"lib","version":"1.0.0","repository":"https://x.example"}]]'
    )
    chosen = [lock.Locked("lib", "1.0.0", "https://x.example", "https://x.example/lib.tgz", "0" * 64)]
    assert lock.digest_of(load(root), chosen) == "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def test_locks_of_helm_are_built(web: Web, tmp_path: Path) -> None:
    web.put(packed("lib"), packed("lib", "1.1.0"))
    root = _chart(tmp_path / "root", "root", _need("lib", "^1", web.url))
    chosen = [lock.Locked("lib", "1.0.0", web.url)]
    text = lock.Lock(tuple(chosen), lock.digest_of(load(root), chosen), "2026-01-01T00:00:00Z").to_text()
    assert "sha256:" in text
    assert "url:" not in text
    (root / "Chart.lock").write_text(text)
    _update(root, build=True)
    assert _inside(load(root)) == {"lib 1.0.0": {}}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "dependencies: 1",
        "dependencies: [1]",
        "dependencies: [{name: ../x, version: 1.0.0}]",
        "dependencies: [{name: x, version: ../../1.0.0}]",
        "dependencies: [{name: x, version: 1.0.0, sha256: ../x}]",
        "dependencies: [{name: x, version: 1.0.0, url: [1]}]",
    ],
)
def test_locks_that_are_wrong(text: str) -> None:
    with pytest.raises(InvalidError):
        lock.read(text, file="Chart.lock")


# -- git ---------------------------------------------------------------------------------------------------------------


def _git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    run = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return run.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    _chart(folder / "charts" / "db", "db", version="1.2.0")
    _git(folder, "init", "-q")
    _git(folder, "add", ".")
    _git(folder, "commit", "-qm", "one")
    _git(folder, "tag", "v1")
    return folder


@needs_git
def test_charts_in_git(source: Path, tmp_path: Path) -> None:
    url = f"git+file://{source}@v1#charts/db"
    root = _chart(tmp_path / "root", "root", _need("db", "^1", url))
    made = _update(root)
    commit = _git(source, "rev-parse", "HEAD")
    assert made.chosen[0].url == f"git+file://{source}@{commit}#charts/db"
    _chart(source / "charts" / "db", "db", version="2.0.0")
    _git(source, "commit", "-qam", "two")
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    _update(root, build=True)
    assert _inside(load(root)) == {"db 1.2.0": {}}
    book = repositories.load()
    assert fetch(book, f"git+file://{source}#charts/db").chart.version == "2.0.0"
    assert fetch(book, f"git+file://{source}@{commit}#charts/db").chart.version == "1.2.0"
    for wrong in (f"git+file://{source}@v9#charts/db", f"git+file://{source}#charts/nix"):
        with pytest.raises(NotFoundError):
            fetch(book, wrong)
    with pytest.raises(PvehelmError, match="git"):
        fetch(book, f"git+file://{tmp_path}/nowhere")
    with pytest.raises(NotFoundError) as caught:
        fetch(book, f"git+file://{source}@{commit[:8]}#charts/db")
    assert "a commit in full" in caught.value.hint
    with pytest.raises(InvalidError) as broken:
        fetch(book, f"git+file://{source}#charts")
    assert str(broken.value) == f"git+file://{source}#charts is not a chart"
    assert [problem.where for problem in broken.value.problems] == [f"git+file://{source}#charts"]


@needs_git
def test_submodules_are_not_followed(source: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    _git(whole, "init", "-q")
    _git(whole, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(source), "parts")
    _git(whole, "commit", "-qm", "one")
    with pytest.raises(NotFoundError) as caught:
        fetch(repositories.load(), f"git+file://{whole}#parts/charts/db")
    assert "submodules are not followed" in caught.value.hint
    # Nor is a chart taken that has one in it, which would be an empty folder there.
    write(whole / "chart", {"Chart.yaml": "apiVersion: v2\nname: chart\nversion: 1.0.0\n"})
    _git(whole, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(source), "chart/charts/own")
    _git(whole, "add", ".")
    _git(whole, "commit", "-qm", "two")
    with pytest.raises(InvalidError) as broken:
        fetch(repositories.load(), f"git+file://{whole}#chart")
    assert [(one.where, "submodule" in one.what) for one in broken.value.problems] == [("chart/charts/own", True)]


@needs_git
def test_links_in_git_lead_nowhere(source: Path) -> None:
    (source / "charts" / "db" / "leak").symlink_to("/etc/hostname")
    (source / "charts" / "all").symlink_to("/etc")
    _git(source, "add", ".")
    _git(source, "commit", "-qm", "links")
    with pytest.raises(InvalidError):
        fetch(repositories.load(), f"git+file://{source}#charts/db")
    with pytest.raises(NotFoundError):
        fetch(repositories.load(), f"git+file://{source}#charts/all")


@needs_git
def test_published_on_a_branch(source: Path) -> None:
    address = git.parse(f"git+file://{source}@pages#repo")
    for version in ("1.0.0", "1.1.0"):
        publishing.to_branch(opened(packed("web", version), url="x"), address)
    publishing.to_branch(opened(packed("web", "1.1.0"), url="x"), address)
    names = _git(source, "ls-tree", "-r", "--name-only", "pages").splitlines()
    assert set(names) >= {"repo/index.yaml", "repo/index.html", "repo/web-1.0.0.tgz", "repo/web-1.1.0.tgz"}
    assert _git(source, "log", "--format=%s", "pages").splitlines() == ["Publish web 1.1.0", "Publish web 1.0.0"]
    with pytest.raises(RefusedError):
        publishing.to_branch(opened(packed("web", "1.1.0", extra="icon: x\n"), url="x"), address)


@pytest.mark.parametrize(
    "text",
    [
        "git+https://u:p@host/x",
        "git+https://host",
        "git+ext://sh -c x",
        "git+http://host/x",
        "git+https://host/x@--upload-pack=x",
        "git+https://host/x@a..b",
        "git+https://host/x#../y",
        "git+https://host/x#/etc",
        "git+https://host/x#.git/hooks",
        "git+ssh://-oProxyCommand=x/y",
        "git+https://host/x?y",
        "git+file://host/x",
        "git+https://[/x",
        "git+https://host/x y",
    ],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        git.parse(text)
