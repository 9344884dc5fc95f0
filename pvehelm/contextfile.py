"""The file that keeps contexts, and the owner-only one beside it that keeps their secrets.

`config.yaml` is YAML; pvehelm writes it as JSON, which is YAML too and loads without a YAML parser. Files are replaced
whole, under a lock, readable by the owner only.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from pvehelm.dirs import config_file
from pvehelm.errors import InvalidError, NotFoundError, Problem, PvehelmError, UsageError

SIMULATOR = "simulator"
STORED = "stored"
RECONCILE = ("observe", "repair", "repair-and-prune")
PORT = 8006
HEADER = "# pvehelm's contexts. YAML; `pvehelm context` rewrites this file as JSON, which loads faster.\n"
_TEXTS = ("host", "token_id", "user", "secret", "fingerprint", "ca_file", "store", "namespace", "cluster")
_KEYS = (*_TEXTS, "hosts", "port", "policy")


class Policy(NamedTuple):
    """What charts may do in a context without a flag: ``allow_privileged`` lists kinds (or ``all``); what a reconciler
    may do to releases that have no policy of their own (``reconcile``; empty: observe)."""

    allow_privileged: tuple[str, ...] = ()
    reconcile: str = ""


class ContextConfig(NamedTuple):
    """One context. ``host`` is empty for the simulator; ``hosts`` are further nodes of the same cluster.

    ``token_id`` (``user@realm!name``) or ``user`` says how to log in, ``secret`` where the secret is (a reference,
    never the secret); ``cluster`` caches the fingerprint of the cluster's root CA, so that store-only commands need no
    network.
    """

    name: str
    host: str = ""
    hosts: tuple[str, ...] = ()
    port: int = PORT
    token_id: str = ""
    user: str = ""
    secret: str = ""
    fingerprint: str = ""
    ca_file: str = ""
    store: str = ""
    namespace: str = "default"
    policy: Policy = Policy()
    cluster: str = ""

    @property
    def is_simulator(self) -> bool:
        return not self.host

    @property
    def urls(self) -> tuple[str, ...]:
        """``https://HOST:PORT`` of every node named; empty for the simulator."""
        return tuple(_url(host, self.port) for host in (self.host, *self.hosts) if host)

    def to_json(self) -> dict[str, Any]:
        """Only what differs from the defaults; without the name."""
        data = {name: getattr(self, name) for name in _TEXTS if getattr(self, name)}
        if data.get("namespace") == "default":
            del data["namespace"]
        if self.port != PORT:
            data["port"] = self.port
        if self.hosts:
            data["hosts"] = list(self.hosts)
        policy: dict[str, Any] = {}
        if self.policy.allow_privileged:
            policy["allow_privileged"] = list(self.policy.allow_privileged)
        if self.policy.reconcile:
            policy["reconcile"] = self.policy.reconcile
        if policy:
            data["policy"] = policy
        return data


# -- reading ---------------------------------------------------------------------------------------------------


def read(path: str) -> tuple[dict[str, ContextConfig], str]:
    contexts = {SIMULATOR: ContextConfig(SIMULATOR)}
    data = _parse(path)
    problems: list[Problem] = []
    for name in data.keys() - {"current", "contexts"}:
        problems.append(Problem(f"{path}: {name}", "unknown key", "known: current, contexts"))
    raw = data.get("contexts") or {}
    if not isinstance(raw, dict):
        problems.append(Problem(f"{path}: contexts", "it must be a map of names to contexts"))
        raw = {}
    for name, one in raw.items():
        context = _context(str(name), one, f"{path}: contexts.{name}", problems)
        if context is not None:
            contexts[str(name)] = context
    current = data.get("current") or SIMULATOR
    if not isinstance(current, str) or (current not in contexts and current not in map(str, raw)):
        problems.append(
            Problem(f"{path}: current", f"there is no context {current!r}", f"there are: {', '.join(contexts)}")
        )
    if problems:
        raise InvalidError(f"{path}: the configuration is wrong", problems, hint="correct the file by hand")
    return contexts, str(current)


def _context(name: str, raw: Any, where: str, problems: list[Problem]) -> ContextConfig | None:
    before = len(problems)
    if not isinstance(raw, dict):
        problems.append(Problem(where, "it must be a map"))
        return None
    for key in raw.keys() - set(_KEYS):
        from pvehelm.suggest import did_you_mean

        hint = did_you_mean(str(key), _KEYS, f"known: {', '.join(_KEYS)}")
        problems.append(Problem(f"{where}.{key}", "unknown key", hint))
    for key in _TEXTS:
        if key in raw and not isinstance(raw[key], str):
            problems.append(Problem(f"{where}.{key}", f"it must be text, not {raw[key]!r}"))
    port = raw.get("port", PORT)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        problems.append(Problem(f"{where}.port", f"it must be a number from 1 to 65535, not {port!r}"))
    hosts = raw.get("hosts", [])
    if not isinstance(hosts, list) or not all(isinstance(one, str) for one in hosts):
        problems.append(Problem(f"{where}.hosts", "it must be a list of host names"))
    policy = raw.get("policy") or {}
    known = isinstance(policy, dict) and policy.keys() <= {"allow_privileged", "reconcile"}
    allowed = policy.get("allow_privileged", []) if known else None
    reconcile = policy.get("reconcile", "") if known else ""
    if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
        what = "it must look like {allow_privileged: [Kind, ...], reconcile: repair}"
        problems.append(Problem(f"{where}.policy", what))
    if reconcile not in ("", *RECONCILE):
        problems.append(Problem(f"{where}.policy.reconcile", f"it must be one of {', '.join(RECONCILE)}"))
    if raw.get("token_id") and raw.get("user"):
        problems.append(Problem(where, "it has both a token_id and a user", "remove one of them"))
    if len(problems) > before:
        return None
    texts = {key: raw[key] for key in _TEXTS if raw.get(key)}
    return ContextConfig(name, hosts=tuple(hosts), port=port, policy=Policy(tuple(allowed or ()), reconcile), **texts)


def _parse(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{path}: it cannot be read: {error}") from error
    data: Any = None
    try:
        data = json.loads(text.removeprefix(HEADER) or "null")
    except ValueError:
        import yaml

        try:
            data = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
            what = getattr(error, "problem", None) or str(error)
            raise InvalidError(f"{where}: {what}", hint="correct the file by hand") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidError(f"{path}: it must be a map with `current` and `contexts`")
    return data


# -- hosts and secrets -----------------------------------------------------------------------------------------


def parse_hosts(text: str, where: str = "--host") -> tuple[str, tuple[str, ...], int]:
    """``HOST[:PORT][,HOST...]`` (also ``https://HOST:PORT/``, ``[::1]:8006``) -> first host, the others, the port.

    Raises UsageError.
    """
    hosts: list[str] = []
    ports: set[int] = set()
    for part in filter(None, (one.strip() for one in text.split(","))):
        if part.startswith("http://"):
            raise UsageError(f"{where}: {part}: Proxmox answers over https only", hint="leave the http:// out")
        name = part.removeprefix("https://").split("/", 1)[0]
        port = ""
        if name.startswith("["):
            name, bracket, rest = name[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise UsageError(f"{where}: {part!r} is no host", hint="an IPv6 address looks like [2001:db8::1]:8006")
            port = rest[1:]
        elif name.count(":") == 1:
            name, _, port = name.partition(":")
        if not name or any(sign in name for sign in " @?#\\") or (port and not port.isdecimal()):
            raise UsageError(f"{where}: {part!r} is no host", hint="it looks like pve1.example.org or pve1:8006")
        number = int(port or PORT)
        if not 0 < number < 65536:
            raise UsageError(f"{where}: {part!r}: a port is a number from 1 to 65535")
        hosts.append(name)
        ports.add(number)
    if not hosts:
        raise UsageError(f"{where}: no host was given")
    if len(ports) > 1:
        raise UsageError(f"{where}: the nodes of one cluster must have the same port")
    return hosts[0], tuple(hosts[1:]), ports.pop()


def resolve_secret(context: ContextConfig, path: str, environ: Mapping[str, str] = os.environ) -> str:
    """The secret that ``context`` refers to. Raises InvalidError that says what to do."""
    scheme, _, name = context.secret.removeprefix("secret://").partition("/")
    what = f"context {context.name}"
    if not context.secret:
        variable = "PVEHELM_TOKEN_SECRET" if context.token_id else "PVEHELM_PASSWORD"
        raise InvalidError(f"{what}: no secret is known", hint=f"set {variable}, or run `pvehelm context add` again")
    if context.secret == STORED:
        stored = _credentials(path).get(context.name)
        if stored is None:
            raise InvalidError(
                f"{what}: its secret is gone from {_credentials_file(path)}", hint="add the context again"
            )
        return stored
    if scheme == "env":
        if name not in environ:
            raise InvalidError(f"{what}: the environment variable {name} is not set")
        return environ[name]
    if scheme == "file":
        file = os.path.expanduser(name if name.startswith(("~", "/")) else f"/{name}")
        text = owner_only(file)
        if text is None:
            raise InvalidError(f"{what}: its secret file {file} does not exist")
        return text.rstrip("\n")
    raise InvalidError(f"{what}: {scheme!r} is no place for a context's secret", hint="use secret://env/NAME or file")


def _credentials_file(path: str) -> str:
    return os.path.join(os.path.dirname(os.path.abspath(path)), "credentials.json")


def _credentials(path: str) -> dict[str, str]:
    file = _credentials_file(path)
    text = owner_only(file)
    try:
        data = json.loads(text or "{}")
    except ValueError as error:
        raise InvalidError(f"{file}: it is damaged: {error}", hint="remove it and add the contexts again") from None
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise InvalidError(f"{file}: it is damaged", hint="remove it and add the contexts again")
    return data


def owner_only(file: str) -> str | None:
    try:
        with open(file, encoding="utf-8") as handle:
            mode = stat.S_IMODE(os.fstat(handle.fileno()).st_mode)
            if mode & 0o077:
                raise InvalidError(f"{file}: others may read it (mode {mode:03o})", hint=f"chmod 600 {file}")
            return handle.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file}: it cannot be read: {error}") from error


# -- changing --------------------------------------------------------------------------------------------------


def add_context(
    context: ContextConfig, *, secret: str | None = None, path: str | None = None, use: bool = False
) -> None:
    """Write a context (new or changed). ``secret`` is kept owner-only beside the file, and ``context.secret`` set so.

    Raises InvalidError for a name that can't be used.
    """
    if not context.name or context.name == SIMULATOR or context.name.strip() != context.name or "/" in context.name:
        raise InvalidError(
            f"{context.name!r} can't be a context's name", hint="choose another; `simulator` is built in"
        )
    path = path or config_file()
    with locked(path):
        contexts, current = read(path)
        credentials = _credentials(path)
        before = dict(credentials)
        if secret is not None:
            context = context._replace(secret=STORED)
            credentials[context.name] = secret
        elif context.secret != STORED:
            credentials.pop(context.name, None)
        first = contexts.keys() == {SIMULATOR}
        contexts[context.name] = context
        if credentials != before:
            write(_credentials_file(path), json.dumps(credentials, indent=2) + "\n")
        save(path, contexts, context.name if use or first else current)


def remove_context(name: str, *, path: str | None = None) -> None:
    """Forget a context and its stored secret; the simulator becomes current if it was that one. NotFoundError."""
    path = path or config_file()
    with locked(path):
        contexts, current = read(path)
        _known(contexts, name)
        if name == SIMULATOR:
            raise InvalidError("the simulator's context is built in", hint="`pvehelm simulator reset` empties it")
        del contexts[name]
        save(path, contexts, SIMULATOR if current == name else current)
        credentials = _credentials(path)
        if credentials.pop(name, None) is not None:
            write(_credentials_file(path), json.dumps(credentials, indent=2) + "\n")


def use_context(name: str, *, path: str | None = None) -> None:
    """Make a context the current one. Raises NotFoundError."""
    path = path or config_file()
    with locked(path):
        contexts, _ = read(path)
        _known(contexts, name)
        save(path, contexts, name)


def list_contexts(path: str | None = None) -> tuple[list[ContextConfig], str]:
    """Every context by name, the simulator first, and the current one's name."""
    contexts, current = read(path or config_file())
    return sorted(contexts.values(), key=lambda one: (one.name != SIMULATOR, one.name)), current


def _known(contexts: Mapping[str, ContextConfig], name: str) -> None:
    if name not in contexts:
        raise NotFoundError(f"there is no context {name!r}", hint=f"there are: {', '.join(sorted(contexts))}")


def save(path: str, contexts: Mapping[str, ContextConfig], current: str) -> None:
    kept = {name: one.to_json() for name, one in contexts.items() if name != SIMULATOR or one.to_json()}
    write(path, HEADER + json.dumps({"current": current, "contexts": kept}, indent=2, ensure_ascii=False) + "\n")


def write(path: str, text: str) -> None:
    """Whole or not at all, readable by the owner only."""
    draft = f"{path}.{os.getpid()}.new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise PvehelmError(f"{path}: it cannot be written: {error.strerror or error}") from error


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep other processes from changing the file between our reading and our writing it."""
    import fcntl

    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
        handle = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise PvehelmError(f"{path}: it cannot be written: {error.strerror or error}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _url(host: str, port: int) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
