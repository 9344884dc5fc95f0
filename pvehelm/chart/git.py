"""The git repository: charts that lie in one (``git+https://HOST/REPO.git@REF#PATH``), and pages published on a branch.

Only https, ssh and local repositories are spoken to, no address may begin like an option, no option comes from outside,
nothing is asked on the terminal, and neither submodules nor large-file filters are followed.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pvehelm.errors import InvalidError, NotFoundError, Problem, PvehelmError, TransportError, UsageError

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

_NAMED = "a branch, a tag, or a commit in full"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a chart is: ``url`` for git, a branch, tag or commit (empty: the default branch), a folder."""

    url: str
    ref: str = ""
    path: str = ""

    def __str__(self) -> str:
        return f"git+{self.url}" + (f"@{self.ref}" if self.ref else "") + (f"#{self.path}" if self.path else "")


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


def commit_of(address: Address) -> str:
    """The commit that the address's ref stands for now, asked of the repository. Raises as :func:`checkout` does."""
    if _HEX.match(address.ref):
        return address.ref
    ref = address.ref or "HEAD"
    with tempfile.TemporaryDirectory(prefix="pvehelm-git-") as scratch:
        repo = _empty(scratch)
        try:
            wanted = [ref, f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}"]
            listed = _run(repo, address, "ls_remote", "--", address.url, *wanted)
        finally:
            repo.close()
    found = {name: commit for commit, _, name in (line.partition("\t") for line in listed.splitlines())}
    for name in wanted:
        if name in found:
            return found[name]
    raise NotFoundError(f"{address}: there is no {address.ref or 'commit'}", hint=_NAMED)


@contextmanager
def checkout(address: Address, signers: Sequence[str] = (), *, after: str = "") -> Iterator[tuple[Path, Address]]:
    """The files of a commit in a folder that is gone afterwards, and the address with that commit for its ref.

    With ``signers`` (lines of an allowed_signers file, armoured OpenPGP keys) the commit must be signed by one of them,
    and with ``after`` (a commit) come from it.
    Raises NotFoundError without such a ref or folder, TransportError when git gets no further, InvalidError for a
    commit that is not signed as it must be.
    """
    with tempfile.TemporaryDirectory(prefix="pvehelm-git-") as scratch:
        repo = _fetched(address, scratch)
        try:
            repo.git.checkout("--quiet", "--detach", "FETCH_HEAD")
            commit = repo.head.commit.hexsha
            if signers:
                _verify(repo, replace(address, ref=commit), signers)
            if after and commit != after and not _HEX.match(address.ref):
                _follows(repo, address, commit, after)
            modules = _submodules(repo, address.path)
        finally:
            repo.close()
        shutil.rmtree(Path(scratch, ".git"))
        root = Path(scratch)
        folder = root / address.path
        if not folder.is_dir() or root.resolve() not in (folder.resolve(), *folder.resolve().parents):
            hint = "submodules are not followed: name the repository of the submodule"
            hint = hint if (root / ".gitmodules").exists() else ""
            raise NotFoundError(f"{address}: there is no folder {address.path!r}", hint=hint)
        if modules:
            what = "is a submodule, and submodules are not followed"
            hint = "copy the files in, or make it a dependency: git+https://ITS-REPOSITORY@REF#FOLDER"
            raise InvalidError(f"{address} is not whole", [Problem(path, what, hint) for path in modules])
        yield folder, replace(address, ref=commit)


def _follows(repo: git.Repo, address: Address, commit: str, before: str) -> None:
    """Raise InvalidError unless the history of a commit holds another one."""
    from git.exc import CommandError

    # All of the history, since nobody knows how far back it is. It is what the commit's own name covers.
    _run(repo, address, "fetch", "--quiet", "--depth=2147483647", "--no-tags", "--", address.url, address.ref or "HEAD")
    try:
        repo.git.merge_base("--is-ancestor", before, commit)
    except CommandError:
        what = f"commit {commit[:12]} does not come after {before[:12]}, which was applied last"
        hint = "the branch was rewound: push a commit on top, or allow it (allowRewind: true)"
        raise InvalidError(f"{address}: {what}", hint=hint) from None


PGP = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


def _verify(repo: git.Repo, address: Address, signers: Sequence[str]) -> None:
    """Raise InvalidError unless HEAD carries a signature of one of the signers, and of nobody else's choice of keys."""
    from git.exc import CommandError

    with tempfile.TemporaryDirectory(prefix="pvehelm-signers-") as keys:
        lines = [line for text in signers if PGP not in text for line in text.splitlines() if line.strip()]
        allowed = Path(keys, "allowed_signers")
        allowed.write_text("".join(_signer(line) + "\n" for line in lines), encoding="utf-8")
        _import(keys, [text for text in signers if PGP in text])
        settings = {"gpg.ssh.allowedSignersFile": str(allowed), "gpg.minTrustLevel": "undefined"}
        programs = {"gpg.program": "gpg", "gpg.openpgp.program": "gpg", "gpg.ssh.program": "ssh-keygen"}
        with repo.git.custom_environment(GNUPGHOME=keys):
            try:
                options = [
                    part for name, value in {**settings, **programs}.items() for part in ("-c", f"{name}={value}")
                ]
                repo.git.execute(["git", *options, "verify-commit", "--raw", "HEAD"], kill_after_timeout=60)
            except CommandError as error:
                told = str(error.stderr or "").strip().strip("'").strip()
                signed = "NO_PUBKEY" in told or "No principal" in told or "Good" in told
                what = "it is signed by somebody else" if signed else "it is not signed, or not rightly"
                raise InvalidError(
                    f"{address.url}: commit {address.ref[:12]} is not signed by an allowed signer",
                    [Problem("", what)],
                    hint="sign it (git commit -S) with a key of the signers, or add the signer's key to them",
                ) from None


def _signer(line: str) -> str:
    """A line of an allowed_signers file; of a public key alone one for whoever has it."""
    plain = line.strip()
    return f"* {plain}" if plain.startswith(("ssh-", "ecdsa-", "sk-")) else plain


def _import(home: str, keys: Sequence[str]) -> None:
    """Make a keyring of these keys alone."""
    import subprocess

    os.chmod(home, 0o700)
    for text in keys:
        line = ["gpg", "--homedir", home, "--batch", "--quiet", "--no-autostart", "--import"]
        try:
            done = subprocess.run(line, input=text, capture_output=True, text=True, check=False, timeout=60)
        except OSError as error:
            raise PvehelmError(f"gpg can't be run: {error.strerror}", hint="install gnupg") from None
        if done.returncode:
            raise InvalidError(f"a signer's key can't be used: {' '.join(done.stderr.split())[-200:]}")


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
            raise NotFoundError(f"{address}: there is no {address.ref or 'commit'}", hint=_NAMED) from None
        raise TransportError(
            f"git {verb.replace('_', '-')}: {reason}",
            sent=verb == "push",
            path=str(address),
            hint="does 'git clone' work with it?",
        ) from None


def publish(address: Address, message: str, change: Callable[[Path], object]) -> str:
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


# -- the repository that a chart is developed in -----------------------------------------------------------------


def _around(folder: str | os.PathLike[str]) -> git.Repo:
    """The repository around a folder. Raises NotFoundError."""
    try:
        import git
    except ImportError as error:
        raise PvehelmError(f"git is needed and cannot be used: {error}".splitlines()[0], hint="install git") from None
    from git.exc import InvalidGitRepositoryError, NoSuchPathError

    try:
        repo = git.Repo(folder, search_parent_directories=True)
    except (InvalidGitRepositoryError, NoSuchPathError):
        raise NotFoundError(f"{os.fspath(folder)} is in no git repository") from None
    repo.git.update_environment(**_ENVIRONMENT)
    return repo


def _commit(repo: git.Repo, ref: str) -> git.Commit:
    from git.exc import GitError, ODBError

    try:
        return repo.commit("HEAD" if not ref else ref if not ref.startswith("-") else "")
    except (GitError, ODBError, ValueError, IndexError):
        raise NotFoundError(f"there is no {ref!r} in {repo.working_dir}", hint="a branch, tag or commit") from None


def changed_since(folder: str | os.PathLike[str], ref: str) -> set[Path]:
    """The files around a folder that differ from where its history left ``ref``: in commits, in the work tree, new.

    Raises NotFoundError where there is no repository, or no such ref in it.
    """
    repo = _around(folder)
    try:
        there = _commit(repo, ref)
        bases = repo.merge_base(there, repo.head.commit) or [there]
        names = repo.git.diff("--name-only", "-z", "--no-ext-diff", "--no-renames", bases[0].hexsha).split("\0")
        root = Path(repo.working_dir)
        return {root / name for name in (*names, *repo.untracked_files) if name}
    finally:
        repo.close()


def _submodules(repo: Any, path: str) -> list[str]:
    """The submodules in a folder of the commit that is checked out: they are empty folders there."""
    listed = repo.git.ls_tree("-r", "-z", "HEAD", "--", *([path] if path else []))
    return [entry.partition("\t")[2] for entry in listed.split("\0") if entry.startswith("160000 ")]


@contextmanager
def at(folder: str | os.PathLike[str], ref: str) -> Iterator[Path | None]:
    """A folder as it was at a ref of its own repository, gone afterwards; None where it was not there yet.

    Raises NotFoundError where there is no repository, or no such ref in it.
    """
    repo = _around(folder)
    try:
        tree = _commit(repo, ref).tree
        place = Path(folder).resolve().relative_to(Path(repo.working_dir).resolve())
        try:
            below = tree / str(place) if place.parts else tree
        except KeyError:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix="pvehelm-git-") as scratch:
            root = Path(scratch, Path(folder).resolve().name)
            items: Any = below.traverse()
            for item in items:
                # Links and submodules have no place in a chart.
                if item.type == "blob" and item.mode in (0o100644, 0o100755):
                    target = root / Path(item.path).relative_to(below.path or ".")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(item.data_stream.read())
            yield root if root.is_dir() else None
    finally:
        repo.close()
