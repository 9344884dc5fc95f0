"""Adding and removing repositories, and logging in at registries: the book of ``book`` as it is written."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from pvehelm.chart.book import HEADER, NAME, Book, Login, Repository, credentials_file, load, stored_credentials
from pvehelm.chart.fetch import Tls, is_loopback, local_path, origin
from pvehelm.contextfile import locked, write
from pvehelm.errors import InvalidError, UsageError

HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?"


def check(repository: Repository) -> None:
    """Whether a repository's name, address and certificates can be used. Raises UsageError and InvalidError."""
    if not re.fullmatch(NAME, repository.name):
        raise UsageError(f"{repository.name!r} can't be a repository's name", hint="letters, digits, '.', '_' and '-'")
    check_url(repository.url)
    check_tls(repository.tls, repository.url)
    if repository.everywhere and not repository.username:
        raise UsageError("--pass-credentials needs --username")


def check_url(url: str) -> str:
    """A repository's address, or an error that says what it must look like."""
    if url.startswith("oci://"):
        raise UsageError(
            f"{url}: a registry is not added", hint=f"use it directly: pvehelm pull {url.rstrip('/')}/CHART"
        )
    if url.startswith("file:"):
        local_path(url)
    else:
        origin(url)
    if "?" in url or "#" in url:
        raise UsageError(f"{url}: a repository's address has no '?' or '#'")
    return url


def add(book: Book, repository: Repository, *, password: str | None = None, force: bool = False) -> Book:
    """The book with a repository, written. What is there under that name is replaced only when asked."""
    check(repository)
    with locked(book.path):
        book = load(book.path)
        before = book.repositories.get(repository.name)
        if before is not None and not force and before != repository:
            raise InvalidError(
                f"there is a repository {repository.name!r} already, at {before.url}",
                hint="--force-update replaces it",
            )
        stored = stored_credentials(book.path)
        if password is not None:
            stored["repositories"][repository.name] = {"origin": origin(repository.url), "password": password}
        elif before is None or not repository.username or repository.secret:
            stored["repositories"].pop(repository.name, None)
        return _save(book._replace(repositories={**book.repositories, repository.name: repository}), stored)


def remove(book: Book, names: list[str]) -> Book:
    """The book without some repositories and their passwords, written. Raises NotFoundError."""
    with locked(book.path):
        book = load(book.path)
        stored = stored_credentials(book.path)
        for name in names:
            book.find(name)
            stored["repositories"].pop(name, None)
        return _save(book._replace(repositories={k: v for k, v in book.repositories.items() if k not in names}), stored)


def login(book: Book, host: str, login: Login) -> None:
    """Keep what is known about a registry."""
    check_login(host, login)
    with locked(book.path):
        stored = stored_credentials(book.path)
        stored["registries"][host] = login.as_data()
        _save(None, stored, book.path)


def check_login(host: str, login: Login) -> None:
    """Whether a registry's name, its token service's and certificates can be used. Raises UsageError, InvalidError."""
    if not re.fullmatch(HOST, host):
        raise UsageError(f"{host!r} is no registry", hint="for example registry.example.org or localhost:5000")
    if login.service and not re.fullmatch(HOST, login.service):
        raise UsageError(f"{login.service!r} is no host", hint="--token-service takes a host, such as auth.example.org")
    check_tls(login.tls, registry_url(host, login.plain_http, any(login.tls)))


def check_tls(tls: Tls, url: str) -> None:
    """Whether certificates can be used for an address. Raises UsageError and InvalidError."""
    if tls.key_file and not tls.cert_file:
        raise UsageError("--key-file needs --cert-file, the certificate that the key belongs to")
    if any(tls) and not url.startswith("https:"):
        raise UsageError(f"{url}: certificates are for https alone")
    tls.context(home=True)


def logout(book: Book, host: str) -> bool:
    """Forget a registry's credentials; whether there were any."""
    with locked(book.path):
        stored = stored_credentials(book.path)
        known = stored["registries"].pop(host, None) is not None
        if known:
            _save(None, stored, book.path)
        return known


def registry_url(host: str, plain_http: bool = False, tls: bool = False) -> str:
    """The web address of a registry: https, but http where the user said so, or for one on this machine unless ``tls``
    (certificates that were named) says otherwise."""
    return f"{'http' if plain_http or (is_loopback(host) and not tls) else 'https'}://{host}"


def _save(book: Book | None, stored: dict[str, dict[str, Any]], path: str = "") -> Book:
    path = book.path if book is not None else path
    file = credentials_file(path)
    if any(stored.values()) or os.path.exists(file):
        write(file, json.dumps(stored, indent=2) + "\n")
    if book is None:
        return Book(path)
    items = [one.as_data() for one in sorted(book.repositories.values(), key=lambda one: one.name)]
    write(path, HEADER + json.dumps({"apiVersion": "v1", "repositories": items}, indent=2, ensure_ascii=False) + "\n")
    return book
