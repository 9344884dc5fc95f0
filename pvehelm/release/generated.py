"""What a release's templates made up by chance, kept as sealed secrets of the release (``chart.kept`` asks).

New values follow from the sealing key, the release and the place they are asked for, so that a dry run, a saved plan
and the install that comes after see the same; once installed, it is the kept value that counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pvehelm.chart import chance
from pvehelm.chart.chance import Seeded, seeded_by
from pvehelm.chart.kept import SLOW, TYPES, check_generate
from pvehelm.errors import InvalidError, NotFoundError, Problem

if TYPE_CHECKING:
    from pvehelm.release.release import ReleaseKey
    from pvehelm.release.store import Store

#: Functions whose result is a text that nobody shall read in a manifest.
_SECRET = frozenset(
    {"randAlphaNum", "randAlpha", "randNumeric", "randAscii", "randBytes", "genPrivateKey", "encryptAES"}
)
#: What one rendering may have made: values, and characters altogether.
MOST, LONGEST = 10_000, 4 * 1024 * 1024
#: A shorter random text is a suffix of a name rather than a secret.
_SHORTEST = 8
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789"


class Placeholders:
    """Answers for a rendering without a release: the same at every time, and known to everybody.

    ``count`` says how many were given. With ``keys`` keys, certificates and password digests are among them, which
    takes a while; else they are made anew each time.
    """

    def __init__(self, *, keys: bool = True) -> None:
        self.keys = keys
        self.count = 0

    def __call__(self, question: Any) -> Any:
        kind, name, site = question[:3]
        if kind != "once" or (name in SLOW and not self.keys):
            return None
        import hashlib

        self.count += 1
        return {"seed": hashlib.sha256(f"placeholder {name} {site}".encode()).hexdigest()}


class Keeper:
    """Answers for one release. ``made`` is what has to be sealed with the next revision: name -> text."""

    def __init__(self, store: Store, key: ReleaseKey) -> None:
        self.store = store
        self.key = key
        self.made: dict[str, str] = {}
        #: Texts to be hidden where they stand in manifests and notes: name -> text.
        self.secret: dict[str, str] = {}
        self._names: set[str] | None = None
        self._room = LONGEST

    def __call__(self, question: Any) -> Any:
        kind, *rest = question
        if kind == "once":
            return self._once(*rest)
        if kind == "keep":
            return self._keep(*rest)
        if kind == "generate":
            return self._generate(*rest)
        return None

    def _once(self, function: str, site: str) -> dict[str, Any]:
        name = _name(site)
        text = self._kept(name)
        if text is None:
            return {"seed": self._seed(f"once {function} {site}")}
        value = text if function in _SECRET else json.loads(text)
        self._hide(function, name, value)
        return {"value": value}

    def _keep(self, function: str, site: str, value: Any) -> None:
        name = _name(site)
        self._make(name, value if function in _SECRET and isinstance(value, str) else json.dumps(value))
        self._hide(function, name, value)

    def _make(self, name: str, text: str) -> None:
        self.made[name] = text
        self._room -= len(text)
        if self._room < 0 or len(self.made) > MOST:
            what = f"the templates want more than {MOST} random values, or {LONGEST // 1024 // 1024} MiB of them, kept"
            raise InvalidError(what, [Problem("", what, "a loop that never ends?")])

    def _hide(self, function: str, name: str, value: Any) -> None:
        if isinstance(value, str) and function in _SECRET and len(value) >= _SHORTEST:
            self.secret[name] = value
        elif isinstance(value, dict) and isinstance(value.get("Key"), str):
            part = f"{name}/key"
            self.secret[part] = value["Key"]
            if self._kept(part) is None:
                self._make(part, value["Key"])

    def _generate(self, kind: str, name: str, options: Mapping[str, Any]) -> None:
        check_generate(kind, name, options)
        parts = [f"generated/{name}" + (f"/{part}" if part else "") for part in TYPES[kind][0]]
        if all(self._kept(part) is not None for part in parts):
            return
        texts = generated(kind, name, options, Seeded(self._seed(f"generate {kind} {name}")))
        for part, text in zip(parts, texts, strict=True):
            self._make(part, text)

    def _kept(self, name: str) -> str | None:
        if name in self.made:
            return self.made[name]
        if self._names is None:
            try:
                self._names = set(self.store.secret_names(self.key))
            except NotFoundError:
                self._names = set()
        return self.store.get_secret(self.key, name) if name in self._names else None

    def _seed(self, purpose: str) -> str:
        # Never a fingerprint: those of texts that somebody chose stand in plans.
        return self.store.sign(f"seed {self.key.cluster} {self.key} {purpose}")


def _name(site: str) -> str:
    return f"random/{site[:24]}"


def generated(kind: str, name: str, options: Mapping[str, Any], seeded: Seeded) -> list[str]:
    """The texts of the parts of one ``generate`` call, in the order of ``TYPES``."""
    import uuid

    if kind == "password":
        return [seeded.text("".join(dict.fromkeys(options.get("alphabet") or _LETTERS)), options.get("length", 24))]
    if kind == "token":
        return [seeded.bytes(options.get("bytes", 32)).hex()]
    if kind == "uuid":
        return [str(uuid.UUID(bytes=seeded.bytes(16), version=4))]
    if kind == "ssh-key":
        return _ssh_key(options.get("comment") or name, seeded)
    if kind == "wireguard-key":
        return _wireguard(seeded)
    with seeded_by(seeded):
        return _certificate(name, options)


def _ssh_key(comment: str, seeded: Seeded) -> list[str]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(seeded.bytes(32))
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    return [private.decode(), f"{public.decode()} {' '.join(comment.split())}"]


def _wireguard(seeded: Seeded) -> list[str]:
    import base64

    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = X25519PrivateKey.from_private_bytes(seeded.bytes(32))
    return [base64.b64encode(part).decode() for part in (key.private_bytes_raw(), key.public_key().public_bytes_raw())]


def _certificate(name: str, options: Mapping[str, Any]) -> list[str]:
    """A self-signed server certificate on P-256."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form

    key = chance.new_key("ecdsa")
    days = options.get("days", 3650)
    common = options.get("name") or name
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common[:64])])
    names: list[x509.GeneralName] = []
    for one in options.get("names") or [common]:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(one)))
        except ValueError:
            names.append(x509.DNSName(one.encode("idna").decode() if not one.isascii() else one))
    now = chance.start_of(days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(chance.below(1 << 127) + 1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256(), **chance.signing(key))
    )
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return [private.decode(), made.public_bytes(form.Encoding.PEM).decode()]
