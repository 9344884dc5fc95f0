"""The book of repositories: which ones the user added, with the keys they sign with, and credentials for them.

``repositories.yaml`` in the configuration directory has Helm's shape (and is written as JSON, which is YAML too).
Passwords are in ``repository-credentials.json`` beside it, for the owner's eyes only, each with the origin that it was
given for; where the address has changed since, it is not used. ``repositories`` writes what is read here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.dirs import config_dir
from pvehelm.errors import InvalidError, NotFoundError, Problem

if TYPE_CHECKING:
    from pvehelm.chart.fetch import Credentials, Fetcher, Tls

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
HEADER = "# pvehelm's chart repositories. YAML; `pvehelm repo` rewrites this file as JSON.\n"


class Repository(NamedTuple):
    """A repository. ``secret`` refers to the password (``secret://env/NAME``, ``secret://file/PATH``) or is empty when
    it is kept beside; ``keys`` are the public keys that its packages must be signed with (any one of them). The files
    and ``insecure`` are those of ``fetch.Tls``; ``everywhere`` is that of ``fetch.Credentials``."""

    name: str
    url: str
    username: str = ""
    secret: str = ""
    ca_file: str = ""
    keys: tuple[str, ...] = ()
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False
    everywhere: bool = False

    @property
    def base(self) -> str:
        return self.url.rstrip("/")

    @property
    def tls(self) -> Tls:
        from pvehelm.chart.fetch import Tls

        return Tls(self.ca_file, self.cert_file, self.key_file, self.insecure)

    def as_data(self) -> dict[str, Any]:
        """As it stands in the file, without what is not said."""
        return {FIELDS.get(name, name): value for name, value in self._asdict().items() if value}


#: What the fields of a login are called where they are stored, where that differs.
LOGIN = {
    "service": "tokenService",
    "plain_http": "plainHttp",
    "ca_file": "caFile",
    "cert_file": "certFile",
    "key_file": "keyFile",
}
#: What the fields of a repository are called in the file, where that differs: as Helm has them.
FIELDS = {
    "ca_file": "caFile",
    "cert_file": "certFile",
    "key_file": "keyFile",
    "insecure": "insecure_skip_tls_verify",
    "everywhere": "pass_credentials_all",
}


class Login(NamedTuple):
    """What is known about a registry: who logs in and with which password (or the reference to it), the ``service``
    besides that may have the login for tokens, and whether the registry is asked over plain http. The files and
    ``insecure`` are those of ``fetch.Tls``."""

    username: str = ""
    password: str = ""
    secret: str = ""
    service: str = ""
    plain_http: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    insecure: bool = False

    @property
    def tls(self) -> Tls:
        from pvehelm.chart.fetch import Tls

        return Tls(self.ca_file, self.cert_file, self.key_file, self.insecure)

    @classmethod
    def of_data(cls, data: Mapping[str, Any]) -> Login:
        """What is stored; what has another type than it should counts as not said."""
        said: dict[str, Any] = {name: data.get(LOGIN.get(name, name)) for name in cls._fields}
        known = cls._field_defaults
        return cls(**{name: value for name, value in said.items() if type(value) is type(known[name])})

    def as_data(self) -> dict[str, Any]:
        """As it is stored, without what is not said."""
        return {LOGIN.get(name, name): value for name, value in self._asdict().items() if value}

    def credentials(self, host: str) -> Credentials | None:
        """The credentials, if it has any. Raises InvalidError when the reference leads nowhere."""
        from pvehelm.chart.fetch import Credentials

        if not self.username:
            return None
        return Credentials(self.username, _referred(self.secret, f"registry {host}") if self.secret else self.password)


class Book(NamedTuple):
    """What is configured: repositories by name, and the logins at registries by ``host[:port]``."""

    path: str
    repositories: Mapping[str, Repository] = {}

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
        from pvehelm.chart.fetch import Fetcher

        return Fetcher(repository.url, self.credentials(repository), tls=repository.tls)

    def credentials(self, repository: Repository) -> Credentials | None:
        """The credentials of a repository, if it has any. Raises InvalidError when they cannot be found."""
        from pvehelm.chart.fetch import Credentials, origin

        if not repository.username:
            return None
        if repository.secret:
            password = _referred(repository.secret, f"repository {repository.name}")
            return Credentials(repository.username, password, repository.everywhere)
        stored = stored_credentials(self.path)["repositories"].get(repository.name)
        if not stored or stored.get("origin") != origin(repository.url):
            raise InvalidError(
                f"repository {repository.name}: no password is known for {origin(repository.url)}",
                hint=f"add it again: pvehelm repo add {repository.name} URL --username USER --force-update",
            )
        return Credentials(repository.username, str(stored["password"]), repository.everywhere)

    def login_of(self, host: str) -> Login:
        """What is known about a registry: from ``registry login``, else from where Docker keeps logins."""
        stored = stored_credentials(self.path)["registries"].get(host)
        if stored is None:
            return Login(*_docker_login(host))
        return Login.of_data(stored)


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
        data = json.loads(text.removeprefix(HEADER))
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
    said: dict[str, Any] = {}
    for name, default in Repository("", "")._asdict().items() if isinstance(item, dict) else ():
        value = item.get(FIELDS.get(name, name)) or default
        said[name] = tuple(value) if name == "keys" and isinstance(value, list) else value
    fits = all(type(value) is type(default) for value, default in zip(said.values(), Repository("", ""), strict=False))
    fits = fits and all(isinstance(key, str) for key in said.get("keys", ()))
    if not said or not fits or not re.fullmatch(NAME, str(said["name"])):
        what = "a repository has a name, a url and, it may be, a username, keys, caFile, certFile and keyFile (texts)"
        problems.append(Problem(where, what))
        return None
    if item.get("password"):
        problems.append(
            Problem(where, "a password has no place here", "'pvehelm repo add --username' keeps it owner-only")
        )
        return None
    return Repository(**said)


def credentials_file(path: str) -> str:
    """The owner-only file beside the book at ``path``."""
    return os.path.join(os.path.dirname(os.path.abspath(path)), "repository-credentials.json")


def stored_credentials(path: str) -> dict[str, dict[str, Any]]:
    """What is kept beside the book: ``repositories`` and ``registries``, each by name. Raises InvalidError."""
    from pvehelm.contextfile import owner_only

    file = credentials_file(path)
    try:
        data = json.loads(owner_only(file) or "{}")
    except ValueError:
        data = None
    parts = {part: data.get(part, {}) for part in ("repositories", "registries")} if isinstance(data, dict) else {}
    if not parts or not all(isinstance(part, dict) for part in parts.values()):
        raise InvalidError(f"{file} is damaged", hint="remove it, and add or log in again")
    return {key: {name: one for name, one in part.items() if isinstance(one, dict)} for key, part in parts.items()}


def _docker_login(host: str) -> tuple[str, str]:
    """User and password for a registry as ``docker login`` keeps them without a helper; empty when there are none."""
    from base64 import b64decode

    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    try:
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            auths = json.load(file)["auths"]
        found = auths.get(host) or auths.get(f"https://{host}") or {}
        user, _, password = b64decode(found.get("auth", ""), validate=True).decode().partition(":")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return "", ""
    return user, password


def _referred(secret: str, what: str) -> str:
    """The password that a reference names."""
    scheme, _, name = secret.removeprefix("secret://").partition("/")
    if scheme == "env" and name in os.environ:
        return os.environ[name]
    if scheme == "file":
        from pvehelm.contextfile import owner_only

        text = owner_only(os.path.expanduser(name if name.startswith(("~", "/")) else f"/{name}"))
        if text is not None:
            return text.rstrip("\n")
    raise InvalidError(f"{what}: {secret} leads to no password", hint="secret://env/NAME or secret://file/PATH")
