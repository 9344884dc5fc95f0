"""The configuration: which context is used now, and where each of its fields came from. Flag > environment > file.

A context names a Proxmox host, credentials, the release store and a namespace; without any, the built-in `simulator` is
used. What is kept in files is in ``contextfile``, where they are in ``dirs``; both are importable from here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pvehelm.contextfile import (
    SIMULATOR,
    STORED,
    ContextConfig,
    Policy,
    add_context,
    list_contexts,
    locked,
    parse_hosts,
    read,
    remove_context,
    resolve_secret,
    save,
    use_context,
    write,
)
from pvehelm.dirs import cache_dir, config_dir, config_file, data_dir
from pvehelm.errors import NotFoundError, UsageError

__all__ = [
    "SIMULATOR",
    "STORED",
    "Config",
    "ContextConfig",
    "Policy",
    "add_context",
    "cache_dir",
    "config_dir",
    "config_file",
    "data_dir",
    "env",
    "known_cluster",
    "list_contexts",
    "load",
    "parse_hosts",
    "remember_cluster",
    "remove_context",
    "resolve_secret",
    "store_url",
    "use_context",
    "without_password",
]


class Config(NamedTuple):
    """What was loaded: every context of the file, the ``current`` one's name, and the ``context`` to use now.

    ``sources`` says for each field of ``context`` where it came from: ``flag``, an environment variable, ``file`` or
    ``default``.
    """

    path: str
    contexts: Mapping[str, ContextConfig]
    current: str
    context: ContextConfig
    sources: Mapping[str, str]
    environ: Mapping[str, str] = {}

    def __repr__(self) -> str:
        # The environment may hold secrets.
        return f"Config(path={self.path!r}, context={self.context!r})"

    def credential(self) -> str:
        """The selected context's secret (token secret or password), looked up now; never print it.

        Raises InvalidError if there is none.
        """
        return resolve_secret(self.context, self.path, self.environ)


# -- loading ---------------------------------------------------------------------------------------------------


def load(
    path: str | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    context: str | None = None,
    namespace: str | None = None,
    store: str | None = None,
    host: str | None = None,
    token_id: str | None = None,
    user: str | None = None,
    fingerprint: str | None = None,
    ca_file: str | None = None,
) -> Config:
    """The configuration; keyword arguments are command-line flags (None: not given).

    A host given by flag or environment that is not the selected context's is a context of its own: nothing of the
    file's (credentials, fingerprint, policy) goes to it but the namespace and the store. A context chosen by flag is
    not moved to another host by ``PVEHELM_HOST``.

    Raises InvalidError with all problems of the file, NotFoundError for a context that is not there, UsageError for
    flags that contradict each other.
    """
    path = path or config_file(environ)
    contexts, current = read(path)
    flags = {
        "namespace": namespace,
        "store": store,
        "host": host,
        "token_id": token_id,
        "user": user,
        "fingerprint": fingerprint,
        "ca_file": ca_file,
    }
    given: dict[str, tuple[str, str]] = {}
    for name, flag in flags.items():
        variable = f"PVEHELM_{name.upper()}"
        if flag is not None:
            given[name] = (flag, "flag")
        elif environ.get(variable) and not (name == "host" and context):
            given[name] = (environ[variable], variable)
    if token_id is not None and user is not None:
        raise UsageError("a token (--token-id) and a user (--user) were both given", hint="choose one of them")
    chosen = context or environ.get("PVEHELM_CONTEXT") or current
    if chosen not in contexts:
        asked = "--context" if context else "PVEHELM_CONTEXT" if environ.get("PVEHELM_CONTEXT") else path
        raise NotFoundError(
            f"{asked}: there is no context {chosen!r}",
            hint=f"there are: {', '.join(sorted(contexts))}; `pvehelm context add {chosen} --host HOST` makes it",
        )
    result, sources = _override(contexts[chosen], given, environ)
    return Config(path, contexts, current, result, sources, environ)


def _override(
    base: ContextConfig, given: Mapping[str, tuple[str, str]], environ: Mapping[str, str]
) -> tuple[ContextConfig, dict[str, str]]:
    sources = dict.fromkeys(base.to_json(), "file")
    changes: dict[str, Any] = {name: value for name, (value, _) in given.items()}
    sources |= {name: source for name, (_, source) in given.items()}
    if "host" in changes:
        where = "--host" if sources["host"] == "flag" else sources["host"]
        host, hosts, port = parse_hosts(changes.pop("host"), where)
        if port != base.port or host not in (base.host, *base.hosts):
            base = ContextConfig(
                "environment" if where == "PVEHELM_HOST" else "flags", store=base.store, namespace=base.namespace
            )
            sources = {
                name: source for name, source in sources.items() if name in given or name in ("store", "namespace")
            }
        changes |= {"host": host, "hosts": hosts, "port": port}
    if not (changes.get("host") or base.host):
        for name in ("token_id", "user", "fingerprint", "ca_file"):
            changes.pop(name, None)
            sources.pop(name, None)
        return base._replace(**changes), sources
    if "token_id" in changes and "user" in changes:  # a flag beats a variable; of two variables the token does
        del changes["user" if sources["token_id"] == "flag" or sources["user"] != "flag" else "token_id"]
    if "token_id" in changes:
        changes["user"] = ""
    elif "user" in changes:
        changes["token_id"] = ""
    result = base._replace(**changes)
    if (result.token_id, result.user) != (base.token_id, base.user):
        result = result._replace(secret="")
    variable = "PVEHELM_TOKEN_SECRET" if result.token_id else "PVEHELM_PASSWORD"
    if environ.get(variable):
        result = result._replace(secret=f"secret://env/{variable}")
        sources["secret"] = variable
    return result, sources


def remember_cluster(config: Config, cluster: str) -> None:
    """Cache the cluster's fingerprint for the selected context, so that the next command need not ask."""
    if config.context.cluster == cluster:
        return
    if config.context.name in config.contexts:
        with locked(config.path):
            contexts, current = read(config.path)
            if config.context.name in contexts:
                contexts[config.context.name] = contexts[config.context.name]._replace(cluster=cluster)
                save(config.path, contexts, current)
        return
    file = _clusters_file(config.environ)
    with locked(file):
        write(file, json.dumps({**_clusters(file), "".join(config.context.urls[:1]): cluster}, indent=2) + "\n")


def known_cluster(config: Config) -> str:
    """The selected context's cluster as far as it is known without asking; empty if it is not."""
    found = _clusters(_clusters_file(config.environ)).get("".join(config.context.urls[:1]), "")
    return config.context.cluster or (found if config.context.name not in config.contexts else "")


def env(config: Config) -> dict[str, str]:
    """What `pvehelm env` prints: every variable with the value in effect; secrets only as `<set>`."""
    context, environ = config.context, config.environ
    auth = bool(context.secret)
    return {
        "PVEHELM_CACHE": cache_dir(environ),
        "PVEHELM_CA_FILE": context.ca_file,
        "PVEHELM_CONFIG": config.path,
        "PVEHELM_CONTEXT": context.name,
        "PVEHELM_DATA": data_dir(environ),
        "PVEHELM_FINGERPRINT": context.fingerprint,
        "PVEHELM_HOST": ",".join(url.removeprefix("https://") for url in context.urls),
        "PVEHELM_KEY": "<set>" if environ.get("PVEHELM_KEY") else "",
        "PVEHELM_NAMESPACE": context.namespace,
        "PVEHELM_PASSWORD": "<set>" if auth and context.user else "",
        "PVEHELM_STORE": without_password(store_url(config)),
        "PVEHELM_TOKEN_ID": context.token_id,
        "PVEHELM_TOKEN_SECRET": "<set>" if auth and context.token_id else "",
        "PVEHELM_USER": context.user,
    }


def store_url(config: Config) -> str:
    """The URL of the release store in effect."""
    return config.context.store or f"sqlite:///{data_dir(config.environ)}/releases.db"


def without_password(url: str) -> str:
    """A store's URL as it may be shown; a reference of a secret stays."""
    hidden = re.sub(r"(://[^/@?:]*):(?!\$\{)[^@/]*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)(?!\$\{)[^&]*", r"\1***", hidden)


def _clusters_file(environ: Mapping[str, str]) -> str:
    return os.path.join(data_dir(environ), "clusters.json")


def _clusters(file: str) -> dict[str, str]:
    try:
        with open(file, encoding="utf-8") as handle:
            data = json.load(handle)
    except (OSError, ValueError):
        return {}  # only a cache
    return data if isinstance(data, dict) else {}
