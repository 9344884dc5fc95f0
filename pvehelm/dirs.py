"""The user's directories: configuration, data and cache, each moved by a variable of the environment."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def config_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Where config.yaml is: ``PVEHELM_CONFIG`` if it is a directory, else the user's configuration directory."""
    given = environ.get("PVEHELM_CONFIG")
    if given:
        return given if os.path.isdir(given) else os.path.dirname(os.path.abspath(given))
    return _user_dir(environ, "XDG_CONFIG_HOME", ".config", "user_config_dir")


def data_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Where releases, keys and imported schemas are: ``PVEHELM_DATA``, else the user's data directory."""
    given = environ.get("PVEHELM_DATA")
    return os.path.abspath(given) if given else _user_dir(environ, "XDG_DATA_HOME", ".local/share", "user_data_dir")


def cache_dir(environ: Mapping[str, str] = os.environ) -> str:
    """Where things are that can be made again: ``PVEHELM_CACHE``, else the user's cache directory."""
    given = environ.get("PVEHELM_CACHE")
    return os.path.abspath(given) if given else _user_dir(environ, "XDG_CACHE_HOME", ".cache", "user_cache_dir")


def _user_dir(environ: Mapping[str, str], variable: str, fallback: str, function: str) -> str:
    base = environ.get(variable)
    if base and os.path.isabs(base):
        return os.path.join(base, "pvehelm")
    if sys.platform == "linux":  # as platformdirs has it, 15 ms sooner
        home = environ.get("HOME") or os.path.expanduser("~")
        return os.path.join(home, fallback, "pvehelm")
    import platformdirs

    return str(getattr(platformdirs, function)("pvehelm", appauthor=False))


def config_file(environ: Mapping[str, str] = os.environ) -> str:
    given = environ.get("PVEHELM_CONFIG")
    return given if given and not os.path.isdir(given) else os.path.join(config_dir(environ), "config.yaml")
