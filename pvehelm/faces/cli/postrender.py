"""--post-renderer: the command is run here, with the manifests on its standard input."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pvehelm.errors import Problem, PvehelmError, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.postrender import PostRenderer
    from pvehelm.faces.cli.command import Session

_SHOWN = 20


def post_renderer(session: Session) -> PostRenderer | None:
    """What the flags name: a program on the PATH or a file; None where they name none. Raises UsageError."""
    command = str(session.given.get("post_renderer") or "")
    arguments = list(session.given.get("post_renderer_args") or ())
    if not command:
        if arguments:
            raise UsageError("--post-renderer-args needs --post-renderer", hint="--post-renderer COMMAND")
        return None
    import shlex

    from pvehelm.chart.postrender import PostRenderer

    words = [os.path.expanduser(command), *arguments]
    name = shlex.join(words)
    return PostRenderer(name, lambda text: _run(words, name, text))


def _run(words: list[str], name: str, text: str) -> str:
    import subprocess

    try:
        done = subprocess.run(words, input=text.encode(), capture_output=True, check=False)
    except FileNotFoundError:
        raise PvehelmError(
            f"there is no post-renderer {words[0]}", hint="a program on the PATH, or ./FILE that may be executed"
        ) from None
    except OSError as error:
        hint = "chmod +x, and a first line such as #!/bin/sh" if isinstance(error, PermissionError) else ""
        raise PvehelmError(f"the post-renderer {words[0]} can't be run: {error.strerror}", hint=hint) from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").splitlines()[-_SHOWN:]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise PvehelmError(f"the post-renderer {name} failed with {how}", [Problem("stderr", line) for line in lines])
    try:
        return done.stdout.decode("utf-8")
    except UnicodeDecodeError:
        raise PvehelmError(f"the post-renderer {name} printed what is not UTF-8 text") from None
