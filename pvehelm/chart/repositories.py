"""The book of repositories: which ones the user added, with the keys they sign with, and credentials for them.

``repositories.yaml`` in the configuration directory has Helm's shape (and is written as JSON, which is YAML too).
Passwords are in ``repository-credentials.json`` beside it, for the owner's eyes only, each with the origin that it was
given for; where the address has changed since, it is not used.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pvehelm.chart.fetch import Credentials, Fetcher, is_loopback, local_path, origin
from pvehelm.contextfile import locked, owner_only, write
from pvehelm.dirs import config_dir
from pvehelm.errors import InvalidError, NotFoundError, Problem, UsageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*)(:\d{1,5})?\Z")
_HEADER = "# pvehelm's chart repositories. YAML; `pvehelm repo` rewrites this file as JSON.\n"


@dataclass(frozen=True)
class Repository:
    """A repository. ``secret`` refers to the password (``secret://env/NAME``, ``secret://file/PATH``) or is empty when
    it is kept beside; ``keys`` are the public keys that its packages must be signed with (any one of them)."""

    name: str
    url: str
    username: str = ""
    secret: str = ""
    ca_file: str = ""
    keys: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        return self.url.rstrip("/")


@dataclass(frozen=True)
class Book:
    """What is configured: repositories by name, and the logins at registries by ``host[:port]``."""

    path: str
    repositories: Mapping[str, Repository] = field(default_factory=dict)

    def find(self, name: str) -> Repository:
        """The repository of a name. Raises NotFoundError."""
        if name not in self.repositories:
            known = ", ".join(sorted(self.repositories))
            raise NotFoundError(
                f"there is no repository {name!r}",
                hint=f"there are: {known}" if known else "'pvehelm repo add NAME URL' adds one",
            )
        return self.repositories[name]

    def at(self, url: str) -> Repository:
        """The repository at an address: the one configured there, or one that has the address for its name."""
        base = url.rstrip("/")
        return next((one for one in self.repositories.values() if one.base == base), Repository("", url))

    def fetcher(self, repository: Repository) -> Fetcher:
        return Fetcher(repository.url, self.credentials(repository), ca_file=repository.ca_file)

    def credentials(self, repository: Repository) -> Credentials | None:
        """The credentials of a repository, if it has any. Raises InvalidError when they cannot be found."""
        if not repository.username:
            return None
        if repository.secret:
            return Credentials(repository.username, _referred(repository.secret, f"repository {repository.name}"))
        stored = _stored(self.path)["repositories"].get(repository.name)
        if not stored or stored.get("origin") != origin(repository.url):
            raise InvalidError(
                f"repository {repository.name}: no password is known for {origin(repository.url)}",
                hint=f"add it again: pvehelm repo add {repository.name} URL --username USER --force-update",
            )
        return Credentials(repository.username, str(stored["password"]))

    def login_of(self, host: str) -> Credentials | None:
        """The credentials for a registry."""
        stored = _stored(self.path)["registries"].get(host)
        if not stored:
            return None
        password = str(stored.get("password", ""))
        if stored.get("secret"):
            password = _referred(str(stored["secret"]), f"registry {host}")
        return Credentials(str(stored.get("username", "")), password)


def load(path: str | None = None) -> Book:
    """The book in the configuration directory. Raises InvalidError with every problem."""
    path = path or os.path.join(config_dir(), "repositories.yaml")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return Book(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path} cannot be read: {error}") from None
    try:
        data = json.loads(text.removeprefix(_HEADER))
    except ValueError:
        from pvehelm.chart.yaml import load as load_yaml

        data = load_yaml(text, file=path)
    items = data.get("repositories") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise InvalidError(f"{path} is no list of repositories", hint="it is a map with 'repositories', a list")
    problems: list[Problem] = []
    found = {}
    for place, item in enumerate(items):
        one = _repository(item, f"{path}: repositories[{place}]", problems)
        if one is not None:
            found[one.name] = one
    if problems:
        raise InvalidError(f"{path} is not valid", problems)
    return Book(path, found)


def _repository(item: Any, where: str, problems: list[Problem]) -> Repository | None:
    texts = (
        {key: item.get(key) or "" for key in ("name", "url", "username", "secret")} if isinstance(item, dict) else {}
    )
    if texts:
        texts["ca_file"] = item.get("caFile") or ""
    keys = (item.get("keys") or []) if isinstance(item, dict) else []
    whole = texts and all(isinstance(text, str) for text in texts.values()) and isinstance(keys, list)
    if not whole or not all(isinstance(key, str) for key in keys) or not NAME.match(str(texts.get("name"))):
        problems.append(Problem(where, "a repository has a name, a url and, it may be, a username, caFile and keys"))
        return None
    if item.get("password"):
        problems.append(
            Problem(where, "a password has no place here", "'pvehelm repo add --username' keeps it owner-only")
        )
        return None
    return Repository(**texts, keys=tuple(keys))


def check(repository: Repository) -> None:
    """Whether a repository's name and address can be used. Raises UsageError and InvalidError."""
    if not NAME.match(repository.name):
        raise UsageError(f"{repository.name!r} can't be a repository's name", hint="letters, digits, '.', '_' and '-'")
    check_url(repository.url)


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
        stored = _stored(book.path)
        if password is not None:
            stored["repositories"][repository.name] = {"origin": origin(repository.url), "password": password}
        elif before is None or not repository.username or repository.secret:
            stored["repositories"].pop(repository.name, None)
        return _save(replace(book, repositories={**book.repositories, repository.name: repository}), stored)


def remove(book: Book, names: list[str]) -> Book:
    """The book without some repositories and their passwords, written. Raises NotFoundError."""
    with locked(book.path):
        book = load(book.path)
        stored = _stored(book.path)
        for name in names:
            book.find(name)
            stored["repositories"].pop(name, None)
        return _save(replace(book, repositories={k: v for k, v in book.repositories.items() if k not in names}), stored)


def login(book: Book, host: str, username: str, *, password: str = "", secret: str = "") -> None:
    """Keep the credentials for a registry."""
    if not HOST.match(host):
        raise UsageError(f"{host!r} is no registry", hint="for example registry.example.org or localhost:5000")
    with locked(book.path):
        stored = _stored(book.path)
        kept = {"secret": secret} if secret else {"password": password}
        stored["registries"][host] = {"username": username, **kept}
        _save(None, stored, book.path)


def logout(book: Book, host: str) -> bool:
    """Forget a registry's credentials; whether there were any."""
    with locked(book.path):
        stored = _stored(book.path)
        known = stored["registries"].pop(host, None) is not None
        if known:
            _save(None, stored, book.path)
        return known


def registry_url(host: str) -> str:
    """The web address of a registry: https, but http for one on this machine."""
    return f"{'http' if is_loopback(host) else 'https'}://{host}"


def _save(book: Book | None, stored: dict[str, dict[str, Any]], path: str = "") -> Book:
    path = book.path if book is not None else path
    file = _credentials_file(path)
    if any(stored.values()) or os.path.exists(file):
        write(file, json.dumps(stored, indent=2) + "\n")
    if book is None:
        return Book(path)
    items = []
    for one in sorted(book.repositories.values(), key=lambda one: one.name):
        item = {("caFile" if key == "ca_file" else key): value for key, value in asdict(one).items() if value}
        items.append(item)
    write(path, _HEADER + json.dumps({"apiVersion": "v1", "repositories": items}, indent=2, ensure_ascii=False) + "\n")
    return book


def _credentials_file(path: str) -> str:
    return os.path.join(os.path.dirname(os.path.abspath(path)), "repository-credentials.json")


def _stored(path: str) -> dict[str, dict[str, Any]]:
    file = _credentials_file(path)
    try:
        data = json.loads(owner_only(file) or "{}")
    except ValueError:
        data = None
    parts = {part: data.get(part, {}) for part in ("repositories", "registries")} if isinstance(data, dict) else {}
    if not parts or not all(isinstance(part, dict) for part in parts.values()):
        raise InvalidError(f"{file} is damaged", hint="remove it, and add or log in again")
    return {key: {name: one for name, one in part.items() if isinstance(one, dict)} for key, part in parts.items()}


def _referred(secret: str, what: str) -> str:
    """The password that a reference names."""
    scheme, _, name = secret.removeprefix("secret://").partition("/")
    if scheme == "env" and name in os.environ:
        return os.environ[name]
    if scheme == "file":
        text = owner_only(os.path.expanduser(name if name.startswith(("~", "/")) else f"/{name}"))
        if text is not None:
            return text.rstrip("\n")
    raise InvalidError(f"{what}: {secret} leads to no password", hint="secret://env/NAME or secret://file/PATH")
