"""Where secrets are kept: each resolver turns the NAME of ``secret://SCHEME/NAME`` into its text.

A resolver is a function that raises PvehelmError (NotFoundError where there is no such secret) and whose messages name
the reference and never the text. ``everything`` brings all of them; each imports what it needs when first asked.

===========  =============================  ==========================================================================
``env``      ``VARIABLE``                   an environment variable
``file``     ``etc/pw``, ``./pw``, ``~/pw``  a file's content without its last newline
``keyring``  ``SERVICE/USER``               the system's keyring (extra ``keyring``)
``sops``     ``FILE#a.b[0]``, ``FILE``      a value of, or all of, a file that the ``sops`` program decrypts
``vault``    ``MOUNT/PATH#KEY``             HashiCorp Vault or OpenBao, KV version 2 (extra ``vault``)
===========  =============================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pvehelm.errors import InvalidError, NotFoundError, PvehelmError
from pvehelm.release.secrets import Resolver

#: Seconds that a program or a server may take for one secret.
PATIENCE = 30.0

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


def everything(environ: Mapping[str, str]) -> dict[str, Resolver]:
    """All resolvers by scheme; ``environ`` is what ``env`` reads and the others take their settings from."""
    return {
        "env": env_resolver(environ),
        "file": file_resolver,
        "keyring": keyring_resolver,
        "sops": sops_resolver(environ),
        "vault": vault_resolver(environ),
    }


def env_resolver(environ: Mapping[str, str]) -> Resolver:
    def resolve(name: str) -> str:
        if name not in environ:
            raise NotFoundError(f"secret://env/{name}: the environment variable {name} is not set")
        return environ[name]

    return resolve


def file_resolver(name: str) -> str:
    """The content of a file without its last newline; ``~`` is the home directory, other paths as they are."""
    try:
        text: str = _path(name).read_text(encoding="utf-8")
        return text.removesuffix("\n")
    except OSError as error:
        raise NotFoundError(f"secret://file/{name}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise NotFoundError(f"secret://file/{name}: the file is not UTF-8 text") from None
    except (ValueError, RuntimeError) as error:  # a name with odd characters, a home directory nobody knows
        raise NotFoundError(f"secret://file/{name}: {error}") from None


def keyring_resolver(name: str) -> str:
    """The password of SERVICE/USER in the keyring of this desktop or whatever backend is configured."""
    reference = f"secret://keyring/{name}"
    service, slash, user = name.rpartition("/")
    if not (service and slash and user):
        raise InvalidError(f"{reference}: expected SERVICE/USER", hint="for example secret://keyring/pvehelm/db")
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise _absent(reference, "keyring") from None
    try:
        found = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        hint = "keyring --list-backends shows what there is"
        raise PvehelmError(f"{reference}: the keyring cannot be read: {error}", hint=hint) from None
    if found is None:
        raise NotFoundError(f"{reference}: the keyring has no such entry", hint=f"keyring set {service} {user}")
    return str(found)


def sops_resolver(environ: Mapping[str, str]) -> Resolver:
    """Asks the ``sops`` program, once for each file."""
    files: dict[str, Any] = {}

    def resolve(name: str) -> str:
        reference = f"secret://sops/{name}"
        file, hash_, key = name.partition("#")
        path = str(_path(file))
        if not hash_:
            return _decrypted(reference, path, environ, []).removesuffix("\n")
        if path not in files:
            files[path] = _json(reference, _decrypted(reference, path, environ, ["--output-type", "json"]))
        return _picked(reference, files[path], key)

    return resolve


def vault_resolver(environ: Mapping[str, str]) -> Resolver:
    """Reads ``VAULT_ADDR`` with ``VAULT_TOKEN``, else ~/.vault-token; ``VAULT_NAMESPACE``, ``VAULT_CACERT`` count."""
    found: dict[str, Any] = {}

    def resolve(name: str) -> str:
        reference = f"secret://vault/{name}"
        place, hash_, key = name.partition("#")
        mount, slash, path = place.strip("/").partition("/")
        if not (hash_ and key and slash and path):
            hint = "for example secret://vault/secret/apps/web#password; without 'data/' in the path"
            raise InvalidError(f"{reference}: expected MOUNT/PATH#KEY", hint=hint)
        if place not in found:
            found[place] = _from_vault(reference, mount, path, environ)
        return _picked(reference, found[place], key)

    return resolve


def _from_vault(reference: str, mount: str, path: str, environ: Mapping[str, str]) -> Any:
    try:
        import hvac
        import hvac.exceptions
        import requests
    except ImportError:
        raise _absent(reference, "vault") from None
    address = environ.get("VAULT_ADDR", "")
    token = environ.get("VAULT_TOKEN", "") or _vault_token(environ)
    if not address:
        raise PvehelmError(f"{reference}: VAULT_ADDR is not set", hint="for example https://vault.example.com:8200")
    if not token:
        raise PvehelmError(f"{reference}: VAULT_TOKEN is not set", hint="vault login writes ~/.vault-token")
    with requests.Session() as session:
        client = hvac.Client(
            url=address,
            token=token,
            namespace=environ.get("VAULT_NAMESPACE") or None,
            verify=environ.get("VAULT_CACERT") or True,
            timeout=int(PATIENCE),
            session=session,
        )
        try:
            answer = client.secrets.kv.v2.read_secret_version(
                path=path, mount_point=mount, raise_on_deleted_version=True
            )
        except hvac.exceptions.InvalidPath:
            hint = f"vault kv get -mount={mount} {path}"
            raise NotFoundError(f"{reference}: Vault has no such secret, or it was deleted", hint=hint) from None
        except hvac.exceptions.Forbidden:
            raise PvehelmError(f"{reference}: the token may not read it, or is expired", hint="vault login") from None
        except (hvac.exceptions.VaultError, requests.RequestException, ValueError) as error:
            raise PvehelmError(f"{reference}: Vault at {address} does not answer: {_brief(error)}") from None
    try:
        return answer["data"]["data"]
    except (KeyError, TypeError):
        hint = "only version 2 of the KV engine is read"
        raise PvehelmError(f"{reference}: Vault answers with something else than a secret", hint=hint) from None


def _vault_token(environ: Mapping[str, str]) -> str:
    import os.path

    try:
        home = environ.get("HOME") or os.path.expanduser("~")
        with open(os.path.join(home, ".vault-token"), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _brief(error: Exception) -> str:
    """The first line of an error; a client library may quote the whole request."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _decrypted(reference: str, path: str, environ: Mapping[str, str], options: list[str]) -> str:
    import os.path
    import shutil
    import subprocess

    program = shutil.which("sops", path=environ.get("PATH"))
    if program is None:
        hint = "install it from https://getsops.io; it must be on PATH"
        raise PvehelmError(f"{reference}: there is no sops program here", hint=hint)
    if not os.path.isfile(path):
        raise NotFoundError(f"{reference}: there is no file {path}")
    try:
        done = subprocess.run(
            [program, "--decrypt", *options, path],
            capture_output=True,
            timeout=PATIENCE,
            env=dict(environ),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PvehelmError(f"{reference}: sops took longer than {PATIENCE:g} s") from None
    except OSError as error:
        raise PvehelmError(f"{reference}: sops cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise PvehelmError(f"{reference}: sops cannot decrypt {path}: {said[:500] or f'exit code {done.returncode}'}")
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidError(f"{reference}: what sops decrypts is not UTF-8 text") from None


def _json(reference: str, text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        # Not what the parser says: it could quote the text.
        raise InvalidError(f"{reference}: what sops decrypts is not JSON") from None


def _picked(reference: str, data: Any, key: str) -> str:
    """The text at ``a.b[0]``; a key that holds dots counts as it is first."""
    value: Any = data
    if isinstance(data, Mapping) and key in data:
        value = data[key]
    else:
        at = 0
        while at < len(key):
            step = _STEP.match(key, at)
            if step is None:
                raise InvalidError(f"{reference}: {key!r} is no key", hint="for example db.password or users[0]")
            at = step.end()
            try:
                value = value[step[1]] if step[1] is not None and isinstance(value, Mapping) else value[int(step[2])]
            except (KeyError, IndexError, TypeError):
                known = ", ".join(sorted(map(str, data))) if isinstance(data, Mapping) else ""
                raise NotFoundError(
                    f"{reference}: there is no {key!r} in it", hint=known and f"it has {known}"
                ) from None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, dict | list):
        raise InvalidError(f"{reference}: {key!r} is no text", hint="name a key further down")
    return str(value)


def _absent(reference: str, extra: str) -> PvehelmError:
    return PvehelmError(f"{reference}: the extra {extra!r} is not installed", hint=f"pip install 'pvehelm[{extra}]'")


def _path(name: str) -> Any:
    from pathlib import Path

    return Path(name if name.startswith(("/", "~", ".")) else f"/{name}").expanduser()
