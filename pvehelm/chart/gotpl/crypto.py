"""Keys, certificates, password digests and AES of Sprig, by way of ``cryptography`` and ``bcrypt``."""

from __future__ import annotations

import base64
import string
from typing import Any, ClassVar

from pvehelm.chart import chance
from pvehelm.chart.gotpl.encoding import base64_bytes
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, GoObject, from_bytes, text, to_bytes


class Certificate(GoObject):
    """sprig.certificate: PEM texts."""

    __slots__ = ("Cert", "Key")
    go_type: ClassVar[str] = "sprig.certificate"
    names: ClassVar[tuple[str, ...]] = ("Cert", "Key")

    def __init__(self, cert: str, key: str) -> None:
        self.Cert = cert
        self.Key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and (self.Cert, self.Key) == (other.Cert, other.Key)

    __hash__ = object.__hash__


def _key_text(key: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    form = PrivateFormat.PKCS8 if isinstance(key, ed25519.Ed25519PrivateKey) else PrivateFormat.TraditionalOpenSSL
    shown: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return shown.decode()


def _read_key(value: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "-----BEGIN " not in value:
        raise GoError("no PEM data in input")
    kind = value.partition("-----BEGIN ")[2].partition("-----")[0]
    if not kind.endswith("PRIVATE KEY"):
        raise GoError(f"no private key data in PEM block of type {kind}")
    try:
        return load_pem_private_key(to_bytes(value), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise GoError(f"parsing private key from PEM: {error}") from None


def _read_certificate(value: str) -> Any:
    from cryptography import x509

    if "-----BEGIN " not in value:
        raise GoError("unable to decode certificate")
    try:
        return x509.load_pem_x509_certificate(to_bytes(value))
    except ValueError as error:
        raise GoError(f"error parsing certificate: decodedCert.Bytes: {error}") from None


def _names(ips: list[Any], dns: list[Any]) -> list[Any]:
    """The alternative names. Raises GoError for what is no text or no address."""
    import ipaddress

    from cryptography import x509

    found: list[Any] = []
    for name in dns:
        if not isinstance(name, str):
            raise GoError(f"error processing alternate dns name: {text(name)} is not a string")
        try:
            found.append(x509.DNSName(name))
        except ValueError:
            raise GoError(f'error creating certificate: x509: "{name}" cannot be encoded as an IA5String') from None
    for address in ips:
        if not isinstance(address, str):
            raise GoError(f"error parsing ip: {text(address)} is not a string")
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(address)))
        except ValueError:
            raise GoError(f"error parsing ip: {address}") from None
    return found


def _certificate(
    cn: str, names: list[Any], days: int, key: Any, issuer: tuple[Any, Any] | None = None, ca: bool = False
) -> Certificate:
    """A certificate for ``key``, signed by itself or by an issuer's (certificate, key)."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import dsa, ed25519
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    signer = issuer[1] if issuer else key
    if isinstance(signer, dsa.DSAPrivateKey) or isinstance(key, dsa.DSAPrivateKey):
        raise GoError("error creating certificate: x509: only RSA, ECDSA and Ed25519 keys supported")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn, _validate=False)] if cn else [])
    start = chance.start_of(days)
    try:
        end = start + dt.timedelta(days=days)
    except OverflowError:
        raise GoError("error creating certificate: cannot represent time as GeneralizedTime") from None
    if end < start:
        # Go makes certificates that are over before they begin, the library here does not.
        start = end
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(chance.below(1 << 127) + 1)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_encipherment=True,
                key_cert_sign=ca,
                content_commitment=False,
                data_encipherment=False,
                key_agreement=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if ca:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if issuer:
        try:
            known = issuer[0].extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
            authority = x509.AuthorityKeyIdentifier(known.digest, None, None)
            builder = builder.add_extension(authority, critical=False)
        except x509.ExtensionNotFound:
            pass
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not cn)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    made = builder.sign(signer, algorithm, **chance.signing(signer))
    return Certificate(made.public_bytes(Encoding.PEM).decode(), _key_text(key))


@function("genPrivateKey", "string", "string")
def genPrivateKey(kind: str) -> str:
    """A new private key as PEM: ``rsa`` (4096 bits), ``dsa``, ``ecdsa`` (P-256) or ``ed25519``."""
    if kind not in ("", "rsa", "dsa", "ecdsa", "ed25519"):
        return f"Unknown type {kind}"
    return _key_text(chance.new_key(kind, 4096))


@function("genCA", "string, int", "certificate")
def genCA(cn: str, days: int) -> Certificate:
    """A new certificate authority: ``.Cert`` and ``.Key``."""
    return _certificate(cn, [], days, chance.new_key("rsa"), ca=True)


@function("genCAWithKey", "string, int, string", "certificate")
def genCAWithKey(cn: str, days: int, key: str) -> Certificate:
    """A certificate authority with a given private key."""
    return _certificate(cn, [], days, _read_key(key), ca=True)


@function("genSelfSignedCert", "string, list, list, int", "certificate")
def genSelfSignedCert(cn: str, ips: list[Any], dns: list[Any], days: int) -> Certificate:
    """A new certificate that signs itself."""
    return _certificate(cn, _names(ips, dns), days, chance.new_key("rsa"))


@function("genSelfSignedCertWithKey", "string, list, list, int, string", "certificate")
def genSelfSignedCertWithKey(cn: str, ips: list[Any], dns: list[Any], days: int, key: str) -> Certificate:
    """A certificate that signs itself, with a given private key."""
    return _certificate(cn, _names(ips, dns), days, _read_key(key))


@function("genSignedCert", "string, list, list, int, sprig.certificate", "certificate")
def genSignedCert(cn: str, ips: list[Any], dns: list[Any], days: int, ca: Certificate) -> Certificate:
    """A new certificate signed by an authority."""
    issuer = (_read_certificate(ca.Cert), _read_key(ca.Key))
    return _certificate(cn, _names(ips, dns), days, chance.new_key("rsa"), issuer)


@function("genSignedCertWithKey", "string, list, list, int, sprig.certificate, string", "certificate")
def genSignedCertWithKey(cn: str, ips: list[Any], dns: list[Any], days: int, ca: Certificate, key: str) -> Certificate:
    """A certificate signed by an authority, with a given private key."""
    issuer = (_read_certificate(ca.Cert), _read_key(ca.Key))
    return _certificate(cn, _names(ips, dns), days, _read_key(key), issuer)


@function("buildCustomCert", "string, string", "certificate")
def buildCustomCert(certificate: str, key: str) -> Certificate:
    """A certificate and its key from base64 of their PEM texts."""

    def decoded(value: str, what: str) -> str:
        try:
            return from_bytes(base64_bytes(value))
        except GoError:
            raise GoError(f"unable to decode base64 {what}") from None

    found = Certificate(decoded(certificate, "certificate"), decoded(key, "private key"))
    _read_certificate(found.Cert)
    try:
        _read_key(found.Key)
    except GoError as error:
        raise GoError(f"error parsing private key: {error}") from None
    return found


#: From the alphabet of base64 (with "./" at its end) to that of bcrypt, which has the same letters in another order.
_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
_BCRYPT = bytes.maketrans(f"{_LETTERS}./".encode(), f"./{_LETTERS}".encode())


@function("bcrypt", "string", "string")
def bcrypt(password: str) -> str:
    """The bcrypt digest of a password."""
    import bcrypt as library

    if len(to_bytes(password)) > 72:
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
    salt = base64.b64encode(chance.some_bytes(16), b"./")[:22].translate(_BCRYPT)
    return library.hashpw(to_bytes(password), b"$2a$10$" + salt).decode()


@function("htpasswd", "string, string", "string")
def htpasswd(user: str, password: str) -> str:
    """A line of a password file: user and bcrypt digest."""
    return f"invalid username: {user}" if ":" in user else f"{user}:{bcrypt(password)}"


def _cipher(password: str, start: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = to_bytes(password)[:32].ljust(32, b"\0")
    return Cipher(algorithms.AES(key), modes.CBC(start))


@function("encryptAES", "string, string", "string")
def encryptAES(password: str, value: str) -> str:
    """A text encrypted with AES-256-CBC, in base64."""
    if not value:
        return ""
    body = to_bytes(value)
    padding = 16 - len(body) % 16
    start = chance.some_bytes(16)
    encryptor = _cipher(password, start).encryptor()
    sealed = encryptor.update(body + bytes([padding]) * padding) + encryptor.finalize()
    return base64.b64encode(start + sealed).decode()


@function("decryptAES", "string, string", "string")
def decryptAES(password: str, value: str) -> str:
    """The text that encryptAES encrypted."""
    if not value:
        return ""
    sealed = base64_bytes(value)
    if len(sealed) < 32:
        raise GoError("runtime error: slice bounds out of range")
    if len(sealed) % 16:
        raise GoError("crypto/cipher: input not full blocks")
    decryptor = _cipher(password, sealed[:16]).decryptor()
    body = decryptor.update(sealed[16:]) + decryptor.finalize()
    if body[-1] > len(body):
        raise GoError("runtime error: slice bounds out of range")
    return from_bytes(body[: len(body) - body[-1]])


_SEED = b"com.lyndir.masterpassword"
_TEMPLATES = {
    "maximum": "anoxxxxxxxxxxxxxxxxx axxxxxxxxxxxxxxxxxno",
    "long": "CvcvnoCvcvCvcv CvcvCvcvnoCvcv CvcvCvcvCvcvno CvccnoCvcvCvcv CvccCvcvnoCvcv CvccCvcvCvcvno CvcvnoCvccCvcv "
    "CvcvCvccnoCvcv CvcvCvccCvcvno CvcvnoCvcvCvcc CvcvCvcvnoCvcc CvcvCvcvCvccno CvccnoCvccCvcv CvccCvccnoCvcv "
    "CvccCvccCvcvno CvcvnoCvccCvcc CvcvCvccnoCvcc CvcvCvccCvccno CvccnoCvcvCvcc CvccCvcvnoCvcc CvccCvcvCvccno",
    "medium": "CvcnoCvc CvcCvcno",
    "short": "Cvcn",
    "basic": "aaanaaan aannaaan aaannaaa",
    "pin": "nnnn",
}
_CHARACTERS = {
    "V": "AEIOU",
    "C": "BCDFGHJKLMNPQRSTVWXYZ",
    "v": "aeiou",
    "c": "bcdfghjklmnpqrstvwxyz",
    "A": "AEIOUBCDFGHJKLMNPQRSTVWXYZ",
    "a": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
    "n": "0123456789",
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
}


@function("derivePassword", "uint32, string, string, string, string", "string")
def derivePassword(counter: int, kind: str, password: str, user: str, site: str) -> str:
    """A password made from a master password: ``maximum``, ``long``, ``medium``, ``short``, ``basic`` or ``pin``."""
    import hashlib
    import hmac

    if kind not in _TEMPLATES:
        return f"cannot find password template {kind}"
    name, place = to_bytes(user), to_bytes(site)
    salt = _SEED + len(name).to_bytes(4, "big") + name
    key = hashlib.scrypt(to_bytes(password), salt=salt, n=32768, r=8, p=2, dklen=64, maxmem=128 << 20)
    message = _SEED + len(place).to_bytes(4, "big") + place + counter.to_bytes(4, "big")
    seed = hmac.new(key, message, "sha256").digest()
    templates = _TEMPLATES[kind].split()
    template = templates[seed[0] % len(templates)]
    return "".join(
        [_CHARACTERS[mark][byte % len(_CHARACTERS[mark])] for mark, byte in zip(template, seed[1:], strict=False)]
    )
