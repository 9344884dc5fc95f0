"""The key that seals a release's own secrets: from ``PVEHELM_KEY``, or an owner-only file made when first needed.

``PVEHELM_KEY`` is any text of at least 16 characters (teams share it with the store); the file holds a random one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache

from pvehelm.errors import InvalidError, NotFoundError, StoreError
from pvehelm.release.journal import Journal
from pvehelm.release.release import ReleaseKey

VARIABLE = "PVEHELM_KEY"
SHORTEST = 16


class SealingKey:
    """Seals, opens and fingerprints texts. ``id`` tells keys apart without saying anything about them."""

    def __init__(self, material: str) -> None:
        import base64
        import hmac

        root = _root(material)
        self._mac = hmac.digest(root, b"compare", "sha256")
        self._sign = hmac.digest(root, b"sign", "sha256")
        self._box = base64.urlsafe_b64encode(hmac.digest(root, b"seal", "sha256"))
        self.id = hmac.digest(root, b"id", "sha256").hex()[:12]

    def __repr__(self) -> str:
        return f"SealingKey(id={self.id!r})"

    def seal(self, text: str) -> bytes:
        from cryptography.fernet import Fernet

        return Fernet(self._box).encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Raises StoreError if the text was sealed with another key or is damaged."""
        from cryptography.fernet import Fernet, InvalidToken

        try:
            return Fernet(self._box).decrypt(sealed).decode()
        except InvalidToken:
            raise StoreError(
                "cannot read the secret: it was sealed with another key",
                hint=f"set {VARIABLE} to the key it was made with",
            ) from None

    def hmac(self, text: str) -> str:
        """``KEYID:HEX``: the same for the same text, says nothing about it without the key."""
        return self._keyed(self._mac, text)

    def sign(self, text: str) -> str:
        """``KEYID:HEX``, and never the fingerprint of anything: whoever sees those of texts of their own can't sign."""
        return self._keyed(self._sign, text)

    def _keyed(self, key: bytes, text: str) -> str:
        import hmac

        return f"{self.id}:{hmac.digest(key, text.encode(), 'sha256').hex()}"

    def matches(self, mac: str, text: str) -> bool:
        """Whether ``mac`` was made from ``text``. Raises StoreError if it was made with another key."""
        return self._same(mac, self.hmac(text))

    def signed(self, signature: str, text: str) -> bool:
        """Whether ``text`` has that signature. Raises StoreError if it was made with another key."""
        return self._same(signature, self.sign(text))

    def _same(self, mac: str, own: str) -> bool:
        import hmac

        if mac.partition(":")[0] != self.id:
            raise StoreError(
                "cannot compare: the recorded secret was fingerprinted with another key",
                hint=f"set {VARIABLE} to the key it was made with",
            )
        return hmac.compare_digest(mac, own)


@lru_cache(4)
def _root(material: str) -> bytes:
    """What everything else is derived from; slow, so made once by a process that opens its store again and again."""
    import hashlib

    # A passphrase must be slow to guess; the salt only separates this use from others of the same passphrase.
    return hashlib.scrypt(material.encode(), salt=b"pvehelm release secrets", n=2**14, r=8, p=1, dklen=32)


class KeySource:
    """Finds the key when somebody asks for it."""

    def __init__(self, path: str, environ: Mapping[str, str] = os.environ) -> None:
        """``path`` is the key file, used if the environment has no ``PVEHELM_KEY``."""
        self.path = path
        self._environ = environ
        self._key: SealingKey | None = None

    def get(self, *, create: bool = False, purpose: str = "read") -> SealingKey:
        """The key; made if there is none and ``create`` says so.

        Raises StoreError (``cannot PURPOSE ...``) without a key, InvalidError for one that is too short or too public.
        """
        if self._key is None:
            material = self._environ.get(VARIABLE, "")
            if material and len(material) < SHORTEST:
                raise InvalidError(f"{VARIABLE} is too short: a key has at least {SHORTEST} characters")
            material = material or self._read() or (self._make() if create else "")
            if not material:
                raise StoreError(
                    f"cannot {purpose}: the key of the release secrets is not here",
                    hint=f"set {VARIABLE}, or bring back {self.path}",
                )
            self._key = SealingKey(material)
        return self._key

    def _read(self) -> str:
        try:
            with open(self.path, encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
                material = file.read().strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"key file {self.path}: {error}") from error
        if mode & 0o077:
            raise InvalidError(
                f"key file {self.path}: others may read it (mode {mode:03o})", hint=f"chmod 600 {self.path}"
            )
        if len(material) < SHORTEST:
            raise StoreError(f"key file {self.path}: it holds no key", hint="bring it back from a backup")
        return material

    def _make(self) -> str:
        import secrets

        folder = os.path.dirname(self.path) or "."
        draft = f"{self.path}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                with suppress(FileExistsError):  # of two processes the first one's key counts
                    os.link(draft, self.path)
            finally:
                os.unlink(draft)
        except OSError as error:
            raise StoreError(f"key file {self.path}: {error.strerror or error}") from error
        return self._read()


class SealedSecrets(Journal):
    """The part of the store that keeps ``secret://release/NAME``: values that pvehelm made or saw once."""

    keys: KeySource

    def put_secret(self, key: ReleaseKey, name: str, text: str) -> None:
        """Keep a sealed value for ``secret://release/NAME`` of this release. Makes the key when first needed."""
        sealing = self._key("seal the secret")
        with self.db.transaction():
            self.db.execute(
                "INSERT INTO secrets (release_id, name, key_id, sealed, updated) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (release_id, name) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed, "
                "updated = excluded.updated",
                (self.ensure_id(key), name, sealing.id, sealing.seal(text), self.clock()),
            )

    def get_secret(self, key: ReleaseKey, name: str) -> str:
        """The value. Raises NotFoundError if there is none, StoreError without the key it was sealed with."""
        sealed = self.db.value("SELECT sealed FROM secrets WHERE release_id = ? AND name = ?", (self.id_of(key), name))
        if sealed is None:
            known = ", ".join(self.secret_names(key)) or "none"
            raise NotFoundError(f"secret://release/{name}: release {key} keeps no such secret", hint=f"kept: {known}")
        return self.keys.get(purpose=f"read secret://release/{name}").open(bytes(sealed))

    def secret_names(self, key: ReleaseKey) -> list[str]:
        sql = "SELECT name FROM secrets WHERE release_id = ? ORDER BY name"
        return [row["name"] for row in self.db.rows(sql, (self.id_of(key),))]

    def secrets_since(self, key: ReleaseKey, when: float) -> set[str]:
        """The names of the secrets that were kept since a time (unix seconds, by the store's clock)."""
        sql = "SELECT name FROM secrets WHERE release_id = ? AND updated >= ?"
        return {row["name"] for row in self.db.rows(sql, (self.id_of(key), when))}

    def hmac(self, text: str, *, create: bool = True) -> str:
        """A keyed fingerprint of a secret, to see changes by; without ``create`` a missing key is a StoreError."""
        return (self._key("compare") if create else self.keys.get(purpose="compare")).hmac(text)

    def _key(self, purpose: str) -> SealingKey:
        """The key; made where there is none yet. Another computer's key can't be made up: where the store keeps
        secrets already, theirs is the one to bring. Raises StoreError."""
        try:
            return self.keys.get(purpose=purpose)
        except StoreError:
            if self.db.value("SELECT 1 FROM secrets LIMIT 1") is not None:
                raise
        return self.keys.get(create=True, purpose=purpose)

    def hmac_matches(self, mac: str, text: str) -> bool:
        """Whether ``text`` has that fingerprint. Raises StoreError ("cannot compare") without the key it came from."""
        return self.keys.get(purpose="compare").matches(mac, text)

    def sign(self, text: str) -> str:
        """A keyed signature of a text of pvehelm's own."""
        return self._key("sign").sign(text)

    def signed(self, signature: str, text: str) -> bool:
        """Whether ``text`` has that signature. Raises StoreError without the key it came from."""
        return self.keys.get(purpose="check the signature").signed(signature, text)
