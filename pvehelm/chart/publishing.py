"""The publication: a package put where others find it. What is published is never replaced unless that is asked."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pvehelm.chart import git, repo
from pvehelm.chart.archives import Archive
from pvehelm.chart.book import Book
from pvehelm.chart.catalog import is_new
from pvehelm.chart.fetch import MAX_ARCHIVE, MAX_INDEX, Answer, Fetcher
from pvehelm.chart.page import page
from pvehelm.chart.provenance import SUFFIX as PROVENANCE
from pvehelm.chart.registry import open_registry, parse
from pvehelm.chart.repositories import HOST
from pvehelm.chart.signing import SUFFIXES
from pvehelm.chart.sources import owner_of
from pvehelm.chart.sparse import FOLDER, sparse
from pvehelm.errors import ApiError, NotFoundError, PvehelmError, RefusedError, UsageError

# How often an index is brought up to date that others change, too.
ATTEMPTS = 5
_BINARY = "application/octet-stream"
_TYPES = {"yaml": "text/yaml", "html": "text/html; charset=utf-8", "json": "application/json", "gz": "application/gzip"}


def index_files(
    directory: Path, *, url: str = "", merge: str | None = None, keys: Sequence[str] = (), as_json: bool = False
) -> dict[str, bytes]:
    """What makes a folder of packages a repository, by path: ``index.yaml``, the sparse index, a page.

    ``as_json`` writes ``index.yaml`` as JSON, which is YAML too, and as Helm's ``--json`` does.
    """
    whole = repo.collect(directory, url=url, merge=merge, keys=keys)
    return {
        "index.yaml": repo.to_text(whole, as_json=as_json).encode(),
        "index.html": page(whole).encode(),
        **sparse(whole),
    }


def write_files(directory: Path, files: Mapping[str, bytes]) -> list[str]:
    """Write the files of an index and remove the sparse ones that are no longer; the paths that changed."""
    changed = []
    for path, data in files.items():
        place = directory / path
        if place.is_file() and place.read_bytes() == data:
            continue
        changed.append(path)
        write(place, data)
    for place in (directory / FOLDER / "charts").glob("*.json.gz"):
        path = place.relative_to(directory).as_posix()
        if path not in files:
            place.unlink()
            changed.append(path)
    return sorted(changed)


def write(place: Path, data: bytes) -> None:
    """A file whole or not at all, as others may read it meanwhile."""
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(place)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise PvehelmError(f"{place} cannot be written: {error.strerror or error}") from None


def to_folder(archive: Archive, folder: Path, *, url: str = "", force: bool = False, name: str = "") -> list[str]:
    """Put a package into a folder (which people know as ``name``) and bring its index up to date; what was done, line
    by line."""
    place = folder / archive.filename
    if place.is_file() and (there := place.read_bytes()) != archive.data:
        _may_replace(there, archive, f"{name or folder}/{archive.filename}", force)
        # Signatures of what was there before.
        for suffix in (PROVENANCE, *SUFFIXES):
            place.with_name(place.name + suffix).unlink(missing_ok=True)
    write(place, archive.data)
    for suffix, data in archive.sidecars.items():
        write(place.with_name(place.name + suffix), data)
    listed = folder / "index.yaml"
    as_json = listed.is_file() and listed.read_bytes().startswith(b"{")
    write_files(folder, index_files(folder, url=url, as_json=as_json))
    return [f"Pushed: {place}", f"Digest: sha256:{archive.sha256}"]


def to_branch(archive: Archive, address: git.Address, *, url: str = "", force: bool = False) -> list[str]:
    """Put a package on a branch that is served as static pages; committed and pushed, never forced."""
    if not address.ref:
        raise UsageError(f"{address}: to publish, name the branch", hint="git+https://HOST/REPO.git@gh-pages#charts")
    title = f"{archive.chart.metadata.name} {archive.chart.version}"
    commit = git.publish(
        address,
        f"Publish {title}",
        lambda folder: to_folder(archive, folder, url=url, force=force, name=str(address)),
    )
    return [f"Pushed: {address}" + (f" ({commit[:12]})" if commit else ", where it was already"),
            f"Digest: sha256:{archive.sha256}"]  # fmt: skip


def to_address(
    book: Book, archive: Archive, target: str, *, url: str = "", force: bool = False, index: bool = False
) -> list[str]:
    """Send a package by HTTP PUT into the folder ``target``; its index is the server's business, unless ``index``,
    which lists it below ``url`` (by default where the index is)."""
    target = target.rstrip("/")
    repository = owner_of(book, target + "/")
    place = f"{target}/{archive.filename}"
    with book.fetcher(repository) as fetcher:
        try:
            there = fetcher.get(place, limit=MAX_ARCHIVE).body
        except NotFoundError:
            there = None
        if there is not None:
            _may_replace(there, archive, place, force)
        if there != archive.data:
            fetcher.send("PUT", place, archive.data, headers={"Content-Type": "application/gzip"})
        for suffix, data in archive.sidecars.items():
            fetcher.send("PUT", place + suffix, data, headers={"Content-Type": _BINARY})
        told = _send_index(fetcher, target, archive, url) if index else []
    if not index and is_new(repository):
        told = [f"Index: nothing is listed at {repository.url} yet; where the server makes none, --index does"]
    return [f"Pushed: {place}", f"Digest: sha256:{archive.sha256}", *told]


def _send_index(fetcher: Fetcher, target: str, archive: Archive, url: str) -> list[str]:
    """Bring the index at ``target`` up to date, and what is made from it, until nobody has changed it meanwhile."""
    place = f"{target}/index.yaml"
    for _ in range(ATTEMPTS):
        there = _found(fetcher, place)
        text = there.body.decode("utf-8", "replace") if there else ""
        whole, changed = repo.added(text, archive.data, name=archive.filename, url=url, file=place)
        data = repo.to_text(whole, as_json=text.startswith("{")).encode()
        if changed:
            tag = there.headers.get("etag", "") if there else "*"
            condition = {"If-Match" if there else "If-None-Match": tag} if tag and not tag.startswith("W/") else {}
            headers = {**condition, "Content-Type": _TYPES["yaml"]}
            if fetcher.send("PUT", place, data, headers=headers, accept=(412,)).status == 412:
                continue
        told = _send_made(fetcher, target, whole)
        after = _found(fetcher, place)
        if after and after.body == (data if changed else text.encode()):
            return [f"Index: {place}", *told]
    raise PvehelmError(f"others change {place} all the time", hint="push once more: the package is there")


def _send_made(fetcher: Fetcher, target: str, whole: Mapping[str, Any]) -> list[str]:
    """What is made from an index: the page, and the files of the sparse index that are not there as they should be."""
    fetcher.send("PUT", f"{target}/index.html", page(whole).encode(), headers={"Content-Type": _TYPES["html"]})
    head = f"{FOLDER}/index.json"
    there = _found(fetcher, f"{target}/{head}")
    files = sparse(whole)
    old = _digests(there.body if there else b"{}")
    new = _digests(files[head])
    try:
        # What names the others comes last.
        for path in [*(f"{FOLDER}/{file}" for file, digest in new.items() if old.get(file) != digest), head]:
            fetcher.send(
                "PUT", f"{target}/{path}", files[path], headers={"Content-Type": _TYPES[path.rpartition(".")[2]]}
            )
    except (ApiError, NotFoundError) as error:
        if there is not None:
            raise
        return [f"note: no sparse index, which clients can do without: {error}"]
    return []


def _digests(head: bytes) -> dict[str, str]:
    """The files that a sparse index names, with their SHA-256."""
    try:
        return {str(one["file"]): str(one["sha256"]) for one in json.loads(head)["charts"].values()}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _found(fetcher: Fetcher, url: str) -> Answer | None:
    try:
        return fetcher.get(url, limit=MAX_INDEX, encoded=True)
    except NotFoundError:
        return None


def to_registry(book: Book, archive: Archive, target: str, *, force: bool = False) -> list[str]:
    """Push a package to ``oci://HOST/PATH``, below which it gets its name and its version for tag."""
    host, _, path = target.removeprefix("oci://").rstrip("/").partition("/")
    if not re.fullmatch(HOST, host):
        raise UsageError(f"{target!r} is no place in a registry", hint="oci://HOST/PATH")
    name = f"{path}/{archive.chart.metadata.name}".strip("/")
    reference = parse(f"oci://{host}/{name}:{archive.chart.version.replace('+', '_')}")
    registry = open_registry(book, host)
    try:
        try:
            there, digest = registry.pull(reference)
        except NotFoundError:
            there, digest = None, ""
        if there is not None:
            _may_replace(there.data, archive, str(reference), force)
        if there is None or there.data != archive.data or there.sidecars != archive.sidecars:
            reference, digest = registry.push(path, archive)
    finally:
        registry.close()
    return [f"Pushed: {reference}", f"Digest: {digest}"]


def _may_replace(there: bytes, archive: Archive, place: str, force: bool) -> None:
    if there == archive.data or force:
        return
    raise RefusedError(
        f"{place} is there already with other contents (sha256:{hashlib.sha256(there).hexdigest()})",
        hint="give the chart a new version; --force replaces what others may have locked",
    )
