"""The signature: Ed25519 over a package's bytes, in the two formats that people have keys for.

* OpenSSH: ``ssh-ed25519 AAAA...`` keys and ``web-1.0.0.tgz.sig``, as ``ssh-keygen -Y sign -n file`` makes it and
  ``ssh-keygen -Y verify`` or ``-Y check-novalidate`` reads it;
* minisign: ``RW...`` keys and ``web-1.0.0.tgz.minisig``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pvehelm.errors import InvalidError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SSH, MINISIGN = ".sig", ".minisig"
SUFFIXES = (SSH, MINISIGN)
NAMESPACE = b"file"
_SSH_TYPE = b"ssh-ed25519"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_MAX = 1 << 16
_SCRYPT_MEMORY = (1 << 31) - (1 << 20)


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key; ``text`` is how people write it, ``key_id`` minisign's eight bytes (empty for OpenSSH)."""

    raw: bytes
    text: str
    key_id: bytes = b""

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` prints it; minisign's keys go by their number."""
        if self.key_id:
            return "minisign " + self.key_id[::-1].hex().upper()
        digest = hashlib.sha256(_strings(_SSH_TYPE, self.raw)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def public_keys(text: str, *, file: str = "") -> list[PublicKey]:
    """Every key in a text: lines of ``ssh-ed25519 ...`` (as in ``.pub`` and ``allowed_signers``) or minisign's.

    Raises InvalidError where there is none, or one of another kind.
    """
    found: list[PublicKey] = []
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith(("#", "untrusted comment:")):
            continue
        place = words.index("ssh-ed25519") if "ssh-ed25519" in words else -1
        blob = _decoded(words[place + 1] if 0 <= place < len(words) - 1 else words[0])
        if place >= 0 and blob.startswith(_strings(_SSH_TYPE)) and len(blob) == 51:
            found.append(PublicKey(blob[-32:], f"ssh-ed25519 {words[place + 1]}"))
        elif place < 0 and len(words) == 1 and len(blob) == 42 and blob[:2] == b"Ed":
            found.append(PublicKey(blob[10:], words[0], blob[2:10]))
        else:
            raise InvalidError(
                f"{file or 'the key'} is no Ed25519 public key",
                [Problem(file, f"{line[:60]!r}")],
                hint="'ssh-ed25519 AAAA...' (ssh-keygen -t ed25519) or minisign's 'RW...'",
            )
    if not found:
        raise InvalidError(f"{file or 'the text'} holds no public key")
    return found


def verify(data: bytes, signatures: Mapping[str, bytes], keys: Sequence[str], *, name: str) -> PublicKey:
    """The key that signed ``data``; ``signatures`` are the sidecar files by suffix, ``keys`` those that count.

    Raises InvalidError when no signature fits.
    """
    known = [key for text in keys for key in public_keys(text)]
    problems = []
    for suffix, content in signatures.items():
        try:
            return _verify_one(data, suffix, content, known)
        except (ValueError, struct.error) as error:
            problems.append(Problem(name + suffix, str(error)))
    if not problems:
        problems.append(Problem(name, "it is not signed", f"expected is {name}{SSH} or {name}{MINISIGN}"))
    raise InvalidError(
        f"{name} is not signed by a key that is trusted here",
        problems,
        hint="trusted: " + ", ".join(key.fingerprint for key in known),
    )


def _verify_one(data: bytes, suffix: str, content: bytes, keys: Sequence[PublicKey]) -> PublicKey:
    if len(content) > _MAX:
        raise ValueError("a signature is smaller")
    text = content.decode("ascii", "replace")
    if suffix == SSH:
        raw, signed, signature = _ssh_parts(text, data)
        key = next((key for key in keys if not key.key_id and key.raw == raw), None)
        if key is None:
            raise ValueError(f"signed by another key: {PublicKey(raw, '').fingerprint}")
        _check(key, signature, signed)
        return key
    key_id, signed, signature, comment, over = _minisign_parts(text, data)
    key = next((key for key in keys if key.key_id == key_id), None)
    if key is None:
        raise ValueError(f"signed by another key: minisign {key_id[::-1].hex().upper()}")
    _check(key, signature, signed)
    _check(key, over, signature + comment)
    return key


def _check(key: PublicKey, signature: bytes, data: bytes) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.raw).verify(signature, data)
    except InvalidSignature:
        raise ValueError("the signature does not fit: the file or the signature was changed") from None


# -- OpenSSH ---------------------------------------------------------------------------------------------------------


def _ssh_parts(text: str, data: bytes) -> tuple[bytes, bytes, bytes]:
    """Of an armoured signature: the public key, what was signed, and the signature. Raises ValueError."""
    body = text.replace("\r", "").strip()
    if not body.startswith(_BEGIN) or not body.endswith(_END):
        raise ValueError("no OpenSSH signature")
    blob = _decoded(body[len(_BEGIN) : -len(_END)])
    if blob[:10] != b"SSHSIG" + struct.pack(">I", 1):
        raise ValueError("no OpenSSH signature of version 1")
    public, namespace, reserved, algorithm, signature = _split(blob[10:], 5)
    if namespace != NAMESPACE:
        raise ValueError(f"signed for {namespace[:40].decode('ascii', 'replace')!r}, not for files (-n file)")
    if algorithm not in (b"sha256", b"sha512"):
        raise ValueError("an unknown hash")
    kind, raw = _split(public, 2)
    kind_of_signature, made = _split(signature, 2)
    if kind != _SSH_TYPE or kind_of_signature != _SSH_TYPE or len(raw) != 32 or len(made) != 64:
        raise ValueError("the key is no Ed25519 key")
    return raw, _ssh_signed(data, algorithm, reserved), made


def _ssh_signed(data: bytes, algorithm: bytes = b"sha512", reserved: bytes = b"") -> bytes:
    digest = hashlib.new(algorithm.decode(), data).digest()
    return b"SSHSIG" + _strings(NAMESPACE, reserved, algorithm, digest)


def _strings(*parts: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def _split(blob: bytes, count: int) -> list[bytes]:
    parts = []
    for _ in range(count):
        (size,) = struct.unpack(">I", blob[:4])
        if size > len(blob) - 4:
            raise ValueError("the signature is cut off")
        parts.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    if blob:
        raise ValueError("more follows the signature")
    return parts


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return b""


# -- minisign --------------------------------------------------------------------------------------------------------


def _minisign_parts(text: str, data: bytes) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Of a ``.minisig``: key number, what was signed, signature, trusted comment, the signature over that."""
    lines = text.replace("\r", "").split("\n")
    if len(lines) < 4 or not lines[2].startswith("trusted comment: "):
        raise ValueError("no minisign signature")
    blob, over = _decoded(lines[1]), _decoded(lines[3])
    if len(blob) != 74 or len(over) != 64 or blob[:2] not in (b"Ed", b"ED"):
        raise ValueError("no minisign signature")
    signed = data if blob[:2] == b"Ed" else hashlib.blake2b(data).digest()
    return blob[2:10], signed, blob[10:], lines[2].removeprefix("trusted comment: ").encode(), over


def _minisign_key(text: str, passphrase: Callable[[], str], file: str) -> tuple[bytes, bytes]:
    """The seed and the number of a minisign secret key."""
    blob = _decoded(text.strip().splitlines()[-1])
    if len(blob) != 158 or blob[:2] != b"Ed" or blob[2:4] not in (b"Sc", b"\0\0") or blob[4:6] != b"B2":
        raise InvalidError(f"{file} is no minisign secret key")
    secret, locked = blob[54:], blob[2:4] == b"Sc"
    if locked:
        ops, memory = struct.unpack("<QQ", blob[38:54])
        secret = _unlocked(secret, passphrase(), blob[6:38], ops, memory)
    key_id, seed, public, checksum = secret[:8], secret[8:40], secret[40:72], secret[72:]
    # A key that never had a passphrase may have no sum either: minisign -G -W leaves zeros.
    sums = [hashlib.blake2b(b"Ed" + key_id + seed + public, digest_size=32).digest()] + [bytes(32)] * (not locked)
    if checksum not in sums:
        raise InvalidError(f"{file}: the passphrase is wrong" if locked else f"{file} is damaged: its sum is another")
    return seed, key_id


def _unlocked(secret: bytes, passphrase: str, salt: bytes, ops: int, memory: int) -> bytes:
    """What libsodium's crypto_pwhash_scryptsalsa208sha256 and an XOR make of it."""
    ops = max(ops, 32768)
    if ops < memory // 32:
        cost, parallel = (ops // 32).bit_length() - 1, 1
    else:
        cost = (memory // 1024).bit_length() - 1
        parallel = min(0x3FFFFFFF, (ops // 4) // (1 << cost)) // 8 or 1
    if memory > _SCRYPT_MEMORY or cost > 24:
        raise InvalidError("the secret key asks for more memory than is reasonable")
    stream = hashlib.scrypt(
        passphrase.encode(), salt=salt, n=1 << cost, r=8, p=parallel, dklen=len(secret), maxmem=_SCRYPT_MEMORY
    )
    return bytes(a ^ b for a, b in zip(secret, stream, strict=True))


# -- signing ---------------------------------------------------------------------------------------------------------


def sign(data: bytes, secret_key: str, *, name: str, passphrase: Callable[[], str], file: str) -> tuple[str, bytes]:
    """The suffix and content of the signature file for ``data`` (which will be called ``name``).

    ``secret_key`` is the text of an OpenSSH or minisign secret key, ``file`` its name for messages; ``passphrase`` is
    asked only for a key that is locked. Raises InvalidError.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if "OPENSSH PRIVATE KEY" in secret_key:
        key = _ssh_key(secret_key, passphrase, file)
        public = _strings(_SSH_TYPE, key.public_key().public_bytes_raw())
        signature = _strings(_SSH_TYPE, key.sign(_ssh_signed(data)))
        blob = b"SSHSIG" + struct.pack(">I", 1) + _strings(public, NAMESPACE, b"", b"sha512", signature)
        body = base64.b64encode(blob).decode()
        lines = [body[place : place + 70] for place in range(0, len(body), 70)]
        return SSH, "\n".join([_BEGIN, *lines, _END, ""]).encode()
    if not secret_key.strip():
        raise InvalidError(f"{file} is empty")
    if secret_key.startswith("ssh-"):
        raise InvalidError(f"{file} is a public key", hint="the secret key signs; it is the file without .pub")
    seed, key_id = _minisign_key(secret_key, passphrase, file)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    made = key.sign(hashlib.blake2b(data).digest())
    comment = f"timestamp:{int(time.time())}\tfile:{name}\thashed"
    over = base64.b64encode(key.sign(made + comment.encode())).decode()
    head = base64.b64encode(b"ED" + key_id + made).decode()
    return MINISIGN, f"untrusted comment: signature of {name}\n{head}\ntrusted comment: {comment}\n{over}\n".encode()


def _ssh_key(text: str, passphrase: Callable[[], str], file: str) -> Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        try:
            key = load_ssh_private_key(text.encode(), None)
        except TypeError:
            key = load_ssh_private_key(text.encode(), passphrase().encode())
    except UnsupportedAlgorithm:
        raise InvalidError(
            f"{file} is locked in a way that needs the package bcrypt", hint="pip install bcrypt, or use minisign"
        ) from None
    except ValueError as error:
        raise InvalidError(f"{file} cannot be used: {error}", hint="is the passphrase right?") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidError(f"{file} is no Ed25519 key", hint="ssh-keygen -t ed25519 makes one")
    return key
