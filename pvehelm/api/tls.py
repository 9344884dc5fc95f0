"""TLS towards a node: whom we trust, and how we tell one certificate from another.

The context is built here from explicit sources only: no environment variable (``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``, ``SSLKEYLOGFILE``) has a say in it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pvehelm.errors import InvalidError, TransportError

_WELL_KNOWN_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s*(.*?)\s*-----END CERTIFICATE-----", re.DOTALL)
_ON_THE_NODE = "openssl x509 -in /etc/pve/local/pve-ssl.pem -noout -fingerprint -sha256"


class CertificateError(TransportError):
    """The server's certificate is not the one we may trust. Nothing was sent, and trying again is no use."""


@dataclass(frozen=True, slots=True)
class TLS:
    """How to know that the server is the right one.

    ``ca_file``      PEM file of certificates to trust instead of the system's store.
    ``fingerprint``  SHA-256 of the server's own certificate, 64 hex digits in any case, with any separators; several
                     (one for each node) as a tuple. No authority is needed then, and names are not compared.
    ``insecure``     trust anybody. A ``fingerprint`` is still checked.
    """

    ca_file: str | Path | None = None
    fingerprint: str | tuple[str, ...] | None = None
    insecure: bool = False

    def pins(self) -> frozenset[str]:
        """The fingerprints in their one spelling (``AA:BB:...``); raises InvalidError when one is malformed."""
        if not self.fingerprint:
            return frozenset()
        given = (self.fingerprint,) if isinstance(self.fingerprint, str) else self.fingerprint
        return frozenset(normal_fingerprint(text) for text in given)

    def context(self) -> ssl.SSLContext:
        """A new context (about 20 ms with the system's store; make one for each cluster). Raises InvalidError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        pinned = bool(self.pins())
        if pinned or self.insecure:
            context.check_hostname = False
        if self.insecure or (pinned and self.ca_file is None):
            context.verify_mode = ssl.CERT_NONE
        elif self.ca_file is not None:
            _load(context, Path(self.ca_file))
        else:
            _load_system_store(context)
        return context

    def check(self, certificate: bytes | None, where: str) -> None:
        """Compare the leaf certificate (DER) of ``where`` (host:port) with the pins; raises CertificateError."""
        pins = self.pins()
        if not pins:
            return
        seen = fingerprint_of_der(certificate) if certificate else "no certificate"
        if seen not in pins:
            raise CertificateError(
                f"the certificate of {where} is not the pinned one\n"
                f"  expected SHA-256 {' or '.join(sorted(pins))}\n  got      SHA-256 {seen}",
                sent=False,
                hint=f"nothing was sent. If the certificate was renewed, compare with what the node itself says "
                f"({_ON_THE_NODE}) and pin the new fingerprint; otherwise someone may be in between",
            )


def normal_fingerprint(text: str) -> str:
    """``AA:BB:...`` (32 pairs, upper case) of a SHA-256 fingerprint in any spelling; raises InvalidError."""
    bare = re.sub(r"^\s*(?:sha-?256)?(?: fingerprint)?\s*[=: ]\s*", "", text, flags=re.IGNORECASE)
    digits = re.sub(r"[\s:;,.\-_]", "", bare).upper()
    if not re.fullmatch(r"[0-9A-F]{64}", digits):
        what = f"not a SHA-256 fingerprint: {text!r}"
        hint = f"64 hex digits, as printed by: {_ON_THE_NODE}"
        if re.fullmatch(r"[0-9A-F]{40}", digits):
            what += " (40 digits are SHA-1)"
        raise InvalidError(what, hint=hint)
    return ":".join(digits[i : i + 2] for i in range(0, 64, 2))


def fingerprint_of_der(certificate: bytes) -> str:
    """SHA-256 fingerprint (``AA:BB:...``) of a certificate in DER form."""
    return normal_fingerprint(hashlib.sha256(certificate).hexdigest())


def fingerprint_of_pem(pem: str | bytes) -> str:
    """SHA-256 fingerprint (``AA:BB:...``) of the first certificate in a PEM text; raises InvalidError.

    Of the cluster's root CA (``GET /nodes/N/certificates/info``, file ``pve-root-ca.pem``) it identifies the cluster.
    """
    found = _PEM.search(pem.encode() if isinstance(pem, str) else pem)
    try:
        if not found:
            raise ValueError("no certificate in it")
        return fingerprint_of_der(base64.b64decode(b"".join(found[1].split()), validate=True))
    except (ValueError, binascii.Error) as error:
        raise InvalidError(f"not a PEM certificate: {error}") from None


async def probe_fingerprint(host: str, port: int = 8006, *, timeout: float = 10.0) -> str:
    """SHA-256 fingerprint of the certificate that ``host:port`` shows now. Proves nothing: a person must compare it.

    Raises TransportError when there is no TLS server there.
    """
    context = TLS(insecure=True).context()
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except (OSError, TimeoutError) as error:
        raise TransportError(f"no certificate from {host}:{port}: {describe(error)}", sent=False) from error
    try:
        tls = writer.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    return fingerprint_of_der(certificate)


def describe(error: BaseException) -> str:
    """One short line about a network error, without the interpreter's decorations."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if not str(error):
        return "timed out" if isinstance(error, TimeoutError) else type(error).__name__
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return re.sub(r"^Connect call failed .*", "connection refused", error.strerror)
    return str(error)


def _load(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=str(path))
    except ssl.SSLError as error:
        raise InvalidError(f"{path}: no PEM certificates in it ({describe(error)})") from None
    except OSError as error:
        raise InvalidError(f"{path}: cannot be read: {error.strerror}") from None
    # A node's own certificate, named as ca_file, is an anchor as it stands.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _load_system_store(context: ssl.SSLContext) -> None:
    # set_default_verify_paths() would let SSL_CERT_FILE and SSL_CERT_DIR win; these are the compiled-in places.
    paths = ssl.get_default_verify_paths()
    for file in (paths.openssl_cafile, *_WELL_KNOWN_BUNDLES, *_certifi()):
        if file and Path(file).is_file():
            try:
                context.load_verify_locations(cafile=file)
            except (ssl.SSLError, OSError):
                continue
            break
    if paths.openssl_capath and Path(paths.openssl_capath).is_dir():
        context.load_verify_locations(capath=paths.openssl_capath)


def _certifi() -> Iterable[str]:
    try:
        import certifi
    except ImportError:
        return
    yield certifi.where()
