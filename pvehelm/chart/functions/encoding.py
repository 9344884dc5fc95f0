"""Encoding, digest, random, path and URL functions, with Sprig's and Helm's names and argument order."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import posixpath
import string as letters
import urllib.parse
import zlib
from collections.abc import Callable
from typing import Any

from pvehelm.chart import chance
from pvehelm.chart.functions.common import (
    Block,
    FunctionError,
    Text,
    bounded,
    integer,
    mapping,
    plain,
    string,
    text,
)
from pvehelm.errors import InvalidError


def toYaml(value: Any) -> Text:
    from pvehelm.chart import yaml

    try:
        return Text(yaml.dump(plain(value)).removesuffix("\n"))
    except InvalidError as error:
        raise FunctionError(error.message) from None


def yaml_(value: Any) -> Block:
    """``toYaml`` that is indented to where it is printed."""
    return Block(toYaml(value))


def fromYaml(value: Any) -> Any:
    """The data of a YAML text; of several documents, as in Helm, that of the first."""
    from pvehelm.chart import yaml

    try:
        found = yaml.load_all(str(string(value)), file="text", lines=False)
        return found[0].data if found else None
    except InvalidError as error:
        first = error.problems[0] if error.problems else None
        raise FunctionError(f"fromYaml: {first.where}: {first.what}" if first else error.message) from None


def fromYamlArray(value: Any) -> list[Any]:
    found = fromYaml(value)
    if not isinstance(found, list):
        raise FunctionError("fromYamlArray: the text is not a list")
    return found


_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def toJson(value: Any) -> Text:
    return Text(toRawJson(value).translate(_HTML))


def toRawJson(value: Any) -> Text:
    return Text(json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False))


def toPrettyJson(value: Any) -> Text:
    shown = json.dumps(plain(value), ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    return Text(shown.translate(_HTML))


def fromJson(value: Any) -> Any:
    try:
        return json.loads(string(value))
    except (ValueError, RecursionError) as error:
        raise FunctionError(f"fromJson: {error}") from None


def fromJsonArray(value: Any) -> list[Any]:
    found = fromJson(value)
    if not isinstance(found, list):
        raise FunctionError("fromJsonArray: the text is not a list")
    return found


def fromToml(value: Any) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(string(value))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FunctionError(f"fromToml: {error}") from None


def b64enc(value: Any) -> str:
    return base64.b64encode(_bytes(value)).decode()


def b64dec(value: Any) -> str:
    try:
        return base64.b64decode(_bytes(value), validate=True).decode("utf-8", "replace")
    except binascii.Error as error:
        raise FunctionError(f"b64dec: {error}") from None


def b32enc(value: Any) -> str:
    return base64.b32encode(_bytes(value)).decode()


def b32dec(value: Any) -> str:
    try:
        return base64.b32decode(_bytes(value)).decode("utf-8", "replace")
    except binascii.Error as error:
        raise FunctionError(f"b32dec: {error}") from None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else string(value).encode()


def sha1sum(value: Any) -> str:
    return hashlib.sha1(_bytes(value), usedforsecurity=False).hexdigest()


def sha256sum(value: Any) -> str:
    return hashlib.sha256(_bytes(value)).hexdigest()


def sha512sum(value: Any) -> str:
    return hashlib.sha512(_bytes(value)).hexdigest()


def adler32sum(value: Any) -> str:
    return str(zlib.adler32(_bytes(value)))


def uuidv4() -> str:
    import uuid

    return str(uuid.UUID(bytes=chance.some_bytes(16), version=4))


def _random(alphabet: str, count: Any) -> str:
    bounded(integer(count) * 1000)
    return chance.some_text(alphabet, integer(count))


def randAlphaNum(count: Any) -> str:
    return _random(letters.ascii_letters + letters.digits, count)


def randAlpha(count: Any) -> str:
    return _random(letters.ascii_letters, count)


def randNumeric(count: Any) -> str:
    return _random(letters.digits, count)


def randAscii(count: Any) -> str:
    return _random("".join(map(chr, range(32, 127))), count)


def randBytes(count: Any) -> str:
    bounded(integer(count) * 1000)
    return base64.b64encode(chance.some_bytes(max(integer(count), 0))).decode()


def randInt(low: Any, high: Any) -> int:
    span = integer(high) - integer(low)
    if span <= 0:
        raise FunctionError("randInt: the second number must be larger than the first")
    return integer(low) + chance.below(span)


def base(path: Any) -> str:
    body = string(path)
    return "." if not body else posixpath.basename(body.rstrip("/")) or "/"


def clean(path: Any) -> str:
    cleaned = posixpath.normpath(string(path)) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def dir_(path: Any) -> str:
    return clean(string(path).rpartition("/")[0] + "/" if "/" in string(path) else ".")


def ext(path: Any) -> str:
    _, dot, suffix = string(path).rpartition("/")[2].rpartition(".")
    return dot + suffix if dot else ""


def isAbs(path: Any) -> bool:
    return string(path).startswith("/")


def urlParse(value: Any) -> dict[str, str]:
    try:
        parts = urllib.parse.urlsplit(string(value))
        hostname = parts.hostname or ""
    except ValueError as error:
        raise FunctionError(f"urlParse: {error}") from None
    userinfo, _, host = parts.netloc.rpartition("@")
    opaque = parts.path if parts.scheme and not parts.netloc and parts.path[:1] not in ("/", "") else ""
    return {
        "scheme": parts.scheme,
        "userinfo": userinfo,
        "host": host,
        "hostname": hostname,
        "path": "" if opaque else urllib.parse.unquote(parts.path),
        "query": parts.query,
        "fragment": parts.fragment,
        "opaque": opaque,
    }


def urlJoin(value: Any) -> str:
    parts = {key: text(item) for key, item in mapping(value).items()}
    host = parts.get("host", "")
    if parts.get("userinfo"):
        host = f"{parts['userinfo']}@{host}"
    if parts.get("opaque"):
        return f"{parts.get('scheme', '')}:{parts['opaque']}"
    path = urllib.parse.quote(parts.get("path", ""), safe="/:@!$&'()*+,;=~")
    return urllib.parse.urlunsplit(
        (parts.get("scheme", ""), host, path, parts.get("query", ""), parts.get("fragment", ""))
    )


def urlquery(*values: Any) -> str:
    return urllib.parse.quote_plus("".join(text(value) for value in values))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "toYaml": toYaml,
    "yaml": yaml_,
    "fromYaml": fromYaml,
    "fromYamlArray": fromYamlArray,
    "toJson": toJson,
    "toRawJson": toRawJson,
    "toPrettyJson": toPrettyJson,
    "fromJson": fromJson,
    "fromJsonArray": fromJsonArray,
    "fromToml": fromToml,
    "b64enc": b64enc,
    "b64dec": b64dec,
    "b32enc": b32enc,
    "b32dec": b32dec,
    "sha1sum": sha1sum,
    "sha256sum": sha256sum,
    "sha512sum": sha512sum,
    "adler32sum": adler32sum,
    "uuidv4": uuidv4,
    "randAlphaNum": randAlphaNum,
    "randAlpha": randAlpha,
    "randNumeric": randNumeric,
    "randAscii": randAscii,
    "randBytes": randBytes,
    "randInt": randInt,
    "base": base,
    "osBase": base,
    "clean": clean,
    "osClean": clean,
    "dir": dir_,
    "osDir": dir_,
    "ext": ext,
    "osExt": ext,
    "isAbs": isAbs,
    "osIsAbs": isAbs,
    "urlParse": urlParse,
    "urlJoin": urlJoin,
    "urlquery": urlquery,
}
