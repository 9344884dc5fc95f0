"""Adding and removing repositories, and logging in at registries: the book of ``book`` as it is written."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from pvehelm.chart.book import HEADER, NAME, Book, Login, Repository, credentials_file, load, stored_credentials
from pvehelm.chart.fetch import is_loopback, local_path, origin
from pvehelm.contextfile import locked, write
from pvehelm.errors import InvalidError, UsageError

HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?"


def check(repository: Repository) -> None:
    """Whether a repository's name, address and certificates can be used. Raises UsageError and InvalidError."""
    if not re.fullmatch(NAME, repository.name):
        raise UsageError(f"{repository.name!r} can't be a repository's name", hint="letters, digits, '.', '_' and '-'")
    check_url(repository.url)
    if repository.key_file and not repository.cert_file:
        raise UsageError("--key-file needs --cert-file, the certificate that the key belongs to")
    if any(repository.tls) and not repository.url.startswith("https:"):
        raise UsageError(f"{repository.url}: certificates are for https alone")
    repository.tls.context(home=True)
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
    check_registry(host, login.service)
    names = {"service": "tokenService", "plain_http": "plainHttp"}
    with locked(book.path):
        stored = stored_credentials(book.path)
        stored["registries"][host] = {names.get(key, key): value for key, value in login._asdict().items() if value}
        _save(None, stored, book.path)


def check_registry(host: str, service: str = "") -> None:
    """Whether a registry's name and its token service's can be used. Raises UsageError."""
    if not re.fullmatch(HOST, host):
        raise UsageError(f"{host!r} is no registry", hint="for example registry.example.org or localhost:5000")
    if service and not re.fullmatch(HOST, service):
        raise UsageError(f"{service!r} is no host", hint="--token-service takes a host, such as auth.example.org")


def logout(book: Book, host: str) -> bool:
    """Forget a registry's credentials; whether there were any."""
    with locked(book.path):
        stored = stored_credentials(book.path)
        known = stored["registries"].pop(host, None) is not None
        if known:
            _save(None, stored, book.path)
        return known


def registry_url(host: str, plain_http: bool = False) -> str:
    """The web address of a registry: https, but http for one on this machine, or where the user said so."""
    return f"{'http' if plain_http or is_loopback(host) else 'https'}://{host}"


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
