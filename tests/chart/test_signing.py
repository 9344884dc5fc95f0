"""Signatures: what OpenSSH and minisign make and read, and Helm's provenance files."""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from pvehelm.chart import provenance, signing
from pvehelm.errors import InvalidError

DATA = b"a package"


def _none() -> str:
    raise AssertionError("no passphrase is needed")


def _minisign(passphrase: str = "") -> tuple[str, str]:
    """A minisign key pair as text: secret, public."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    seed, public, number = key.private_bytes_raw(), key.public_key().public_bytes_raw(), b"12345678"
    check = hashlib.blake2b(b"Ed" + number + seed + public, digest_size=32).digest()
    secret = number + seed + public + check
    head, salt, ops, memory = b"Ed" + (b"Sc" if passphrase else b"\0\0") + b"B2", b"s" * 32, 32768, 1 << 20
    if passphrase:
        stream = hashlib.scrypt(passphrase.encode(), salt=salt, n=1024, r=8, p=1, dklen=104, maxmem=1 << 27)
        secret = bytes(a ^ b for a, b in zip(secret, stream, strict=True))
    blob = head + salt + struct.pack("<QQ", ops, memory) + secret
    text = f"untrusted comment: minisign secret key\n{base64.b64encode(blob).decode()}\n"
    return text, "untrusted comment: x\n" + base64.b64encode(b"Ed" + number + public).decode() + "\n"


def _ssh(tmp_path: Path) -> tuple[str, str]:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", str(tmp_path / "key")], check=True)
    return (tmp_path / "key").read_text(), (tmp_path / "key.pub").read_text()


needs_ssh = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="ssh-keygen is not installed")
needs_gpg = pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")


@needs_ssh
def test_openssh_both_ways(tmp_path: Path) -> None:
    secret, public = _ssh(tmp_path)
    suffix, signature = signing.sign(DATA, secret, name="web.tgz", passphrase=_none, file="key")
    assert suffix == ".sig"
    key = signing.verify(DATA, {suffix: signature}, [public], name="web.tgz")
    (tmp_path / "web.tgz").write_bytes(DATA)
    (tmp_path / "web.tgz.sig").write_bytes(signature)
    (tmp_path / "allowed").write_text(f"me {public}")
    told = subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "me", "-n", "file", "-s", "web.tgz.sig"],
        input=DATA,
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert key.fingerprint in told.stdout.decode()
    (tmp_path / "web.tgz.sig").unlink()
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", "key", "-n", "file", "web.tgz"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    theirs = (tmp_path / "web.tgz.sig").read_bytes()
    assert signing.verify(DATA, {".sig": theirs}, [f"me {public}"], name="web.tgz") == key
    with pytest.raises(InvalidError) as caught:
        signing.verify(DATA + b"x", {".sig": theirs}, [public], name="web.tgz")
    assert "does not fit" in caught.value.problems[0].what
    (tmp_path / "web.tgz.sig").unlink()
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", "key", "-n", "git", "web.tgz"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    with pytest.raises(InvalidError) as caught:
        signing.verify(DATA, {".sig": (tmp_path / "web.tgz.sig").read_bytes()}, [public], name="web.tgz")
    assert "signed for 'git'" in caught.value.problems[0].what


@needs_ssh
def test_keys_that_are_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    secret, _ = _ssh(tmp_path / "a")
    _, other = _ssh(tmp_path / "b")
    suffix, signature = signing.sign(DATA, secret, name="x", passphrase=_none, file="key")
    with pytest.raises(InvalidError) as caught:
        signing.verify(DATA, {suffix: signature}, [other], name="x")
    assert "signed by another key: SHA256:" in caught.value.problems[0].what
    with pytest.raises(InvalidError) as caught:
        signing.verify(DATA, {}, [other], name="x")
    assert caught.value.problems[0].what == "it is not signed"


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
def test_minisign(passphrase: str) -> None:
    secret, public = _minisign(passphrase)
    suffix, signature = signing.sign(DATA, secret, name="w.tgz", passphrase=lambda: passphrase, file="key")
    assert suffix == ".minisig"
    key = signing.verify(DATA, {suffix: signature}, [public], name="w.tgz")
    assert key.fingerprint == "minisign 3837363534333231"
    changed = signature.replace(b"file:w.tgz", b"file:x.tgz")
    for data, content in ((b"x", signature), (DATA, changed), (DATA, b"x"), (DATA, b"\n" * 9), (DATA, b"\xff" * 99)):
        with pytest.raises(InvalidError):
            signing.verify(data, {suffix: content}, [public], name="w.tgz")


def test_minisign_as_others_make_it() -> None:
    public = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
    signature = (
        "untrusted comment: signature from minisign secret key\n"
        "RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n"
        "trusted comment: timestamp:1633700835\tfile:test\tprehashed\n"
        "wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n"
    )
    assert signing.verify(b"test", {".minisig": signature.encode()}, [public], name="test").key_id


def test_a_minisign_key_that_never_had_a_passphrase() -> None:
    secret, public = _minisign()
    head, body = secret.splitlines()
    blob = base64.b64decode(body)
    bare = base64.b64encode(blob[:38] + bytes(16) + blob[54:126] + bytes(32)).decode()
    suffix, signature = signing.sign(DATA, f"{head}\n{bare}\n", name="x", passphrase=_none, file="key")
    assert signing.verify(DATA, {suffix: signature}, [public], name="x").key_id
    other = base64.b64encode(blob[:126] + b"x" * 32).decode()
    with pytest.raises(InvalidError, match="key is damaged"):
        signing.sign(DATA, f"{head}\n{other}\n", name="x", passphrase=_none, file="key")


def test_passphrases_that_are_wrong() -> None:
    secret, _ = _minisign("right")
    with pytest.raises(InvalidError, match="passphrase is wrong"):
        signing.sign(DATA, secret, name="x", passphrase=lambda: "wrong", file="key")


@pytest.mark.parametrize("text", ["", "x", "RWQ=", "-----BEGIN OPENSSH PRIVATE KEY-----\nxx\n", "\n\n", "ssh-rsa AAAA"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(InvalidError):
        signing.sign(DATA, text, name="x", passphrase=_none, file="key")
    with pytest.raises(InvalidError):
        signing.public_keys(text, file="key.pub")


# -- Helm's provenance files -------------------------------------------------------------------------------------------

BODY = "apiVersion: v2\nname: web\nversion: 1.0.0\n\n...\nfiles:\n  web-1.0.0.tgz: sha256:{digest}\n"


def _gpg(home: Path, *arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    return subprocess.run([*command, *arguments], capture_output=True, check=True, **more)  # type: ignore[call-overload,no-any-return]


@needs_gpg
def test_provenance_files(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    try:
        _gpg(home, "--quick-generate-key", "Me <me@example.org>", "ed25519", "sign", "never")
        keyring = _gpg(home, "--export").stdout
        armoured = _gpg(home, "--armor", "--export").stdout
        body = BODY.format(digest=hashlib.sha256(DATA).hexdigest())
        text = _gpg(home, "--clearsign", input=body.encode()).stdout.decode()
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False, capture_output=True)
    said = provenance.check(DATA, text, name="web.tgz", filename="web-1.0.0.tgz")
    assert (said.name, said.version) == ("web", "1.0.0")
    for ring in (keyring, armoured):
        assert provenance.signer(text, keyring=ring, name="web.tgz").startswith("Me <me@example.org> ")
    with pytest.raises(InvalidError, match="is not what its provenance file says"):
        provenance.check(b"x", text, name="web.tgz", filename="web-1.0.0.tgz")
    with pytest.raises(InvalidError, match="is not what its provenance file says"):
        provenance.check(DATA, text, name="web.tgz", filename="db-1.0.0.tgz")
    with pytest.raises(InvalidError, match="does not fit"):
        provenance.signer(text.replace("version: 1.0.0", "version: 1.0.1"), keyring=keyring, name="web.tgz")
    with pytest.raises(InvalidError):
        provenance.signer(text, keyring=b"", name="web.tgz")


@pytest.mark.parametrize(
    "text", ["", "files: {}", "-----BEGIN PGP SIGNED MESSAGE-----\n\nx\n-----BEGIN PGP SIGNATURE-----"]
)
def test_what_is_no_provenance_file(text: str) -> None:
    with pytest.raises(InvalidError):
        provenance.read(text, file="x.prov")


def test_a_public_key_does_not_sign() -> None:
    with pytest.raises(InvalidError, match=r"^key\.pub is a public key"):
        signing.sign(DATA, "ssh-ed25519 AAAA me", name="x", passphrase=_none, file="key.pub")
