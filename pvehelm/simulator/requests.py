"""Request bodies and queries, with the real server's habits.

Form data is split at ``&`` and ``;``, a value ends at its second ``=``, a repeated key makes a list, bytes that are not
UTF-8 become U+FFFD. JSON must be an object; null means "not sent".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_plus

BODY_LIMIT = 512 * 1024
UPLOAD_LIMIT = 256 * 1024 * 1024
"""Bytes of a file that the simulator takes (it keeps none)."""
_FORM = "application/x-www-form-urlencoded"


class BodyError(Exception):
    """The body cannot be read; answered with ``status`` and a plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def parse_form(text: str) -> dict[str, Any]:
    """``a=1&a=2;b=x=y`` -> ``{"a": ["1", "2"], "b": "x"}``."""
    found: dict[str, Any] = {}
    for pair in re.split(r"[&;]", text):
        if not pair:
            continue
        parts = pair.split("=")
        name, value = _decode(parts[0]), _decode(parts[1]) if len(parts) > 1 else ""
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found


def _decode(text: str) -> str:
    return unquote_plus(text, encoding="utf-8", errors="replace")


def parse_body(method: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The parameters of a body. Raises BodyError."""
    if "chunked" in headers.get("transfer-encoding", "").lower():
        raise BodyError(501, "chunked transfer encoding not supported")
    length = headers.get("content-length", "")
    size = int(length) if length.isdigit() else len(body)
    if not body and not size:
        return {}
    if method not in ("POST", "PUT"):
        raise BodyError(501, f"unexpected content for method '{method}'")
    if max(size, len(body)) > BODY_LIMIT:
        raise BodyError(501, "for data too large")
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind in ("", _FORM):
        return parse_form(body.decode("utf-8", "replace"))
    if kind == "application/json":
        return _parse_json(body)
    raise BodyError(506, f"upload 'Content-Type '{headers.get('content-type', '')}' not implemented")


def is_upload(headers: Mapping[str, str]) -> bool:
    """Whether a body is a file with fields before it."""
    return headers.get("content-type", "").lower().startswith("multipart/form-data")


def parse_upload(headers: Mapping[str, str], body: bytes) -> tuple[dict[str, Any], bytes | None]:
    """The fields of a multipart body and the file, None where there is none. Raises BodyError."""
    found = re.search(r'boundary="?([^";]+)', headers.get("content-type", ""))
    fields: dict[str, Any] = {}
    file: bytes | None = None
    mark = b"\r\n--" + (found[1].encode("latin-1") if found else b"")
    pieces = (b"\r\n" + body).split(mark)
    if not found or len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise BodyError(501, "unable to extract form data boundary" if not found else "the upload broke off")
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        shown = head.decode("utf-8", "replace")
        name = re.search(r'[; ]name="([^"]*)"', shown)
        filename = re.search(r'filename="([^"]*)"', shown)
        if filename:
            file = content
            fields |= {"filename": filename[1], "tmpfilename": f"/var/tmp/pveupload-{sha256(content).hexdigest()[:32]}"}
        elif name:
            fields[name[1]] = content.decode("utf-8", "replace")
    return fields, file


def _parse_json(body: bytes) -> dict[str, Any]:
    text = body.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except ValueError as error:
        offset = getattr(error, "pos", 0)
        raise BodyError(
            500,
            "malformed JSON string, neither tag, array, object, number, string or atom, "
            f'at character offset {offset} (before "{text[offset : offset + 20] or "(end of string)"}")',
        ) from None
    if not isinstance(value, dict):
        raise BodyError(500, "Not a HASH reference")
    return {str(name): item for name, item in value.items() if item is not None}
