"""Packages: the same bytes for the same chart, and the same chart from them."""

from __future__ import annotations

import gzip as gzip_module
import hashlib
import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvehelm.chart import deflate
from pvehelm.chart.chart import load, load_archive
from pvehelm.chart.package import filename, package
from pvehelm.errors import InvalidError
from tests.chart.data import write

FILES: dict[str, str | bytes] = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.3\n",
    "values.yaml": "a: 1\n",
    "templates/vm.yaml": "kind: X\n" * 50,
    "files/" + "long/" * 30 + "name": b"\x00\xff" * 300,
    "files/näme": "x",
    "charts/db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n",
    "ignored.bak": "x",
    ".helmignore": "*.bak\n",
}


def test_the_same_bytes_wherever_it_is_made(tmp_path: Path) -> None:
    one = write(tmp_path / "one" / "web", FILES)
    two = write(tmp_path / "two" / "other-name", dict(reversed(FILES.items())))
    for path in two.rglob("*"):
        os.utime(path, (1, 1))
        if path.is_file():
            path.chmod(0o700)
    data = package(load(one))
    assert package(load(two)) == data
    # The whole format is fixed: if this changes, every published digest does.
    assert hashlib.sha256(data).hexdigest() == "fd72d7e88bf52c36953c06e676e63617859f843af6ec727c43288fcdb5326afb"
    chart = load_archive(data, name=filename(load(one)))
    assert chart.digest == load(one).digest
    assert package(chart) == data
    assert filename(chart) == "web-1.2.3.tgz"


def test_other_tools_read_it(tmp_path: Path) -> None:
    data = package(load(write(tmp_path / "web", FILES)))
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == sorted(f"web/{name}" for name in FILES if name != "ignored.bak")
        assert {(m.mode, m.uid, m.gid, m.uname, m.gname, m.mtime, m.type) for m in members} == {
            (0o644, 0, 0, "", "", 315532800, tarfile.REGTYPE)
        }
        content = archive.extractfile("web/values.yaml")
        assert content is not None
        assert content.read() == b"a: 1\n"


def test_a_missing_dependency_is_not_packaged(tmp_path: Path) -> None:
    files = {"Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\ndependencies: [{name: db, version: ^1}]\n"}
    with pytest.raises(InvalidError, match="cannot be packaged"):
        package(load(write(tmp_path / "web", files)))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from([b"a", b"abcd", b"\n  - name: x", b"\x00" * 300, bytes(range(256))]), max_size=40).map(
            b"".join
        ),
    )
)
@settings(max_examples=200)
def test_compressed_data_comes_back(data: bytes) -> None:
    assert gzip_module.decompress(deflate.gzip(data)) == data
    assert zlib.decompress(deflate._stored(data), wbits=-15) == data


def test_distant_and_large_data_comes_back() -> None:
    block = bytes(range(256)) * 4
    data = block + os.urandom(40_000) + block + os.urandom(33_000) + block
    assert gzip_module.decompress(deflate.gzip(data)) == data
    large = b"x" * (deflate.PLAIN_LIMIT + 70_000)
    assert gzip_module.decompress(deflate.gzip(large)) == large
    text = Path(deflate.__file__).read_bytes()
    assert len(deflate.gzip(text)) < len(text) / 2
