"""What commands do in a simulated guest: a shell of a few words, so that hooks can be tried without a guest.

``true false exit echo cat tee sleep test`` do what they do elsewhere, on files that live with the guest's disks (the
ones that the agent reads and writes); every other command ends well and says nothing.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Any

SHELLS = ("sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/sh", "/usr/bin/bash")


@dataclass
class Ended:
    """How a command ends: exit code, what it says, and after how many seconds."""

    code: int = 0
    out: str = ""
    err: str = ""
    seconds: float = 0.0
    left: bool = field(default=False, repr=False)


def run(command: list[str], stdin: str, files: dict[str, str]) -> Ended:
    """Run a command; ``files`` may be changed by it."""
    ended = Ended()
    if len(command) > 2 and command[0] in SHELLS and command[1] == "-c":
        for line in re.split(r"\n|;", command[2]):
            for part in line.split("&&"):
                _one(_words(part), stdin, files, ended)
                if ended.left:
                    return ended
                if ended.code:
                    break
        return ended
    _one(command, stdin, files, ended)
    return ended


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:
        return []


def _one(words: list[str], stdin: str, files: dict[str, str], ended: Ended) -> None:
    target = ""
    if len(words) > 2 and words[-2] in (">", ">>"):
        target, words, more = words[-1], words[:-2], words[-2] == ">>"
        text = _done(words, stdin, files, ended)
        files[target] = (files.get(target, "") if more else "") + text
        return
    ended.out += _done(words, stdin, files, ended)


def _done(words: list[str], stdin: str, files: dict[str, str], ended: Ended) -> str:
    """Do one command; what it prints."""
    name, *rest = words or ["true"]
    ended.code = 0
    if name == "false":
        ended.code = 1
    elif name == "exit":
        ended.code, ended.left = int(rest[0]) if rest and rest[0].isdigit() else 0, True
    elif name == "echo":
        return " ".join(rest) + "\n"
    elif name == "sleep":
        ended.seconds += float(rest[0]) if rest and re.fullmatch(r"[\d.]+", rest[0]) else 0
    elif name == "tee" and rest:
        files[rest[-1]] = stdin
        return stdin
    elif name == "test" and rest[:1] in (["-e"], ["-f"]):
        ended.code = int(rest[-1] not in files)
    elif name == "cat":
        return _cat(rest, stdin, files, ended)
    return ""


def _cat(names: list[str], stdin: str, files: dict[str, str], ended: Ended) -> str:
    if not names:
        return stdin
    missing = [name for name in names if name not in files]
    ended.code = int(bool(missing))
    ended.err += "".join(f"cat: {name}: No such file or directory\n" for name in missing)
    return "".join(files.get(name, "") for name in names)


def answer(ended: Ended) -> dict[str, Any]:
    """The agent's answer about a command that has ended."""
    found: dict[str, Any] = {"exited": 1, "exitcode": ended.code}
    return found | {name: text for name, text in (("out-data", ended.out), ("err-data", ended.err)) if text}
