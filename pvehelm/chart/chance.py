"""The chance: what keys, salts and serial numbers are made of. The system's randomness, or a seed where one is given.

Within :func:`seeded_by` everything follows from the seed, so that a plan shows the very certificates which the install
after it makes. Signatures are made without randomness there, and a certificate begins with the day (short ones: with
the hour) rather than this very second.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_PUBLIC_EXPONENT = 65537
_SIEVE = 8192
_ROUNDS = 8
#: From so many bits on OpenSSL takes a number for the modulus of a key.
_LONG = 1024


class Seeded:
    """An endless stream of numbers that follows from a seed and says nothing about it."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0
        self._pool = b""

    def bytes(self, count: int) -> bytes:
        from hashlib import sha256

        while len(self._pool) < count:
            self._pool += sha256(self._seed + self._count.to_bytes(8, "big")).digest()
            self._count += 1
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def below(self, end: int) -> int:
        """A number of 0..end-1, each as likely."""
        size = (end.bit_length() + 7) // 8 or 1
        limit = 256**size - 256**size % end
        while True:
            number = int.from_bytes(self.bytes(size), "big")
            if number < limit:
                return number % end

    def text(self, alphabet: str, count: int) -> str:
        return "".join(alphabet[self.below(len(alphabet))] for _ in range(count))

    def prime(self, bits: int) -> int:
        """A prime of so many bits, its two highest and two lowest set, that an RSA key can be made of."""
        top = 3 << bits - 2
        while True:
            start = self.below(1 << bits) | top | 3
            for found in _candidates(start, bits, 4):
                if found % _PUBLIC_EXPONENT != 1 and self._is_prime(found):
                    return found

    def _is_prime(self, number: int) -> bool:
        if number % 4 == 3 and number.bit_length() >= _LONG:
            return all(_passed(number) for _ in range(_ROUNDS))
        return _witnessed(number, 2) and all(_witnessed(number, 3 + self.below(1 << 64)) for _ in range(_ROUNDS))


_seeded: ContextVar[Seeded | None] = ContextVar("seeded", default=None)


@contextmanager
def seeded_by(source: Seeded) -> Iterator[None]:
    """Let everything of this module follow from a seed."""
    token = _seeded.set(source)
    try:
        yield
    finally:
        _seeded.reset(token)


def some_bytes(count: int) -> bytes:
    import secrets

    source = _seeded.get()
    return source.bytes(count) if source else secrets.token_bytes(count)


def below(end: int) -> int:
    """A number of 0..end-1."""
    import secrets

    source = _seeded.get()
    return source.below(end) if source else secrets.randbelow(end)


def some_text(alphabet: str, count: int) -> str:
    import secrets

    source = _seeded.get()
    return source.text(alphabet, count) if source else "".join(secrets.choice(alphabet) for _ in range(count))


def shuffled(text: str) -> str:
    """The same letters in another order."""
    pool = list(text)
    for last in range(len(pool) - 1, 0, -1):
        other = below(last + 1)
        pool[last], pool[other] = pool[other], pool[last]
    return "".join(pool)


def start_of(days: int) -> dt.datetime:
    """When a certificate begins that is made now, for so many days."""
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    if _seeded.get() is None:
        return now
    # A day of a long life, an hour of a day's: short lives lose little, and plan and install see the same.
    step = 3600 * min(max(days, 1), 24)
    return dt.datetime.fromtimestamp(int(now.timestamp()) // step * step, dt.UTC)


def signing(key: Any) -> dict[str, Any]:
    """Options of a certificate builder's ``sign`` with ``key``."""
    from cryptography.hazmat.primitives.asymmetric import ec

    seeded = _seeded.get() is not None and isinstance(key, ec.EllipticCurvePrivateKey)
    return {"ecdsa_deterministic": True} if seeded else {}


def new_key(kind: str, size: int = 2048) -> Any:
    """A private key: ``rsa`` of ``size`` bits, ``dsa`` (2048 bits), ``ecdsa`` (P-256) or ``ed25519``."""
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

    source = _seeded.get()
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(some_bytes(32))
    if kind == "ecdsa":
        curve = ec.SECP256R1()
        return ec.derive_private_key(below(_P256_ORDER - 1) + 1, curve)
    if kind == "dsa":
        return _dsa(source) if source else dsa.generate_private_key(2048)
    return _rsa(source, size) if source else rsa.generate_private_key(_PUBLIC_EXPONENT, size)


_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _rsa(source: Seeded, size: int) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    p = source.prime(size // 2)
    q = source.prime(size // 2)
    while abs(p - q) >> size // 2 - 100 == 0:
        q = source.prime(size // 2)
    if p < q:
        p, q = q, p
    d = pow(_PUBLIC_EXPONENT, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(_PUBLIC_EXPONENT, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key(
        unsafe_skip_rsa_key_validation=True
    )


def _dsa(source: Seeded) -> Any:
    from cryptography.hazmat.primitives.asymmetric import dsa

    q = source.prime(256)
    # Both are 3 of 4, which makes the search a fast one.
    step = 4 * q
    p = 0
    while not p:
        start = (source.below(1 << 2047) | 1 << 2047) // step * step + 2 * q + 1
        p = next((one for one in _candidates(start, 2048, step) if source._is_prime(one)), 0)
    g = pow(2, (p - 1) // q, p)
    x = source.below(q - 1) + 1
    parameters = dsa.DSAParameterNumbers(p, q, g)
    return dsa.DSAPrivateNumbers(x, dsa.DSAPublicNumbers(pow(g, x, p), parameters)).private_key()


def _small_primes() -> list[int]:
    marks = bytearray([1]) * _SIEVE
    for one in range(3, math.isqrt(_SIEVE) + 1, 2):
        marks[one * one :: one] = bytes(len(range(one * one, _SIEVE, one)))
    return [one for one in range(3, _SIEVE, 2) if marks[one]]


def _candidates(start: int, bits: int, step: int) -> Iterator[int]:
    """The numbers from ``start`` on in steps that have no small factor, as far as they have so many bits."""
    count = 16 * bits
    marks = bytearray([1]) * count
    for small in _small_primes():
        if step % small:
            first = -start * pow(step, -1, small) % small
            marks[first::small] = bytes(len(range(first, count, small)))
    for index in range(count):
        if marks[index]:
            found = start + index * step
            if found.bit_length() > bits:
                return
            yield found


def _witnessed(number: int, base: int) -> bool:
    """Whether ``base`` says that an odd number may be prime (Miller and Rabin's test)."""
    odd = number - 1
    twos = (odd & -odd).bit_length() - 1
    odd >>= twos
    power = pow(base, odd, number)
    if power in (1, number - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def _passed(number: int) -> bool:
    """One round of the same test with a base that OpenSSL's padding makes up, ten times as fast as Python's ``pow``.

    Of a number that is 3 of 4 the test asks for one power only, (number - 1) / 2. That is what encrypting with a key of
    this exponent computes, and if the number is a prime, 1 or -1 comes out whatever was encrypted.
    """
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.RSAPublicNumbers((number - 1) // 2, number).public_key()
    return int.from_bytes(key.encrypt(b"", padding.PKCS1v15()), "big") in (1, number - 1)
