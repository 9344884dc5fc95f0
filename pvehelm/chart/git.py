"""The git repository: charts that lie in one (``git+https://HOST/REPO.git@REF#PATH``), and pages published on a branch.

Only https, ssh and local repositories are spoken to, no address may begin like an option, no option comes from outside,
nothing is asked on the terminal, and neither submodules nor large-file filters are followed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, TransportError, UsageError

if TYPE_CHECKING:
    import git

SCHEMES = ("git+https", "git+ssh", "git+file")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}\Z")
_HEX = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "https:ssh:file",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "core.hooksPath",
    "GIT_CONFIG_VALUE_0": os.devnull,
    "GIT_CONFIG_KEY_1": "core.fsmonitor",
    "GIT_CONFIG_VALUE_1": "false",
    "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a chart is: ``url`` for git, a branch, tag or commit (empty: the default branch), a folder."""

    url: str
    ref: str = ""
    path: str = ""

    def __str__(self) -> str:
        return f"git+{self.url}" + (f"@{self.ref}" if self.ref else "") + (f"#{self.path}" if self.path else "")

    @property
    def is_local(self) -> bool:
        return self.url.startswith("file:")


def parse(text: str) -> Address:
    """The address in ``git+https://...@ref#path``. Raises UsageError for what is none, or hides something."""
    hint = "git+https://HOST/REPO.git@REF#FOLDER, also git+ssh:// and git+file://"
    whole, _, path = text.partition("#")
    try:
        parts = urlsplit(whole)
        parts.port  # noqa: B018 (raises)
    except ValueError:
        raise UsageError(f"{text!r} is no address of a git repository", hint=hint) from None
    place, at, ref = parts.path.rpartition("@")
    if not at:
        place, ref = parts.path, ""
    odd = not text.isprintable() or any(c in text for c in " \\\"'") or parts.query
    host = parts.hostname or ""
    if parts.scheme not in SCHEMES or odd or not place.strip("/") or host.startswith("-"):
        raise UsageError(f"{text!r} is no address of a git repository", hint=hint)
    if (parts.scheme == "git+file") == bool(host):
        raise UsageError(f"{text!r} is no address of a git repository", hint=hint)
    if parts.password or (parts.username and parts.scheme != "git+ssh") or (parts.username or "").startswith("-"):
        raise UsageError(f"{parts.scheme}://{host}: an address must not hold credentials", hint="git's own helpers do")
    if at and (not _REF.match(ref) or ".." in ref or ref.endswith((".lock", "/"))):
        raise UsageError(f"{ref!r} is no branch, tag or commit", hint=hint)
    folder = PurePosixPath(path)
    if folder.is_absolute() or ".." in folder.parts or ".git" in (part.lower() for part in folder.parts):
        raise UsageError(f"{path!r} leads out of the repository", hint=hint)
    netloc = parts.netloc
    return Address(f"{parts.scheme[4:]}://{netloc}{place}", ref, "" if str(folder) == "." else str(folder))


@contextmanager
def checkout(address: Address) -> Iterator[tuple[Path, Address]]:
    """The files of a commit in a folder that is gone afterwards, and the address with that commit for its ref.

    Raises NotFoundError without such a ref or folder, TransportError when git gets no further.
    """
    with tempfile.TemporaryDirectory(prefix="pvehelm-git-") as scratch:
        repo = _fetched(address, scratch)
        try:
            repo.git.checkout("--quiet", "--detach", "FETCH_HEAD")
            commit = repo.head.commit.hexsha
        finally:
            repo.close()
        shutil.rmtree(Path(scratch, ".git"))
        root = Path(scratch)
        folder = root / address.path
        if not folder.is_dir() or root.resolve() not in (folder.resolve(), *folder.resolve().parents):
            raise NotFoundError(f"{address}: there is no folder {address.path!r}")
        yield folder, replace(address, ref=commit)


def _fetched(address: Address, scratch: str) -> git.Repo:
    repo = _empty(scratch)
    wanted = address.ref or "HEAD"
    try:
        _run(repo, address, "fetch", "--quiet", "--depth=1", "--no-tags", "--", address.url, wanted)
    except PvehelmError:
        repo.close()
        raise
    return repo


def _empty(scratch: str) -> git.Repo:
    try:
        import git
    except ImportError as error:
        raise PvehelmError(f"git is needed and cannot be used: {error}".splitlines()[0], hint="install git") from None
    repo = git.Repo.init(scratch, initial_branch="main")
    repo.git.update_environment(**_ENVIRONMENT)
    return repo


def _run(repo: git.Repo, address: Address, verb: str, *arguments: str) -> str:
    from git.exc import CommandError

    try:
        return str(getattr(repo.git, verb)(*arguments, kill_after_timeout=300))
    except CommandError as error:
        told = str(error.stderr or error).strip().strip("'").strip()
        lines = [line.strip() for line in told.splitlines() if line.strip()]
        reason = next((line for line in lines if "fatal:" in line or "error:" in line), lines[-1] if lines else "")
        reason = reason.partition("fatal: ")[2] or reason
        if "couldn't find remote ref" in told or "not our ref" in told:
            raise NotFoundError(f"{address}: there is no {address.ref or 'commit'}") from None
        raise TransportError(
            f"git {verb}: {reason}", sent=verb == "push", path=str(address), hint="does 'git clone' work with it?"
        ) from None


def publish(address: Address, message: str, change: Callable[[Path], None]) -> str:
    """Let ``change`` work on the files of a branch, commit what it did and push; the commit, empty if it did nothing.

    A branch that is not there yet begins without history. Raises as :func:`checkout` does, RefusedError's kin when
    somebody else pushed meanwhile (TransportError): nothing is ever forced.
    """
    if not address.ref or _HEX.match(address.ref):
        raise UsageError(f"{address}: to publish, name the branch", hint="git+https://HOST/REPO.git@gh-pages#charts")
    with tempfile.TemporaryDirectory(prefix="pvehelm-git-") as scratch:
        repo = _empty(scratch)
        try:
            branch = f"refs/heads/{address.ref}"
            listed = _run(repo, address, "ls_remote", "--", address.url, branch)
            if listed.strip():
                _run(repo, address, "fetch", "--quiet", "--depth=1", "--no-tags", "--", address.url, branch)
                repo.git.checkout("--quiet", "-B", "published", "FETCH_HEAD")
            else:
                repo.git.checkout("--quiet", "--orphan", "published")
            folder = Path(scratch, address.path)
            folder.mkdir(parents=True, exist_ok=True)
            if Path(scratch).resolve() not in (folder.resolve(), *folder.resolve().parents):
                raise InvalidError(f"{address}: the folder leads out of the repository")
            change(folder)
            repo.git.add("--all", "--force", "--", ".")
            if not repo.git.status("--porcelain").strip():
                return ""
            author = {f"GIT_{who}_{what}": _author(repo, what) for who in ("AUTHOR", "COMMITTER") for what in _WHO}
            with repo.git.custom_environment(**author):
                repo.git.commit("--quiet", "--no-verify", "--no-gpg-sign", f"--message={message}")
            _run(repo, address, "push", "--quiet", "--", address.url, f"HEAD:{branch}")
            return repo.head.commit.hexsha
        finally:
            repo.close()


_WHO = {"NAME": ("user.name", "pvehelm"), "EMAIL": ("user.email", "pvehelm@localhost")}


def _author(repo: git.Repo, what: str) -> str:
    from git.exc import CommandError

    key, default = _WHO[what]
    try:
        return str(repo.git.config("--get", key)) or default
    except CommandError:
        return default
