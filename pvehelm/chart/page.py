"""The page: a repository as people see it in a browser. Plain HTML without scripts; whatever charts say is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any
from urllib.parse import urlsplit

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Charts</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid #8884; }
code { font-size: .85em; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Charts</h1>
<p>Add this repository with <code>pvehelm repo add NAME URL</code>, URL being this page's address.</p>
"""
_TABLE = "<table>\n<tr><th>Version</th><th>App version</th><th>Created</th><th>SHA-256</th></tr>\n"


def page(index: Mapping[str, Any]) -> str:
    """``index.html`` for an index (as :func:`pvehelm.chart.repo.collect` makes it)."""
    parts = [_HEAD]
    for name in sorted(index["entries"]):
        parts.append(_chart(name, index["entries"][name]))
    keys = index.get("publicKeys") or ()
    if keys:
        parts.append("<h2>Keys</h2>\n<p>Packages are signed with:</p>\n<ul>\n")
        parts += [f"<li><code>{_text(key)}</code></li>\n" for key in keys]
        parts.append("</ul>\n")
    parts.append(f"<p>Generated {_text(index.get('generated'))}.</p>\n</body>\n</html>\n")
    return "".join(parts)


def _chart(name: str, entries: list[Mapping[str, Any]]) -> str:
    newest = entries[0]
    mark = " (deprecated)" if newest.get("deprecated") is True else ""
    home = _link(newest.get("home"), "Home")
    out = [
        f'<h2 id="{_text(name)}">{_text(name)}{mark}</h2>\n<p>{_text(newest.get("description"))} {home}</p>\n',
        _TABLE,
    ]
    for entry in entries:
        urls = entry.get("urls")
        version = _link(urls[0] if isinstance(urls, list) and urls else None, str(entry.get("version", "")))
        cells = [_text(entry.get(key)) for key in ("appVersion", "created")]
        digest = f"<code>{_text(entry.get('digest'))}</code>"
        out.append(f"<tr><td>{version}</td><td>{cells[0]}</td><td>{cells[1]}</td><td>{digest}</td></tr>\n")
    out.append("</table>\n")
    return "".join(out)


def _link(url: Any, text: str) -> str:
    """A link to a web address or a file beside the page; anything else is only text."""
    if not isinstance(url, str) or not url:
        return _text(text) if text != "Home" else ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return _text(text)
    if parts.scheme not in ("http", "https", "") or (
        not parts.scheme and (parts.netloc or url.startswith(("/", "\\")))
    ):
        return _text(text)
    return f'<a href="{escape(url)}" rel="nofollow noopener">{_text(text)}</a>'


def _text(value: Any) -> str:
    return "" if value is None else escape(str(value))
