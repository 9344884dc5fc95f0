"""The provenance file: Helm's ``.prov``, a text signed with PGP that names a package's digest.

The digest is checked here; the PGP signature by the ``gpg`` program, where it is installed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pvehelm.chart.yaml import load
from pvehelm.errors import InvalidError, NotFoundError, Problem

SUFFIX = ".prov"
MAX_SIZE = 5 << 20
_BODY = re.compile(
    r"\A\s*-----BEGIN PGP SIGNED MESSAGE-----\n(?:[^\n]+\n)*\n(.*?)\n?-----BEGIN PGP SIGNATURE-----\n"
    r".*-----END PGP SIGNATURE-----\s*\Z",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a ``.prov`` says: the chart's name and version, and the SHA-256 of files by name."""

    name: str
    version: str
    files: dict[str, str]


def read(text: str, *, file: str) -> Provenance:
    """What a ``.prov`` says, whoever signed it. Raises InvalidError."""
    found = _BODY.match(text.replace("\r\n", "\n")) if len(text) <= MAX_SIZE else None
    if not found:
        raise InvalidError(f"{file} is no provenance file", hint="Helm's 'package --sign' makes one")
    body = _body(found)
    head, mark, tail = body.partition("\n...\n")
    metadata = load(head, file=file)
    listed = load(tail, file=file) if mark else None
    files = listed.get("files") if isinstance(listed, dict) else None
    if not isinstance(metadata, dict) or not isinstance(files, dict):
        raise InvalidError(f"{file} is no provenance file: it lists no files")
    return Provenance(
        str(metadata.get("name", "")), str(metadata.get("version", "")), {str(k): str(v) for k, v in files.items()}
    )


def _body(found: re.Match[str]) -> str:
    return "\n".join(line.removeprefix("- ") for line in found.group(1).split("\n"))


def check(data: bytes, text: str, *, name: str, filename: str) -> Provenance:
    """What a ``.prov`` says, if it says it of ``data``. Raises InvalidError when the digest is another."""
    said = read(text, file=name + SUFFIX)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    listed = said.files.get(filename, "")
    if listed != digest:
        what = f"lists {listed}, the file has {digest}" if listed else f"does not list {filename}"
        raise InvalidError(f"{name} is not what its provenance file says", [Problem(name + SUFFIX, what)])
    return said


def signer(text: str, *, keyring: bytes | None, name: str) -> str:
    """Who signed a ``.prov``: user id and fingerprint, by ``gpg`` and the keys of ``keyring`` (None: the user's own).

    Raises NotFoundError without ``gpg``, InvalidError for a signature that does not fit or is by another key.
    """
    gpg = shutil.which("gpg")
    if gpg is None:
        raise NotFoundError(f"{name}: gpg is not installed, so its PGP signature cannot be checked")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch, "signed.prov")
        place.write_text(text, encoding="utf-8")
        command = [gpg, "--batch", "--no-tty", "--status-fd", "2", "--no-auto-key-retrieve"]
        if keyring is not None:
            ring = Path(scratch, "keyring.gpg")
            ring.write_bytes(_binary(keyring))
            home = Path(scratch, "home")
            home.mkdir(mode=0o700)
            command += [
                "--homedir",
                str(home),
                "--no-default-keyring",
                "--keyring",
                str(ring),
                "--trust-model",
                "always",
            ]
        run = subprocess.run(
            [*command, "--decrypt", str(place)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            errors="replace",
        )
    words = [line.split(" ", 3) for line in run.stderr.splitlines() if line.startswith("[GNUPG:] ")]
    facts = {line[1]: line[2:] for line in words if len(line) > 1}
    if run.returncode or "VALIDSIG" not in facts:
        unknown = "its key is not in the keyring" if "NO_PUBKEY" in facts else "the signature does not fit"
        raise InvalidError(f"{name}{SUFFIX}: {unknown}", hint="--keyring FILE names the public keys that you trust")
    # What was signed must be what was read: gpg may see another message in the file than we do.
    seen = _BODY.match(text.replace("\r\n", "\n"))
    if seen is None or run.stdout.replace("\r\n", "\n").strip() != _body(seen).strip():
        raise InvalidError(f"{name}{SUFFIX} holds more than one message")
    return f"{' '.join(facts.get('GOODSIG', ['', ''])[1:])} {facts['VALIDSIG'][0]}".strip()


def _binary(keyring: bytes) -> bytes:
    """A keyring as gpg wants it, out of armour if need be."""
    if not keyring.lstrip().startswith(b"-----BEGIN PGP"):
        return keyring
    import base64

    out = b""
    for block in re.findall(rb"-----BEGIN PGP [^\n]*-----(.*?)-----END PGP", keyring.replace(b"\r", b""), re.DOTALL):
        _, _, body = block.partition(b"\n\n")
        out += base64.b64decode(b"".join(line for line in body.split(b"\n") if not line.startswith(b"=")))
    return out
