"""What templates make up by chance, made once: random texts, keys and certificates are the same at every later render.

Rendering asks its parent (``Ask``), which knows what was kept: ``["once", FUNCTION, SITE]`` is answered by
``{"value": ...}``, by ``{"seed": HEX}`` where it is still to be made, or by null where nobody keeps anything;
``["keep", FUNCTION, SITE, VALUE]`` tells what was made. SITE says which call it is: the file that is rendered, the
function with its arguments, and how many such calls there were before in that file.

``generate(TYPE, NAME, ...)`` gives references to secrets by name and is never asked what they are.
"""

from __future__ import annotations

import functools
import json
import string as letters
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from pvehelm.chart.cell import Ask
from pvehelm.chart.chance import Seeded, seeded_by
from pvehelm.chart.functions.common import FunctionError
from pvehelm.chart.secrets import Tokens

#: Functions whose result is a matter of chance, or differs from call to call.
RANDOM = frozenset(
    {
        *("randAlphaNum", "randAlpha", "randNumeric", "randAscii", "randBytes", "randInt", "uuidv4", "shuffle"),
        *("genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey"),
        *("genSignedCert", "genSignedCertWithKey", "htpasswd", "bcrypt", "encryptAES"),
    }
)
#: ... that take their time.
SLOW = frozenset(name for name in RANDOM if name.startswith("gen")) | {"htpasswd", "bcrypt"}

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
            from hashlib import sha256

            site = sha256(f"{call}#{self._calls[call]}".encode()).hexdigest()
            self._calls[call] += 1
            answer = self.ask(["once", name, site])
            if answer is None:
                return function(*args, **options)
            if "value" in answer:
                return revive(answer["value"])
            with seeded_by(Seeded(answer["seed"])):
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


def _plain(value: Any) -> Any:
    """An object with a certificate and its key, as the library of a dialect has it, for JSON."""
    for reach in (getattr, lambda thing, part: thing.field(part)):
        try:
            return {part: str(reach(value, part)) for part in ("Cert", "Key")}
        except Exception:  # whatever a dialect's objects raise for a field that they do not have
            continue
    return str(value)
