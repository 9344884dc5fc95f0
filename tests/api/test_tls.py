"""Whom the client trusts: real handshakes on 127.0.0.1."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from pvehelm.api.client import Client, TokenAuth
from pvehelm.api.tls import TLS, CertificateError, fingerprint_of_pem, normal_fingerprint, probe_fingerprint
from pvehelm.errors import InvalidError, TransportError
from tests.api.serving import Certificate, Server, Time, listening, serving, well

TOKEN = TokenAuth("root@pam!helm", "11111111-2222-3333-4444-555555555555")


async def ask(tls: TLS | None, certificate: Certificate, *, host: str = "127.0.0.1") -> tuple[object, Server]:
    time = Time()
    async with serving(well, certificate) as server:
        async with Client(
            f"https://{host}:{server.port}", TOKEN, tls=tls, sleep=time.sleep, clock=time.clock
        ) as client:
            try:
                outcome: object = await client.get("/version")
            except TransportError as error:
                outcome = error
        assert not time.slept, "a certificate does not get better by asking again"
        return outcome, server


FINE = "GET /api2/json/version HTTP/1.1"


def test_own_ca_file(certificate: Certificate) -> None:
    outcome, _ = asyncio.run(ask(TLS(ca_file=certificate.file), certificate))
    assert outcome == FINE


def test_the_name_counts_with_a_ca_file(certificate: Certificate) -> None:
    assert asyncio.run(ask(TLS(ca_file=certificate.file), certificate, host="localhost"))[0] == FINE
    context = TLS(ca_file=certificate.file).context()
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED


def test_unknown_authority_is_refused_before_anything_is_sent(
    certificate: Certificate, other_certificate: Certificate
) -> None:
    for tls in (None, TLS(), TLS(ca_file=other_certificate.file)):
        outcome, server = asyncio.run(ask(tls, certificate))
        assert isinstance(outcome, CertificateError)
        assert not outcome.sent
        assert "not trusted" in str(outcome)
        assert "fingerprint" in outcome.hint
        assert not server.heard


@pytest.mark.parametrize("spelling", ["upper", "lower", "bare", "spaces", "dashes", "openssl", "tuple"])
def test_pinned_fingerprint(certificate: Certificate, spelling: str) -> None:
    pin = certificate.fingerprint
    given = {
        "upper": pin,
        "lower": pin.lower(),
        "bare": pin.replace(":", ""),
        "spaces": pin.replace(":", " ").lower(),
        "dashes": pin.replace(":", "-"),
        "openssl": f"sha256 Fingerprint={pin}",
        "tuple": ("00" * 32, pin),
    }[spelling]
    assert asyncio.run(ask(TLS(fingerprint=given), certificate))[0] == FINE


def test_wrong_fingerprint(certificate: Certificate, other_certificate: Certificate) -> None:
    for insecure in (False, True):
        outcome, server = asyncio.run(
            ask(TLS(fingerprint=other_certificate.fingerprint, insecure=insecure), certificate)
        )
        assert isinstance(outcome, CertificateError)
        assert not outcome.sent
        assert certificate.fingerprint in str(outcome)
        assert other_certificate.fingerprint in str(outcome)
        assert "/etc/pve/local/pve-ssl.pem" in outcome.hint
        assert not server.heard


def test_fingerprint_and_ca_file_are_both_asked_for(certificate: Certificate, other_certificate: Certificate) -> None:
    both = TLS(ca_file=certificate.file, fingerprint=certificate.fingerprint)
    assert asyncio.run(ask(both, certificate))[0] == FINE
    wrong_ca = TLS(ca_file=other_certificate.file, fingerprint=certificate.fingerprint)
    assert isinstance(asyncio.run(ask(wrong_ca, certificate))[0], CertificateError)


def test_insecure(certificate: Certificate) -> None:
    assert asyncio.run(ask(TLS(insecure=True), certificate))[0] == FINE


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_environment_has_no_say(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv(variable, str(garbage))
    assert asyncio.run(ask(TLS(ca_file=certificate.file), certificate))[0] == FINE
    store = len(TLS().context().get_ca_certs())
    # And what the environment trusts, the client does not.
    monkeypatch.setenv(variable, str(certificate.file))
    assert len(TLS().context().get_ca_certs()) == store
    assert isinstance(asyncio.run(ask(TLS(), certificate))[0], CertificateError)


def test_bad_ca_files(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    for file, words in ((garbage, "no PEM certificates"), (tmp_path / "none.pem", "cannot be read")):
        with pytest.raises(InvalidError, match=words) as caught:
            TLS(ca_file=file).context()
        assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["", "AA:BB", "zz" * 32, "ab" * 20, "ab" * 33])
def test_no_fingerprints(text: str) -> None:
    with pytest.raises(InvalidError, match="SHA-256"):
        normal_fingerprint(text)


def test_a_bad_pin_is_found_before_any_connection() -> None:
    with pytest.raises(InvalidError, match="SHA-1"):
        Client("pve1", TOKEN, tls=TLS(fingerprint="ab" * 20))


def test_fingerprint_of_pem(certificate: Certificate, other_certificate: Certificate) -> None:
    pem = certificate.file.read_text()
    assert fingerprint_of_pem("Issuer: ...\n" + pem + other_certificate.file.read_text()) == certificate.fingerprint
    assert fingerprint_of_pem(pem.replace("\n", "\r\n").encode()) == certificate.fingerprint
    for text in ("", "hello", "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----"):
        with pytest.raises(InvalidError, match="PEM"):
            fingerprint_of_pem(text)


def test_probe(certificate: Certificate) -> None:
    async def main() -> tuple[str, int]:
        async with serving(well, certificate) as server:
            return await probe_fingerprint("127.0.0.1", server.port), len(server.heard)

    assert asyncio.run(main()) == (certificate.fingerprint, 0)


def test_probe_of_what_is_no_tls_server() -> None:
    async def main() -> None:
        async with serving(well) as server:
            port = server.port
        with pytest.raises(TransportError, match="refused") as caught:
            await probe_fingerprint("127.0.0.1", port)
        assert not caught.value.sent

        async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-hello\r\n")
            await writer.drain()
            await reader.read()
            writer.close()

        async with listening(hello) as port:
            with pytest.raises(TransportError, match="no certificate"):
                await probe_fingerprint("127.0.0.1", port)

    asyncio.run(main())
