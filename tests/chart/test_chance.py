"""What is made by chance follows from a seed where there is one, and is as good as any other."""

from __future__ import annotations

import datetime as dt

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.chart import chance
from pvehelm.chart.chance import Seeded, seeded_by
from pvehelm.chart.functions import FUNCTIONS


def pem(kind: str, seed: str, size: int = 2048) -> str:
    with seeded_by(Seeded(seed)):
        key = chance.new_key(kind, size)
    shown: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return shown.decode()


@pytest.mark.parametrize("kind", ["rsa", "dsa", "ecdsa", "ed25519"])
def test_a_key_follows_from_its_seed(kind: str) -> None:
    assert pem(kind, "a") == pem(kind, "a")
    assert pem(kind, "a") != pem(kind, "b")


@pytest.mark.parametrize("size", [2048, 3072])
def test_an_rsa_key_signs(size: int) -> None:
    with seeded_by(Seeded(f"sign {size}")):
        key = chance.new_key("rsa", size)
    assert key.key_size == size
    signed = key.sign(b"text", padding.PKCS1v15(), hashes.SHA256())
    key.public_key().verify(signed, b"text", padding.PKCS1v15(), hashes.SHA256())


def test_primes() -> None:
    source = Seeded("primes")
    for bits in (64, 96, 128, 1024, 1536):
        found = source.prime(bits)
        assert found.bit_length() == bits
        assert found >> bits - 2 == 3
        assert all(found % small for small in range(3, 4000, 2))
        assert all(pow(base, found - 1, found) == 1 for base in (2, 3, 5))


@pytest.mark.parametrize("bits", [40, 400])
def test_what_is_no_prime(bits: int) -> None:
    source = Seeded("composites")
    for _ in range(5):
        # Three factors that are 3 of 4 make a number that is so as well.
        composite = source.prime(bits) * source.prime(bits) * source.prime(bits)
        assert composite % 4 == 3
        assert not source._is_prime(composite)


def test_without_a_seed_nothing_repeats() -> None:
    assert chance.some_bytes(16) != chance.some_bytes(16)
    assert chance.new_key("ed25519").private_bytes_raw() != chance.new_key("ed25519").private_bytes_raw()
    before = dt.datetime.now(dt.UTC).replace(microsecond=0)
    assert before <= chance.start_of(30) <= dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(("days", "step"), [(1, 3600), (10, 36000), (365, 86400)])
def test_a_certificate_begins_with_its_day(days: int, step: int) -> None:
    before = dt.datetime.now(dt.UTC)
    with seeded_by(Seeded("")):
        start = chance.start_of(days)
    assert start.timestamp() % step == 0
    assert before - dt.timedelta(seconds=step) <= start <= dt.datetime.now(dt.UTC)


@pytest.mark.parametrize(
    "call",
    [
        ("randAlphaNum", 20), ("randAlpha", 5), ("randNumeric", 5), ("randAscii", 50), ("randBytes", 12), ("uuidv4",),
        ("randInt", 5, 900), ("shuffle", "abcdefghijkl"), ("bcrypt", "pw"), ("encryptAES", "key", "text"),
    ],
)  # fmt: skip
def test_functions_follow_from_a_seed(call: tuple[object, ...]) -> None:
    name, *args = call
    made = []
    for seed in "aab":
        with seeded_by(Seeded(seed)):
            made.append(FUNCTIONS[str(name)](*args))
    assert made[0] == made[1] != made[2]


def test_a_salt_from_a_seed_is_one_that_bcrypt_knows() -> None:
    import bcrypt

    for seed in map(str, range(5)):
        with seeded_by(Seeded(seed)):
            made = FUNCTIONS["htpasswd"]("user", "pw")
        user, _, digest = made.partition(":")
        assert user == "user"
        assert bcrypt.checkpw(b"pw", digest.encode())


@given(st.text(max_size=40))
def test_shuffled(text: str) -> None:
    with seeded_by(Seeded("x")):
        assert sorted(chance.shuffled(text)) == sorted(text)
