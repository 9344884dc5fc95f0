"""The server's self-signed certificate, made once and kept beside the state."""

from __future__ import annotations

import hashlib
import os
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

_NAME = "simulator-certificate.pem"
_DAYS = 3650


@dataclass(frozen=True, slots=True)
class Certificate:
    """Key and certificate as PEM; ``fingerprint`` is SHA-256 in upper-case hexadecimal with colons."""

    pem: str
    fingerprint: str

    def load_into(self, context: ssl.SSLContext) -> None:
        # The ssl module only loads from files.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pair.pem"
            path.touch(mode=0o600)
            path.write_text(self.pem)
            context.load_cert_chain(path)


def certificate(folder: Path | None, host: str) -> Certificate:
    """The certificate kept in ``folder`` (made when missing), or a fresh one without a folder."""
    path = folder / _NAME if folder else None
    if path is not None and path.exists():
        return _described(path.read_text())
    pem = _make(host)
    if path is not None:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(pem)
    return _described(pem)


def _described(pem: str) -> Certificate:
    begin = pem.index("-----BEGIN CERTIFICATE-----")
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[begin:])).hexdigest().upper()
    return Certificate(pem, ":".join(digest[i : i + 2] for i in range(0, len(digest), 2)))


def _make(host: str) -> str:
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pvehelm simulator")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(list(dict.fromkeys(names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + made.public_bytes(serialization.Encoding.PEM)).decode()
