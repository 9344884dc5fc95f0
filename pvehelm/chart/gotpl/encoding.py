"""Encodings, digests, random texts, paths and URLs of Sprig."""

from __future__ import annotations

import base64
import binascii
import hashlib
import posixpath
import re
import string
import urllib.parse
import zlib
from typing import Any

from pvehelm.chart import chance
from pvehelm.chart.gotpl.quoting import quote
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, bounded, from_bytes, strval, to_bytes, type_of


@function("b64enc", "string", "string")
def b64enc(value: str) -> str:
    """A text in base64."""
    return binascii.b2a_base64(to_bytes(value), newline=False).decode()


@function("b64dec", "string", "string")
def b64dec(value: str) -> str:
    """A text from base64; the complaint if it is none."""
    try:
        return from_bytes(base64_bytes(value))
    except GoError as error:
        return str(error)


def base64_bytes(value: str) -> bytes:
    """The bytes of a base64 text, in which line breaks do not count. Raises GoError with Go's complaint."""
    raw = to_bytes(value)
    body = raw.translate(None, b"\r\n")
    if not len(body) % 4 and not body.translate(None, _BASE64).rstrip(b"="):
        try:
            return binascii.a2b_base64(body, strict_mode=True)
        except binascii.Error:
            if not body:
                return b""
    raise GoError(f"illegal base64 data at input byte {_corrupt(raw)}")


_BASE64 = (string.ascii_letters + string.digits + "+/").encode()
_BREAKS = b"\r\n"


def _corrupt(raw: bytes) -> int:
    """Where Go finds the first fault."""
    at = held = 0
    while at < len(raw):
        byte = raw[at]
        at += 1
        if byte in _BASE64:
            held = (held + 1) % 4
        elif byte == 61 and held > 1:
            while at < len(raw) and raw[at] in _BREAKS:
                at += 1
            if held == 2:
                if at == len(raw):
                    return len(raw)
                if raw[at] != 61:
                    return at - 1
                at += 1
                while at < len(raw) and raw[at] in _BREAKS:
                    at += 1
            return at
        elif byte not in _BREAKS:
            return at - 1
    return at - held


@function("b32enc", "string", "string")
def b32enc(value: str) -> str:
    """A text in base32."""
    return base64.b32encode(to_bytes(value)).decode()


@function("b32dec", "string", "string")
def b32dec(value: str) -> str:
    """A text from base32; the complaint if it is none."""
    body = to_bytes(value).translate(None, _BREAKS)
    fault = _corrupt32(body)
    if fault is not None:
        return f"illegal base32 data at input byte {fault}"
    # What stands behind the padding is not looked at.
    end = body.find(b"=")
    return from_bytes(base64.b32decode(body if end < 0 else body[: end // 8 * 8 + 8]))


_BASE32 = (string.ascii_uppercase + "234567").encode()


def _corrupt32(body: bytes) -> int | None:
    """Where Go finds the first fault in base32."""
    for start in range(0, len(body), 8):
        group = body[start : start + 8]
        rest = len(body) - start
        for held, byte in enumerate(group):
            if byte == 61 and held >= 2 and rest - held - 1 < 8:
                if rest < 8:
                    return len(body)
                wrong = next((k for k, other in enumerate(group[held + 1 :]) if other != 61), None)
                if wrong is not None:
                    return start + held + wrong
                return start + held if held in (3, 6) else None
            if byte not in _BASE32:
                return start + held
        if len(group) < 8:
            return start
    return None


@function("sha1sum", "string", "string")
def sha1sum(value: str) -> str:
    """The SHA-1 digest of a text, in hexadecimal."""
    return hashlib.sha1(to_bytes(value), usedforsecurity=False).hexdigest()


@function("sha256sum", "string", "string")
def sha256sum(value: str) -> str:
    """The SHA-256 digest of a text, in hexadecimal."""
    return hashlib.sha256(to_bytes(value)).hexdigest()


@function("sha512sum", "string", "string")
def sha512sum(value: str) -> str:
    """The SHA-512 digest of a text, in hexadecimal."""
    return hashlib.sha512(to_bytes(value)).hexdigest()


@function("adler32sum", "string", "string")
def adler32sum(value: str) -> str:
    """The Adler-32 checksum of a text, as a decimal number."""
    return str(zlib.adler32(to_bytes(value)))


@function("uuidv4", "", "string")
def uuidv4() -> str:
    """A random UUID."""
    import uuid

    return str(uuid.UUID(bytes=chance.some_bytes(16), version=4))


def _random(alphabet: str, count: int) -> str:
    if count < 0:
        raise GoError(f"Requested random string length {count} is less than 0.")
    bounded(count * 100)
    return chance.some_text(alphabet, count)


@function("randAlphaNum", "int", "string")
def randAlphaNum(count: int) -> str:
    """Random letters and digits."""
    return _random(string.ascii_letters + string.digits, count)


@function("randAlpha", "int", "string")
def randAlpha(count: int) -> str:
    """Random letters."""
    return _random(string.ascii_letters, count)


@function("randNumeric", "int", "string")
def randNumeric(count: int) -> str:
    """Random digits."""
    return _random(string.digits, count)


@function("randAscii", "int", "string")
def randAscii(count: int) -> str:
    """Random printable ASCII characters."""
    return _random("".join(map(chr, range(32, 127))), count)


@function("randBytes", "int", "string")
def randBytes(count: int) -> str:
    """Random bytes in base64."""
    if count < 0:
        raise GoError("runtime error: makeslice: len out of range")
    bounded(count * 2)
    return base64.b64encode(chance.some_bytes(count)).decode()


@function("randInt", "int, int", "int")
def randInt(low: int, high: int) -> int:
    """A random whole number from the first to before the second."""
    if high <= low:
        raise GoError("invalid argument to Intn")
    return low + chance.below(high - low)


@function("shuffle", "string", "string")
def shuffle(value: str) -> str:
    """A text with its characters in random order."""
    return chance.shuffled(value)


@function("base osBase", "string", "string")
def base(path: str) -> str:
    """The last part of a path."""
    return "." if not path else path.rstrip("/").rpartition("/")[2] or "/"


@function("clean osClean", "string", "string")
def clean(path: str) -> str:
    """The shortest path to the same place."""
    cleaned = posixpath.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


@function("dir osDir", "string", "string")
def dir_(path: str) -> str:
    """A path without its last part."""
    head, slash, _ = path.rpartition("/")
    return clean(head + slash)


@function("ext osExt", "string", "string")
def ext(path: str) -> str:
    """The extension of a path, with its point."""
    _, dot, suffix = path.rpartition("/")[2].rpartition(".")
    return dot + suffix if dot else ""


@function("isAbs osIsAbs", "string", "bool")
def isAbs(path: str) -> bool:
    """Whether a path begins at the root."""
    return path.startswith("/")


@function("getHostByName", "string", "string")
def getHostByName(name: str) -> str:
    """Always "": templates do not ask the network."""
    return ""


_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*\Z")
_PORT = re.compile(r"(?::[0-9]*)?\Z")
_USER = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*\Z")
#: In a host only "%" and characters beyond ASCII may be escaped.
_NO_HOST = re.compile(r"[ \\^`{|}]")
_HOST_ESCAPE = re.compile(r"%(?!25)[0-7].")
_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2}).{0,2}", re.DOTALL)


@function("urlParse", "string", "map")
def urlParse(value: str) -> dict[str, Any]:
    """The parts of a URL: scheme, userinfo, host, hostname, path, query, fragment, opaque."""
    return _url(value)


def _url(value: str) -> dict[str, Any]:
    def fail(why: str) -> GoError:
        return GoError(f"unable to parse url: parse {quote(value)}: {why}")

    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise fail("net/url: invalid control character in URL")
    rest, _, fragment = value.partition("#")
    scheme, colon, after = rest.partition(":")
    if colon and _SCHEME.match(scheme):
        rest = after
    elif colon and not scheme:
        raise fail("missing protocol scheme")
    else:
        if colon and not re.search("[/?]", scheme) and rest[:1].isalpha() and not re.search(r"[^a-zA-Z0-9+.-]", scheme):
            raise fail("missing protocol scheme")
        scheme = ""
    rest, _, query = rest.partition("?")
    opaque = userinfo = host = ""
    if scheme and rest and not rest.startswith("/"):
        opaque, rest = rest, ""
    elif not scheme and ":" in rest.partition("/")[0]:
        raise fail("first path segment in URL cannot contain colon")
    elif rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        rest = slash + path
        userinfo, at, host = authority.rpartition("@")
        if not at:
            userinfo, host = "", authority
        bad = _ESCAPE.search(host) or _HOST_ESCAPE.search(host) or _ESCAPE.search(userinfo)
        if bad:
            raise fail(f"invalid URL escape {quote(bad[0])}")
        if odd := _NO_HOST.search(host):
            raise fail(f"invalid character {quote(odd[0])} in host name")
        if host.startswith("[") and "]" not in host:
            raise fail("missing ']' in host")
        port = _port(host)
        if not _PORT.match(port):
            raise fail(f"invalid port {quote(port)} after host")
        if not _USER.match(userinfo):
            raise fail("net/url: invalid userinfo")
    bad = _ESCAPE.search(rest) or _ESCAPE.search(fragment)
    if bad:
        raise fail(f"invalid URL escape {quote(bad[0])}")
    hostname = host.removesuffix(_port(host))
    if hostname.startswith("[") and hostname.endswith("]"):
        hostname = hostname[1:-1]
    return {
        "scheme": scheme.lower(),
        "host": _unescaped(host) if "%" in host else host,
        "hostname": hostname,
        "path": _unescaped(rest),
        "query": query,
        "opaque": opaque,
        "fragment": _unescaped(fragment),
        "userinfo": _user(userinfo),
    }


def _port(host: str) -> str:
    """The port with its colon, if there is one."""
    if host.startswith("["):
        return host[host.rfind("]") + 1 :]
    return host[host.rfind(":") :] if ":" in host else ""


def _unescaped(value: str) -> str:
    return from_bytes(urllib.parse.unquote_to_bytes(to_bytes(value))) if "%" in value else value


def _escaped(value: str, safe: str) -> str:
    return urllib.parse.quote(to_bytes(value), safe=safe)


def _user(userinfo: str) -> str:
    name, colon, password = userinfo.partition(":")
    shown = _escaped(_unescaped(name), "$&+,;=-_.~")
    return shown + colon + _escaped(_unescaped(password), "$&+,;=-_.~") if colon else shown


@function("urlJoin", "map", "string")
def urlJoin(parts: dict[str, Any]) -> str:
    """The URL of the parts that urlParse gives."""

    def part(name: str) -> str:
        value = parts.get(name, "")
        if value is not None and not isinstance(value, str):
            raise GoError(f"unable to parse {name} key, must be of type string, but {type_of(value)} found")
        return strval(value) if value else ""

    scheme, host, path, opaque = part("scheme"), part("host"), part("path"), part("opaque")
    query, fragment, userinfo = part("query"), part("fragment"), part("userinfo")
    out = scheme + ":" if scheme else ""
    if opaque:
        out += opaque
    else:
        if scheme or host or userinfo:
            out += "//" if host or path or userinfo else ""
            out += _user(userinfo) + "@" if userinfo else ""
            out += _escaped(host, "!$&'()*+,;=:[]<>\"-_.~")
        shown = _escaped(path, "$&+,/:;=@-_.~!'()*")
        if shown and not shown.startswith("/") and host:
            out += "/"
        if not out and ":" in shown.partition("/")[0]:
            out += "./"
        out += shown
    out += "?" + query if query else ""
    return out + ("#" + _escaped(fragment, "$&+,/:;=?@-_.~!'()*") if fragment else "")
