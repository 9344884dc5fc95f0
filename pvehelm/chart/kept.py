"""What templates make up by chance, made once: random texts, keys and certificates are the same at every later render.

Rendering asks its parent (``Ask``), which knows what was kept: ``["once", FUNCTION, SITE]`` is answered by
``{"value": ...}``, by ``{"seed": HEX}`` where it is still to be made, or by null where nobody keeps anything;
``["keep", FUNCTION, SITE, VALUE]`` tells what was made. SITE says which call it is: the file that is rendered, the
function with its arguments, and how many such calls there were before in that file.

``generate(TYPE, NAME, ...)`` gives references to secrets by name and is never asked what they are.
"""

from __future__ import annotations

import functools
import hashlib
import json
import string as letters
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.sandbox import Ask
from pvehelm.chart.secrets import Tokens

#: Functions whose result is a matter of chance, or differs from call to call.
RANDOM = frozenset(
    {
        *("randAlphaNum", "randAlpha", "randNumeric", "randAscii", "randBytes", "randInt", "uuidv4", "shuffle"),
        *("genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey"),
        *("genSignedCert", "genSignedCertWithKey", "htpasswd", "bcrypt", "encryptAES"),
    }
)
_ALPHABETS = {
    "randAlphaNum": letters.ascii_letters + letters.digits,
    "randAlpha": letters.ascii_letters,
    "randNumeric": letters.digits,
    "randAscii": "".join(map(chr, range(32, 127))),
}

#: What ``generate`` makes: type -> (its parts, with "" for the thing itself; the options it takes).
TYPES: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "password": (("",), frozenset({"length", "alphabet"})),
    "token": (("",), frozenset({"bytes"})),
    "uuid": (("",), frozenset()),
    "ssh-key": (("private", "public"), frozenset({"comment"})),
    "wireguard-key": (("private", "public"), frozenset()),
    "certificate": (("private", "certificate"), frozenset({"name", "names", "days"})),
}
PREFIX = "secret://release/generated/"


class Seeded:
    """An endless stream of numbers that follows from a seed and says nothing about it."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._count = 0
        self._pool = b""

    def bytes(self, count: int) -> bytes:
        while len(self._pool) < count:
            self._pool += hashlib.sha256(self._seed + self._count.to_bytes(8, "big")).digest()
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


class Kept:
    """The random functions and ``generate`` for one rendering. ``file`` is the template that is being rendered."""

    def __init__(self, ask: Ask, tokens: Tokens) -> None:
        self.ask = ask
        self.tokens = tokens
        self.file = ""
        self._calls: Counter[str] = Counter()

    def once(
        self, name: str, function: Callable[..., Any], revive: Callable[[Any], Any] = lambda value: value
    ) -> Callable[..., Any]:
        """``function``, called only where nothing is kept. ``revive`` makes of JSON what the dialect works with."""

        @functools.wraps(function)
        def called(*args: Any, **options: Any) -> Any:
            call = json.dumps([self.file, name, args, options], default=_plain, sort_keys=True)
            site = hashlib.sha256(f"{call}#{self._calls[call]}".encode()).hexdigest()
            self._calls[call] += 1
            answer = self.ask(["once", name, site])
            if answer is None:
                return function(*args, **options)
            if "value" in answer:
                return revive(answer["value"])
            made = _seeded(name, args, Seeded(answer["seed"])) if not options else None
            if made is None:
                made = function(*args, **options)
            self.ask(["keep", name, site, json.loads(json.dumps(made, default=_plain))])
            return made

        return called

    def generate(self, kind: Any, name: Any, settings: Any = None, **options: Any) -> Any:
        """A reference to a secret that is made with the release, or a map of them: see ``TYPES``."""
        options = {**(settings if isinstance(settings, dict) else {}), **options}
        check_generate(kind, name, options)
        plain = json.loads(json.dumps(options, default=str))
        self.ask(["generate", str(kind), str(name), plain])
        parts = {part: self.tokens.token(reference_of(str(name), part)) for part in TYPES[kind][0]}
        return parts.get("", parts)


def reference_of(name: str, part: str) -> str:
    """The reference of a part of what ``generate`` makes."""
    return PREFIX + name + (f"/{part}" if part else "")


def check_generate(kind: Any, name: Any, options: Mapping[str, Any]) -> None:
    """Raises FunctionError for a call of ``generate`` that makes no sense."""
    if kind not in TYPES:
        raise FunctionError(f"generate does not know {kind!r}; it makes {', '.join(TYPES)}")
    if not isinstance(name, str) or not name or len(name) > 100 or set(name) - set(_NAME):
        raise FunctionError(f"generate: {name!r} is no name; letters, digits, '-', '_' and '.' make one")
    unknown = sorted(set(options) - TYPES[kind][1])
    if unknown:
        known = ", ".join(sorted(TYPES[kind][1])) or "none"
        raise FunctionError(f"generate: {kind} has no option {unknown[0]!r}; it has {known}")
    for option, low, high in (("length", 4, 1024), ("bytes", 4, 1024), ("days", 1, 36500)):
        value = options.get(option, low)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise FunctionError(f"generate: {option} is a number from {low} to {high}")
    for option in ("alphabet", "comment", "name"):
        if not isinstance(options.get(option, ""), str):
            raise FunctionError(f"generate: {option} is a text")
    if "alphabet" in options and not 1 < len(set(options["alphabet"])) <= 200:
        raise FunctionError("generate: alphabet has 2 to 200 different letters")
    names = options.get("names", [])
    if not isinstance(names, list) or not all(isinstance(one, str) and one for one in names):
        raise FunctionError("generate: names is a list of host names and addresses")


_NAME = letters.ascii_letters + letters.digits + "-_."


def _seeded(name: str, args: tuple[Any, ...], seeded: Seeded) -> Any:
    """What a function makes of a seed; None for those that cannot, and for arguments that it shall refuse itself."""
    import base64
    import uuid

    count = args[0] if len(args) == 1 and isinstance(args[0], int) and not isinstance(args[0], bool) else -1
    if name == "uuidv4" and not args:
        return str(uuid.UUID(bytes=seeded.bytes(16), version=4))
    if name == "randInt" and len(args) == 2 and all(type(arg) is int for arg in args) and args[0] < args[1]:
        return args[0] + seeded.below(args[1] - args[0])
    if name == "shuffle" and len(args) == 1 and isinstance(args[0], str):
        pool = list(args[0])
        return "".join(pool.pop(seeded.below(len(pool))) for _ in args[0])
    if not 0 <= count <= 100_000:
        return None
    if name in _ALPHABETS:
        return seeded.text(_ALPHABETS[name], count)
    if name == "randBytes":
        return base64.b64encode(seeded.bytes(count)).decode()
    return None


def _plain(value: Any) -> Any:
    """An object with a certificate and its key, as the library of a dialect has it, for JSON."""
    for reach in (getattr, lambda thing, part: thing.field(part)):
        try:
            return {part: str(reach(value, part)) for part in ("Cert", "Key")}
        except Exception:  # whatever a dialect's objects raise for a field that they do not have
            continue
    return str(value)
