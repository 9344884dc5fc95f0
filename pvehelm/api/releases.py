"""Releases of Proxmox VE: which there are descriptions of, which serves a server's version, which kinds each has.

Renderings tell charts so before anything of the descriptions themselves is needed, and so this imports next to nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from pvehelm.errors import NotFoundError

API = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(API, "data")


def version_key(text: str) -> tuple[int, ...]:
    """``9.2.11`` -> ``(9, 2, 11)``; anything after the numbers is ignored."""
    return tuple(int(number) for number in re.findall(r"\d+", text.split("-")[0])[:3])


def available() -> dict[str, str]:
    """Releases with data, and the file that has it: the user's own rather than the shipped one."""
    from pvehelm.config import data_dir

    found: dict[str, str] = {}
    for folder in (DATA, os.path.join(data_dir(), "schema")):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            if name.startswith("schema-") and name.endswith(".json"):
                found[name.removeprefix("schema-").removesuffix(".json")] = os.path.join(folder, name)
    return dict(sorted(found.items(), key=lambda item: version_key(item[0])))


def is_shipped(file: str) -> bool:
    """Whether a file with data is one of ours, and not the user's own."""
    return os.path.dirname(file) == DATA


def best_release(version: str = "") -> str:
    """The release whose data serves ``version`` best; see ``Schema.load``."""
    releases = list(available())
    if not version:
        return releases[-1]
    wanted = version_key(version)
    same_major = [release for release in releases if version_key(release)[:1] == wanted[:1]]
    if not same_major:
        raise NotFoundError(
            f"no schema for Proxmox VE {version}; there is {', '.join(releases)}",
            hint="pvehelm schema import https://NODE:8006 reads a node's own",
        )
    older = [release for release in same_major if version_key(release) <= wanted]
    return older[-1] if older else same_major[0]


def kinds_text() -> str:
    """``kinds.toml``."""
    with open(os.path.join(API, "kinds.toml"), encoding="utf-8") as file:
        return file.read()


def kind_names(release: str) -> tuple[str, ...]:
    """Every kind that a release has, as ``Kinds.names`` of its schema."""

    def found() -> list[str]:
        from pvehelm.api.kinds import Kinds
        from pvehelm.api.schema import Schema

        return list(Kinds.load(Schema.load(release)).names())

    return remembered_names(release, available()[release], found)


def remembered_names(release: str, file: str, make: Callable[[], list[str]]) -> tuple[str, ...]:
    """What ``make`` finds to be the kinds in a schema that was read from ``file``: making all of them to see that takes
    longer than what is done with the few in use."""
    from pvehelm import entries

    code = sorted(entry.path for entry in os.scandir(API) if entry.name.endswith(".py"))
    name = entries.name_of((b"names", release.encode(), kinds_text().encode()), (file, *code))
    return tuple(entries.remembered(entries.directory("documents"), name, make))
