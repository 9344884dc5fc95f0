"""Sealed secrets: `secret://release/NAME`, their key, and seeing changes without the text."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.errors import InvalidError, NotFoundError, StoreError
from pvehelm.release.release import ReleaseKey
from pvehelm.release.sealing import KeySource, SealingKey
from pvehelm.release.store import Store, open_store
from tests.release.conftest import WEB

KEY = SealingKey("a long passphrase")


def opened(folder: Path, **environ: str) -> Store:
    return open_store(f"sqlite:///{folder}/x.db", environ={"PVEHELM_DATA": str(folder), **environ})


def test_round_trip(store: Store, tmp_path: Path) -> None:
    store.put_secret(WEB, "db", "päss \n word")
    assert store.get_secret(WEB, "db") == "päss \n word"
    store.put_secret(WEB, "db", "")
    assert store.get_secret(WEB, "db") == ""
    store.put_secret(WEB, "api", "second")
    assert store.secret_names(WEB) == ["api", "db"]
    store.db.execute("DELETE FROM secrets WHERE name = 'db'")
    with pytest.raises(NotFoundError, match="secret://release/db") as caught:
        store.get_secret(WEB, "db")
    assert caught.value.hint == "kept: api"
    with pytest.raises(NotFoundError):
        store.get_secret(ReleaseKey("c1", "default", "other"), "api")
    key_file = tmp_path / "secrets.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_nothing_readable_on_disk(store: Store, tmp_path: Path) -> None:
    store.put_secret(WEB, "db", "very-secret-text")
    fingerprint = store.hmac("very-secret-text")
    assert "very-secret" not in fingerprint
    for path in tmp_path.iterdir():
        assert b"very-secret" not in path.read_bytes()


def test_key_is_made_only_when_needed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert store.secret_names(WEB) == []
        with pytest.raises(StoreError, match="cannot compare"):
            store.hmac("x", create=False)
        with pytest.raises(StoreError, match="cannot compare"):
            store.hmac_matches("id:00", "x")
        assert not (tmp_path / "secrets.key").exists()
        store.hmac("x")
        assert (tmp_path / "secrets.key").exists()


def test_without_the_key(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.put_secret(WEB, "db", "x")
        mac = store.hmac("x")
    (tmp_path / "secrets.key").unlink()
    with opened(tmp_path) as store:
        with pytest.raises(StoreError, match="cannot read secret://release/db") as caught:
            store.get_secret(WEB, "db")
        assert "PVEHELM_KEY" in caught.value.hint
        with pytest.raises(StoreError, match="cannot compare"):
            store.hmac_matches(mac, "x")


def test_with_another_key(tmp_path: Path) -> None:
    with opened(tmp_path, PVEHELM_KEY="the team's first key") as store:
        store.put_secret(WEB, "db", "x")
        mac = store.hmac("x")
    assert not (tmp_path / "secrets.key").exists()
    with opened(tmp_path, PVEHELM_KEY="the team's first key") as store:
        assert store.get_secret(WEB, "db") == "x"
        assert store.hmac_matches(mac, "x")
        assert not store.hmac_matches(mac, "y")
    with opened(tmp_path, PVEHELM_KEY="the team's second key") as store:
        with pytest.raises(StoreError, match="sealed with another key"):
            store.get_secret(WEB, "db")
        with pytest.raises(StoreError, match="cannot compare"):
            store.hmac_matches(mac, "x")


def test_bad_keys(tmp_path: Path) -> None:
    path = tmp_path / "secrets.key"
    with pytest.raises(InvalidError, match="too short"):
        KeySource(str(path), {"PVEHELM_KEY": "short"}).get()
    path.write_text("0123456789abcdef0123456789abcdef")
    path.chmod(0o644)
    with pytest.raises(InvalidError, match="others may read it") as caught:
        KeySource(str(path), {}).get()
    assert caught.value.hint == f"chmod 600 {path}"
    path.chmod(0o600)
    assert KeySource(str(path), {}).get().hmac("x") == KeySource(str(path), {}).get(create=True).hmac("x")
    path.write_text("")
    with pytest.raises(StoreError, match="holds no key"):
        KeySource(str(path), {}).get(create=True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StoreError):
        KeySource(str(blocked / "secrets.key"), {}).get(create=True)


def test_of_two_first_keys_one_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "data" / "secrets.key")
    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(lambda _: KeySource(path, {}).get(create=True).id, range(16)))
    assert len(ids) == 1
    assert os.listdir(tmp_path / "data") == ["secrets.key"]


@given(st.text())
def test_seal_and_open(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    sealed = KEY.seal(text)
    assert KEY.open(sealed) == text
    assert KEY.matches(KEY.hmac(text), text)
    assert not KEY.matches(KEY.hmac(text), text + "x")
    assert KEY.signed(KEY.sign(text), text)
    assert not KEY.signed(KEY.sign(text), text + "x")


def test_key_shows_nothing_of_itself() -> None:
    assert "passphrase" not in repr(KEY)
    assert KEY.id not in KEY.hmac("a").partition(":")[2]
