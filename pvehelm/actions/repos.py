"""Repositories and dependencies: add, search, pull, push, index, sign, verify, resolve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.actions import action
from pvehelm.errors import InvalidError, NotFoundError, Problem, PvehelmError, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.archives import Archive
    from pvehelm.chart.book import Book, Login, Repository
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.lock import Locked
    from pvehelm.chart.resolver import Chosen


def book() -> Book:
    """The repositories that are configured."""
    from pvehelm.chart.book import load

    return load()


# -- repositories ----------------------------------------------------------------------------------------------


@action("local", "repo-add")
def repo_add(
    repository: Repository, *, password: str | None = None, force: bool = False, new: bool = False
) -> tuple[Repository, str, bool]:
    """Add a chart repository, once its index could be read; the keys that it names are trusted from now on. A ``new``
    one may have no index yet.

    The repository, the fingerprints of its keys, and whether anything is new.
    """
    from pvehelm.chart import catalog, repositories, signing
    from pvehelm.chart.fetch import Credentials, Fetcher

    have = book()
    repositories.check(repository)
    before = have.repositories.get(repository.name)
    if before is not None and not force:
        if before.base != repository.base or before.username != repository.username:
            raise InvalidError(
                f"there is a repository {repository.name!r} already, at {before.url}", hint="--force-update replaces it"
            )
        repository = repository._replace(keys=repository.keys or before.keys, secret=repository.secret or before.secret)
        if not any(repository.tls):
            ca, cert, key, insecure = before.tls
            repository = repository._replace(ca_file=ca, cert_file=cert, key_file=key, insecure=insecure)
    given = Credentials(repository.username, password) if password is not None else have.credentials(repository)
    catalog.update(have, repository, Fetcher(repository.url, given, tls=repository.tls), new=new)
    repository = repository._replace(keys=repository.keys or catalog.Catalog(repository).keys)
    for key in repository.keys:
        signing.public_keys(key, file=f"a key that the index of {repository.name} names")
    repositories.add(have, repository, password=password, force=True)
    prints = ", ".join(one.fingerprint for key in repository.keys for one in signing.public_keys(key))
    return repository, prints, password is not None or repository != before


@action("local", "repo-list")
def repo_list() -> list[dict[str, str]]:
    """List chart repositories."""
    return [
        {"name": one.name, "url": one.url} for one in sorted(book().repositories.values(), key=lambda one: one.name)
    ]


@action("local", "repo-remove")
def repo_remove(names: Sequence[str]) -> None:
    """Remove chart repositories and what was kept of them."""
    from pvehelm.chart import catalog, repositories

    have = book()
    gone = [have.find(name) for name in names]
    left = repositories.remove(have, list(names))
    for one in gone:
        if left.at(one.url).name == "":
            catalog.forget(one)


class Updated(NamedTuple):
    """What asking one repository brought: changed or not, what of its index was skipped, or why it failed."""

    name: str
    changed: bool = False
    skipped: tuple[Problem, ...] = ()
    warning: str = ""
    error: PvehelmError | None = None


@action("local", "repo-update")
def repo_update(names: Sequence[str] = ()) -> list[Updated]:
    """Ask repositories what they offer now."""
    have = book()
    chosen = [have.find(name) for name in names] or sorted(have.repositories.values(), key=lambda one: one.name)
    if not chosen:
        raise NotFoundError("there are no repositories", hint="'pvehelm repo add NAME URL' adds one")
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda one: _update(have, one), chosen))


def _update(have: Book, repository: Repository) -> Updated:
    from pvehelm.chart import catalog

    try:
        index = catalog.update(have, repository)
        named = set(catalog.Catalog(repository).keys)
    except PvehelmError as error:
        return Updated(repository.name, error=error)
    warning = ""
    if named and repository.keys and not named & set(repository.keys):
        warning = "its index names other keys than those trusted here; packages are checked with the trusted ones"
    return Updated(repository.name, index is not None, index.skipped if index else (), warning)


@action("local", "repo-index")
def repo_index(
    directory: Path, *, url: str = "", merge: str | None = None, keys: Sequence[str] = (), as_json: bool = False
) -> dict[str, bytes]:
    """The files that make a folder of packages a repository: index (``as_json`` if wanted), sparse index, page.

    Idempotent."""
    from pvehelm.chart import publishing, signing

    named = tuple(one.text for key in keys for one in signing.public_keys(key))
    return publishing.index_files(directory, url=url, merge=merge, keys=named, as_json=as_json)


# -- searching -------------------------------------------------------------------------------------------------


@action("read", "search-repo")
def search(
    word: str = "", *, regexp: bool = False, every: bool = False, devel: bool = False, version: str = ""
) -> list[dict[str, Any]]:
    """Search the repositories for charts by name, description and keywords."""
    from pvehelm.chart.catalog import Catalog

    have = book()
    if not have.repositories:
        raise NotFoundError("there are no repositories", hint="'pvehelm repo add NAME URL' adds one")
    rows: list[dict[str, Any]] = []
    for repository in sorted(have.repositories.values(), key=lambda one: one.name):
        catalog = Catalog(repository)
        names = catalog.search(word, regexp=regexp)
        rows += [
            {"name": f"{repository.name}/{name}", "version": text, "app_version": app, "description": description}
            for name, text, app, description in catalog.offers(names, version, devel=devel, every=every)
        ]
    return rows


# -- pulling and verifying -------------------------------------------------------------------------------------


class Wish(NamedTuple):
    """How a chart is named on the command line besides its name."""

    version: str = ""
    repo: str = ""
    devel: bool = False


def values_at(url: str) -> str:
    """The text of a values file at a web address."""
    from pvehelm.chart.sources import fetch_values

    return fetch_values(book(), url)


@action("local", "pull")
def pull(chart: str, wish: Wish = Wish(), *, sidecars: bool = False) -> Archive:
    """Fetch a chart's package from a repository, a registry, an address or git; digests and signatures are checked."""
    from pvehelm.chart.sources import fetch

    return fetch(book(), chart, version=wish.version, repo=wish.repo, devel=wish.devel, sidecars=sidecars)


@action("local", "verify")
def verify(
    data: bytes,
    sidecars: Mapping[str, bytes],
    *,
    name: str,
    keys: Sequence[str] = (),
    keyring: bytes | None = None,
) -> list[str]:
    """Check who signed a package: Ed25519 signatures by public keys, Helm's provenance file by gpg."""
    from pvehelm.chart import provenance, signing
    from pvehelm.chart.archives import opened

    archive = opened(data, url=name)
    told = [f"{archive.chart.metadata.name} {archive.chart.version}, sha256:{archive.sha256}"]
    signed = {suffix: content for suffix, content in sidecars.items() if suffix in signing.SUFFIXES}
    if keys:
        key = signing.verify(data, signed, keys, name=name)
        told.append(f"signed by {key.fingerprint}")
    if provenance.SUFFIX in sidecars and not keys:
        text = sidecars[provenance.SUFFIX].decode("utf-8", "replace")
        provenance.check(data, text, name=name, filename=archive.filename)
        told.append("the digest is the provenance file's")
        told.append(f"signed by {provenance.signer(text, keyring=keyring, name=name)}")
    if len(told) == 1:
        what = "--key names the public keys that you trust" if signed else "it has no .sig, .minisig or .prov beside it"
        raise InvalidError(f"{name} cannot be verified", [Problem(name, what)])
    return told


@action("local", "sign")
def sign(data: bytes, secret_key: str, *, name: str, file: str, passphrase: Callable[[], str]) -> tuple[str, bytes]:
    """Sign a package with an OpenSSH or minisign Ed25519 key: the signature file's suffix and content."""
    from pvehelm.chart import signing

    return signing.sign(data, secret_key, name=name, passphrase=passphrase, file=file)


# -- publishing ------------------------------------------------------------------------------------------------


@action("local", "push")
def push(archive: Archive, target: str, *, url: str = "", force: bool = False, index: bool = False) -> list[str]:
    """Publish a package: to a folder, an address that takes PUT (with ``index`` the index there, too, which folders and
    branches get anyway), a registry, or a branch of a git repository."""
    from pvehelm.chart import git, publishing

    have = book()
    scheme = target.partition(":")[0] if "://" in target else ""
    if scheme == "oci" and (index or url):
        raise UsageError(
            "a registry has no index", hint="--index and --url are for folders that a web server hands out"
        )
    if scheme == "oci":
        return publishing.to_registry(have, archive, target, force=force)
    if scheme in git.SCHEMES:
        return publishing.to_branch(archive, git.parse(target), url=url, force=force)
    if scheme in ("http", "https"):
        return publishing.to_address(have, archive, target, url=url, force=force, index=index)
    if scheme not in ("", "file"):
        raise UsageError(
            f"{target} is no place to publish", hint="a folder, https://, oci:// or git+https://...@BRANCH"
        )
    from pvehelm.chart.fetch import local_path

    return publishing.to_folder(archive, Path(local_path(target) if scheme else target), url=url, force=force)


@action("local", "registry-login")
def registry_login(host: str, login: Login) -> None:
    """Log in at a registry; the login is kept for the owner's eyes only. Without a user it is said how to ask it."""
    from pvehelm.chart import registry, repositories

    repositories.check_login(host, login)
    if login.username and not login.secret:
        asked = registry.Registry(host, login)
        try:
            asked.check()
        finally:
            asked.close()
    repositories.login(book(), host, login)


@action("local", "registry-logout")
def registry_logout(host: str) -> bool:
    """Forget the login at a registry; whether there was one."""
    from pvehelm.chart import repositories

    return repositories.logout(book(), host)


# -- dependencies ----------------------------------------------------------------------------------------------


class Vendored(NamedTuple):
    """What a chart's folder gets: files by path within it, paths that go, and what was chosen."""

    files: Mapping[str, bytes]
    remove: tuple[str, ...]
    chosen: tuple[Locked, ...] = ()


@action("local", "dependency-list")
def dependency_list(chart: Chart) -> list[dict[str, str]]:
    """List a chart's dependencies and whether charts/ has them as locked."""
    from pvehelm.chart import lock

    locked = lock.of(chart)
    return [
        {
            "name": need.name,
            "version": need.version,
            "repository": need.repository,
            "status": _status(chart, need, locked),
        }
        for need in chart.metadata.dependencies
    ]


def _status(chart: Chart, need: Any, locked: Any) -> str:
    from hashlib import sha256

    from pvehelm.chart.dependencies import compatible

    subs = [sub for sub in chart.dependencies if sub.metadata.name == need.name]
    if not subs:
        return "missing"
    fitting = [sub for sub in subs if compatible(need, sub)]
    if not fitting:
        return "wrong version"
    if locked is not None and not locked.fits(chart):
        return "lock is out of date"
    files = [f"charts/{need.name}-{sub.version}.tgz" for sub in fitting]
    packed = [file for file in files if file in chart.raw]
    if not packed:
        return "unpacked"
    for one in locked.dependencies if locked is not None else ():
        data = chart.raw.get(f"charts/{one.filename}")
        wanted = one.packed or one.sha256
        if one.name == need.name and wanted and data is not None and sha256(data).hexdigest() != wanted:
            return "not as locked"
    return "ok"


@action("local", "dependency-update")
def dependency_update(chart: Chart, folder: Path, *, refresh: bool = True) -> Vendored:
    """Choose the newest dependencies that Chart.yaml allows, fetch them and lock them."""
    from pvehelm.chart.resolver import resolve
    from pvehelm.chart.sources import Sources

    _no_folders(chart)
    return _vendored(chart, resolve(chart, Sources(book(), refresh), folder))


@action("local", "dependency-build")
def dependency_build(chart: Chart, folder: Path, *, refresh: bool = True) -> Vendored:
    """Fetch exactly the dependencies that Chart.lock names; without a lock, choose them."""
    from pvehelm.chart import lock
    from pvehelm.chart.resolver import rebuild
    from pvehelm.chart.sources import Sources

    locked = lock.of(chart)
    if locked is None:
        return dependency_update(chart, folder, refresh=refresh)
    if not locked.fits(chart):
        raise InvalidError(
            f"{chart.path}: Chart.lock was made for other dependencies than Chart.yaml names",
            [Problem(chart.file("Chart.lock"), "its digest does not fit")],
            hint="'pvehelm dependency update' chooses anew",
        )
    _no_folders(chart)
    made = _vendored(chart, rebuild(chart, locked.dependencies, Sources(book(), refresh), folder))
    return Vendored({path: data for path, data in made.files.items() if path != lock.FILE}, made.remove, made.chosen)


def _no_folders(chart: Chart) -> None:
    problems = [
        Problem(chart.file(f"charts/{need.name}"), f"is a folder, but {need.name} comes from {need.repository}",
                "remove the folder, or the repository in Chart.yaml")
        for need in chart.metadata.dependencies
        if need.repository and any(path.startswith(f"charts/{need.name}/") for path in chart.raw)
    ]  # fmt: skip
    if problems:
        raise InvalidError(f"{chart.path}: some dependencies would be there twice", problems)


def _vendored(chart: Chart, chosen: Sequence[Chosen]) -> Vendored:
    from pvehelm.chart import lock

    made = lock.made(chart, [one.locked for one in chosen])
    files = {f"charts/{one.locked.filename}": one.data for one in chosen if one.data is not None}
    before = lock.of(chart) if lock.FILE in chart.raw else None
    names = {one.name for one in (*made.dependencies, *(before.dependencies if before else ()))}
    old = {f"charts/{sub.metadata.name}-{sub.version}.tgz" for sub in chart.dependencies if sub.metadata.name in names}
    remove = tuple(sorted(path for path in old if path in chart.raw and path not in files))
    return Vendored({**files, lock.FILE: made.to_text().encode()}, remove, made.dependencies)
