"""What the probes cannot say: certificates, the clock, bounds, types of arguments, objects."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from pvehelm.chart.gotpl.clock import Time
from pvehelm.chart.gotpl.crypto import Certificate
from pvehelm.chart.gotpl.library import BUILTINS, FUNCTIONS, SIGNATURES, ArgumentError
from pvehelm.chart.gotpl.values import GoError, Int64, StringMap, Strings, copy, deep_equal, kind_of, text, type_of
from pvehelm.chart.gotpl.yamlout import natural


def call(name: str, *arguments: Any) -> Any:
    return FUNCTIONS[name](*arguments)


def read(made: Certificate) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.Cert.encode())


@pytest.mark.parametrize(
    ("kind", "head"),
    [("ecdsa", "EC PRIVATE KEY"), ("ed25519", "PRIVATE KEY"), ("dsa", "DSA PRIVATE KEY")],
)
def test_private_keys_are_in_gos_form(kind: str, head: str) -> None:
    key = call("genPrivateKey", kind)
    assert key.startswith(f"-----BEGIN {head}-----\n")
    assert key.endswith(f"-----END {head}-----\n")
    assert load_pem_private_key(key.encode(), None)


def test_a_certificate_authority_signs() -> None:
    authority = call("genCAWithKey", "my-ca", 30, call("genPrivateKey", "ecdsa"))
    key = call("genPrivateKey", "ed25519")
    made = call("genSignedCertWithKey", "web", ["10.0.0.1", "fe80::1"], ["a.lan", "*.b.lan"], 3, authority, key)
    ca, leaf = read(authority), read(made)
    leaf.verify_directly_issued_by(ca)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert ca.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert leaf.subject.rfc4514_string() == "CN=web"
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == dt.timedelta(days=3)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.lan", "*.b.lan"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1", "fe80::1"]
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    assert made.Key == key
    again = call("buildCustomCert", call("b64enc", made.Cert), call("b64enc", made.Key))
    assert deep_equal(again, made)


def test_a_self_signed_certificate() -> None:
    made = call("genSelfSignedCertWithKey", "", None, None, 1, call("genPrivateKey", "ecdsa"))
    read(made).verify_directly_issued_by(read(made))
    assert made.field("Cert") == made.Cert
    assert type_of(made) == "sprig.certificate"
    with pytest.raises(GoError, match="can't evaluate field Other"):
        made.field("Other")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("genSelfSignedCertWithKey", ("a", ["x"], [], 1, "KEY"), "error parsing ip: x"),
        ("genSelfSignedCertWithKey", ("a", [1], [], 1, "KEY"), "error parsing ip: 1 is not a string"),
        ("genSelfSignedCertWithKey", ("a", [], [1], 1, "KEY"), "alternate dns name: 1 is not a string"),
        ("genCAWithKey", ("a", 1, "no key"), "no PEM data"),
        ("genCAWithKey", ("a", 1, "-----BEGIN CERTIFICATE-----\n"), "no private key data"),
        ("buildCustomCert", ("!", "!"), "unable to decode base64 certificate"),
        ("buildCustomCert", ("YQ==", "YQ=="), "unable to decode certificate"),
        ("decryptAES", ("a", "YQ=="), "out of range"),
    ],
)
def test_what_is_wrong_with_keys_is_said(name: str, arguments: tuple[Any, ...], message: str) -> None:
    key = call("genPrivateKey", "ecdsa")
    with pytest.raises(GoError, match=message):
        call(name, *[key if argument == "KEY" else argument for argument in arguments])


def test_passwords() -> None:
    import bcrypt

    user, _, digest = call("htpasswd", "me", "secret").partition(":")
    assert (user, digest[:7]) == ("me", "$2a$10$")
    assert bcrypt.checkpw(b"secret", digest.encode())
    assert "72 bytes" in call("bcrypt", "x" * 73)
    assert call("decryptAES", "key", call("encryptAES", "key", "a text")) == "a text"
    assert call("decryptAES", "key", "") == call("encryptAES", "key", "") == ""


def test_the_clock() -> None:
    now = call("now")
    assert isinstance(now, Time)
    assert abs(int(call("unixEpoch", now)) - dt.datetime.now(dt.UTC).timestamp()) < 60
    assert call("ago", now).endswith("s")
    assert call("durationRound", Int64(3 * 86400 * 10**9)) == "3d"
    assert " m=+" in text(now)
    assert call("date", "2006", 1.5) == call("date", "2006", now)
    assert text(call("toDate", "2006-01-02", "x")) == "0001-01-01 00:00:00 +0000 UTC"
    later = call("toDate", "2006-01-02", "2024-03-01").Sub(call("toDate", "2006-01-02", "2024-02-28"))
    assert (text(later), kind_of(later), later.Hours()) == ("48h0m0s", "int64", 48.0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("repeat", (10**9, "x")),
        ("until", (10**9,)),
        ("untilStep", (0, 10**12, 1)),
        ("seq", (1, 10**9)),
        ("randAlphaNum", (10**9,)),
        ("randBytes", (10**9,)),
        ("indent", (10**9, "x")),
        ("replace", ("", "x" * 10000, "y" * 10000)),
        ("regexReplaceAll", ("", "y" * 100000, "x" * 10000)),
        ("join", ("x" * 10**6, ["a"] * 1000)),
    ],
)
def test_nothing_grows_without_bounds(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(GoError, match="allowed"):
        call(name, *arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("trunc", (2.0, "x"), "expected int; got float64"),
        ("trunc", (Int64(2), "x"), "expected int; got int64"),
        ("upper", (None,), "invalid value; expected string"),
        ("b64enc", (5,), "expected string; got int"),
        ("hasKey", ([], "a"), r"expected map\[string\]interface {}; got \[\]interface {}"),
        ("set", (StringMap(), "a", "b"), r"got map\[string\]string"),
        ("ternary", (1, 2, None), "invalid value; expected bool"),
        ("unixEpoch", (5,), "expected time.Time; got int"),
        ("omit", ({}, "a", 1), "expected string; got int"),
    ],
)
def test_arguments_have_gos_types(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(name, *arguments)


def test_what_to_do_is_said() -> None:
    with pytest.raises(ArgumentError) as caught:
        call("trunc", 2.0, "x")
    assert "| int" in caught.value.hint
    with pytest.raises(GoError) as refused:
        call("regexFind", "a(?=b)", "ab")
    assert "look-around" in refused.value.hint


def test_signatures_fit_the_functions() -> None:
    for name, signature in SIGNATURES.items():
        assert len(signature.names) == len(signature.parameters), name
    assert set(BUILTINS) - set(FUNCTIONS) == set()
    assert BUILTINS["slice"]("abc", 1) == "bc"
    with pytest.raises(GoError, match="slice or array but string"):
        call("slice", "abc", 1)


def test_copies_keep_types_and_share_nothing() -> None:
    value = {"a": [1, {"b": Strings(["x"])}], "c": StringMap(d="e")}
    made = copy(value)
    assert deep_equal(made, value)
    assert made["a"] is not value["a"]
    assert type(made["a"][1]["b"]) is Strings
    assert not deep_equal({"a": 1}, {"a": 1.0})
    assert not deep_equal(1, Int64(1))


def test_merge_changes_its_first_map_and_shares_the_others() -> None:
    target, source = {"a": {"x": False}}, {"a": {"x": True, "y": 1}, "b": {"z": 1}, "n": None}
    assert call("merge", target, source) is target
    assert target == {"a": {"x": True, "y": 1}, "b": {"z": 1}}
    assert target["b"] is source["b"]
    assert call("mergeOverwrite", target, {"a": {"x": False}, "b": None}) is target
    assert target == {"a": {"x": False, "y": 1}, "b": None}


def test_digits_of_keys_count_by_their_number() -> None:
    assert natural("a2", "a10") < 0 < natural("a10", "a2")
    assert natural("a10", "a1b") < 0 < natural("a10", "a1b", True)
    assert natural("a", "a") == 0
