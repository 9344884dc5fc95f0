"""Repositories and locks beside Helm itself: what we write Helm reads, and what Helm writes we read."""

from __future__ import annotations

from pathlib import Path

import pytest

helm = pytest.importorskip("helm_python", reason="Helm in process: pip install 'pvehelm[helm]'")

from pvehelm.chart import index, lock, publishing, repo  # noqa: E402
from pvehelm.chart.archives import opened  # noqa: E402
from pvehelm.chart.book import load as book  # noqa: E402
from pvehelm.chart.chart import load  # noqa: E402
from pvehelm.chart.lock import Locked  # noqa: E402
from pvehelm.chart.sources import fetch  # noqa: E402
from tests.chart.data import write  # noqa: E402
from tests.chart.servers import hub_server, packed, web_server  # noqa: E402

EXTRA = (
    "description: 'a: b'\nappVersion: '1.10'\nkeywords: [x, 'yes']\nannotations: {a/b: 'true'}\nkubeVersion: '>=1'\n"
)


def test_helm_reads_our_index(tmp_path: Path) -> None:
    packages = [packed("web", "1.0.0", extra=EXTRA), packed("web", "1.1.0-rc.1"), packed("db", "0.1.0+build.5")]
    with web_server() as web:
        for data in packages:
            web.put(data)
            (tmp_path / f"{len(web.files)}.tgz").write_bytes(data)
        for file in tmp_path.glob("*.tgz"):
            web.files[f"/{file.name}"] = file.read_bytes()
        web.files["/index.yaml"] = repo.index(tmp_path, url=web.url).encode()
        read = helm.repo_index(web.url)
        assert {name: [one["version"] for one in all_] for name, all_ in read["entries"].items()} == {
            "db": ["0.1.0+build.5"],
            "web": ["1.1.0-rc.1", "1.0.0"],
        }
        newest = read["entries"]["web"][1]
        assert (newest["description"], newest["appVersion"], newest["keywords"]) == ("a: b", "1.10", ["x", "yes"])
        assert newest["annotations"] == {"a/b": "true"}
        # It is found by its name and a range, fetched and its digest is right.
        target = tmp_path / "pulled"
        target.mkdir()
        helm.pull("web", repo_url=web.url, version="~1.0", destination=target)
        [pulled] = target.iterdir()
        assert pulled.read_bytes() == packages[0]
        assert helm.digest(pulled).removeprefix("sha256:") == newest["digest"].removeprefix("sha256:")


def test_we_read_helms_index(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0-rc.1"):
        (tmp_path / f"web-{version}.tgz").write_bytes(packed("web", version, extra=EXTRA))
    helm.repo_index_generate(tmp_path, base_url="https://charts.example.org/x", json_index=True)
    for file in ("index.yaml", "index.json"):
        found = index.read((tmp_path / file).read_bytes(), url="https://charts.example.org/x")
        assert not found.skipped
        rc, one = found.entries["web"]
        assert (rc.version, one.version) == ("1.1.0-rc.1", "1.0.0")
        assert one.urls == ("https://charts.example.org/x/web-1.0.0.tgz",)
        assert (one.description, one.app_version, one.keywords) == ("a: b", "1.10", ("x", "yes"))
    # Indexed once more by us, nothing has changed for whoever reads it.
    again = index.read(repo.index(tmp_path, url="https://charts.example.org/x").encode(), url="https://x.example.org")
    assert again.entries == found.entries


def test_packages_and_their_metadata(tmp_path: Path) -> None:
    data = packed("web", "1.0.0", {"values.yaml": b"a: 1\n", "templates/x.yaml": b"{{ .Values.a }}"}, EXTRA)
    chart = helm.Chart.load_archive(data)
    assert (chart.name, chart.version, chart.values) == ("web", "1.0.0", {"a": 1})
    saved = Path(chart.save(tmp_path))
    assert load(saved).digest == load(write(tmp_path / "web", dict(load(saved).raw))).digest


DEPENDENCIES = """\
dependencies:
- name: db
  version: ~1
  repository: "{url}"
  condition: db.enabled,global.db
  tags: [a, b]
  alias: store
  import-values: [x, {{child: a, parent: b}}]
- {{name: near, version: ">0-0 <2", repository: "file://../near"}}
"""


def test_locks_both_ways(tmp_path: Path) -> None:
    write(tmp_path / "near", {"Chart.yaml": "{apiVersion: v2, name: near, version: 1.5.0}"})
    with web_server() as web:
        web.put(packed("db", "1.2.0"), packed("db", "2.0.0"))
        metadata = "apiVersion: v2\nname: web\nversion: 1.0.0\n" + DEPENDENCIES.format(url=web.url)
        write(tmp_path / "web", {"Chart.yaml": metadata})
        helm.dependency_update(tmp_path / "web")
        chart = load(tmp_path / "web")
        theirs = lock.of(chart)
        assert theirs is not None
        assert [(one.name, one.version) for one in theirs.dependencies] == [("db", "1.2.0"), ("near", "1.5.0")]
        assert theirs.fits(chart)
        # Ours says more; Helm takes it and fetches what it says.
        ours = lock.made(
            chart, [Locked("db", "1.2.0", web.url, f"{web.url}/db-1.2.0.tgz", "0" * 64), theirs.dependencies[1]]
        )
        assert ours.digest == theirs.digest
        (tmp_path / "web" / "Chart.lock").write_text(ours.to_text())
        for file in (tmp_path / "web" / "charts").iterdir():
            file.unlink()
        helm.dependency_build(tmp_path / "web")
        assert sorted(file.name for file in (tmp_path / "web" / "charts").iterdir()) == [
            "db-1.2.0.tgz",
            "near-1.5.0.tgz",
        ]
        # A lock of other dependencies is out of date for both.
        (tmp_path / "web" / "Chart.yaml").write_text(metadata.replace("~1", "^1"))
        assert not ours.fits(load(tmp_path / "web"))
        with pytest.raises(helm.HelmError, match="out of sync"):
            helm.dependency_build(tmp_path / "web")


def test_registries_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVEHELM_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("PVEHELM_CACHE", str(tmp_path / "cache"))
    ours, theirs = packed("web", "1.0.0", extra=EXTRA), packed("web", "1.1.0+b.1")
    file, target = tmp_path / "web-1.1.0+b.1.tgz", tmp_path / "pulled"
    file.write_bytes(theirs)
    target.mkdir()
    with hub_server() as hub:
        client = helm.RegistryClient(plain_http=True, credentials_file=tmp_path / "logins.json")
        publishing.to_registry(book(), opened(ours, url="here"), f"oci://{hub.host}/charts")
        client.push(file, f"oci://{hub.host}/charts", plain_http=True)
        # Either sees the versions of both, and fetches what the other brought.
        assert client.tags(f"{hub.host}/charts/web") == ["1.1.0+b.1", "1.0.0"]
        client.pull(f"oci://{hub.host}/charts/web", version="1.0.0", destination=target, plain_http=True)
        assert (target / "web-1.0.0.tgz").read_bytes() == ours
        assert "description: 'a: b'" in client.show(f"oci://{hub.host}/charts/web:1.0.0", plain_http=True)
        assert fetch(book(), f"oci://{hub.host}/charts/web").data == theirs
        digest = client.resolve(f"{hub.host}/charts/web:1.1.0_b.1")["digest"]
        assert fetch(book(), f"oci://{hub.host}/charts/web@{digest}").data == theirs
        client.close()
