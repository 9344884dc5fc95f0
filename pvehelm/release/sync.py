"""The sync: which chart or manifests of a git repository are which release. Declared as a document of its own:

kind: Sync
metadata: { name: web, namespace: production }
spec: { repository: git+https://HOST/REPO.git@main, chart: charts/web, values: [prod.yaml], policy: repair }
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pvehelm.chart.yaml import Document, load_all
from pvehelm.durations import seconds
from pvehelm.errors import Problem, PvehelmError
from pvehelm.release.policy import Policy
from pvehelm.release.release import check_name

API_VERSION = "proxmox.io/v1"
POLICY = ("interval", "windows", "freezes", "timezone")
# What is said of a chart that is named by its address.
PUBLISHED = ("version", "digest", "chartSigners")
TEXT, TEXTS, MAP, FLAG = "text", "a list of texts", "a map", "true or false"
FIELDS = {
    "repository": TEXT,
    "chart": TEXT,
    "version": TEXT,
    "digest": TEXT,
    "chartSigners": TEXTS,
    "values": TEXTS,
    "set": MAP,
    "manifests": TEXTS,
    "release": TEXT,
    "policy": TEXT,
    "interval": "a time",
    "windows": TEXTS,
    "freezes": TEXTS,
    "timezone": TEXT,
    "signers": TEXTS,
    "allowRewind": FLAG,
    "secrets": TEXTS,
    "allowPrivileged": TEXTS,
    "createNamespace": FLAG,
    "wait": FLAG,
    "timeout": "a time",
}


@dataclass(frozen=True)
class Sync:
    """One declaration. ``chart`` is a folder of the repository or the address of a published chart (of ``version``),
    ``values`` and ``manifests`` are files and folders of the repository; ``set`` are values on top of them. ``signers``
    are those whose commits count, if any are given, and then each must come after the last (unless ``allow_rewind``).
    ``package`` is the SHA-256 of a published chart in hex, ``chart_signers`` are the public keys of its signatures;
    ``secrets`` the resolvers that references in the repository may use beside ``release``; ``timeout`` is in seconds.
    """

    name: str
    namespace: str
    repository: str
    release: str
    chart: str = ""
    version: str = ""
    values: tuple[str, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    manifests: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    signers: tuple[str, ...] = ()
    allow_rewind: bool = False
    package: str = ""
    chart_signers: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    allow_privileged: tuple[str, ...] = ()
    create_namespace: bool = False
    wait: bool = False
    timeout: float | None = None

    @property
    def digest(self) -> str:
        """Names what is declared, as far as it decides what is applied."""
        what: list[Any] = [self.chart, self.version, self.values, self.set, self.manifests, self.repository]
        what += [self.signers, self.package, self.chart_signers]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


class Reading:
    """One document being read: its fields checked, every problem with its place."""

    def __init__(self, document: Document, file: str) -> None:
        self.document, self.file = document, file
        self.problems: list[Problem] = []

    def problem(self, path: tuple[str | int, ...], what: str, hint: str = "") -> None:
        mark = self.document.marks.nearest(path)
        self.problems.append(Problem(f"{self.file}:{mark.line}:{mark.column}", what, hint))

    def map(self, data: Any, path: tuple[str | int, ...], fields: Mapping[str, str]) -> dict[str, Any]:
        """The fields of a map that are of the right type; the others are problems."""
        where = ".".join(map(str, path)) or "the document"
        if not isinstance(data, Mapping):
            self.problem(path, f"{where} must be a map")
            return {}
        found: dict[str, Any] = {}
        for name, value in data.items():
            if name not in fields:
                from pvehelm.suggest import suggest

                close = suggest(name, list(fields))
                hint = f"did you mean {close}?" if close else f"known: {', '.join(fields)}"
                self.problem((*path, name), f"{name}: unknown field", hint)
            elif not _fits(value, fields[name]):
                self.problem((*path, name), f"{name} must be {fields[name]}, not {value!r}")
            else:
                found[name] = value
        return found

    def convert(self, path: tuple[str | int, ...], make: Callable[[], Any]) -> Any:
        """What ``make`` gives; what it complains of is a problem here."""
        try:
            return make()
        except PvehelmError as error:
            self.problem(path, str(error), error.hint)
            return None


def _fits(value: Any, what: str) -> bool:
    if what == TEXT:
        return isinstance(value, str) and bool(value)
    if what == TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) and one for one in value)
    if what == MAP:
        return isinstance(value, Mapping)
    if what == "a list":
        return isinstance(value, list)
    if what == FLAG:
        return isinstance(value, bool)
    if what == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def documents(text: str, file: str) -> Iterable[tuple[str, Reading]]:
    """Every document that is not empty, by its kind. Raises InvalidError for what is no YAML."""
    for document in load_all(text, file=file):
        if document.data is None:
            continue
        reading = Reading(document, file)
        data = document.data if isinstance(document.data, Mapping) else {}
        if data.get("apiVersion", API_VERSION) != API_VERSION:
            reading.problem(("apiVersion",), f"apiVersion {data['apiVersion']!r}", f"expected is {API_VERSION}")
        yield str(data.get("kind", "")), reading


def read(reading: Reading, *, namespace: str, default: Policy) -> Sync | None:
    """The sync of a document; None where it has problems."""
    from pvehelm.chart import git

    top = reading.map(reading.document.data, (), {"apiVersion": TEXT, "kind": TEXT, "metadata": MAP, "spec": MAP})
    meta = reading.map(top.get("metadata", {}), ("metadata",), {"name": TEXT, "namespace": TEXT})
    spec = reading.map(top.get("spec", {}), ("spec",), FIELDS)
    if "name" not in meta:
        reading.problem(("metadata",), "a Sync needs metadata.name")
    if "repository" in spec:
        reading.convert(("spec", "repository"), lambda: git.parse(spec["repository"]))
    else:
        reading.problem(("spec",), "a Sync needs spec.repository", "git+https://HOST/REPO.git@REF#FOLDER")
    if ("chart" in spec) == ("manifests" in spec):
        reading.problem(("spec",), "a Sync needs either chart or manifests", "chart: charts/web, or manifests: [prod]")
    for name in ("values", "set", *PUBLISHED):
        if name in spec and "chart" not in spec:
            reading.problem(("spec", name), f"{name} goes with chart")
    for name in PUBLISHED:
        if name in spec and "://" not in spec.get("chart", "://"):
            hint = "a folder has one version" if name == "version" else "a folder is covered by the commit's signature"
            reading.problem(("spec", name), f"{name} goes with a chart's address", hint)
    if spec.get("signers") and "://" in spec.get("chart", "") and not (spec.get("digest") or spec.get("chartSigners")):
        hint = "digest: sha256:HEX of the package, or chartSigners with the keys that it is signed with"
        reading.problem(("spec", "chart"), "a chart by its address is not covered by the signature of a commit", hint)
    if "allowRewind" in spec and not spec.get("signers"):
        reading.problem(("spec", "allowRewind"), "allowRewind goes with signers", "without them any commit counts")
    package = str(spec.get("digest", "")).removeprefix("sha256:").lower()
    if "digest" in spec and not re.fullmatch("[0-9a-f]{64}", package):
        reading.problem(("spec", "digest"), f"{spec['digest']!r} is no digest", "sha256: and 64 digits of hex")
    for name in ("values", "manifests"):
        for index, path in enumerate(spec.get(name, ())):
            if _leads_out(path):
                reading.problem(("spec", name, index), f"{path!r} leads out of the repository")
    if _leads_out(spec.get("chart", "")) and "://" not in spec.get("chart", ""):
        reading.problem(("spec", "chart"), f"{spec['chart']!r} leads out of the repository")
    policy = default
    for name in ("policy", *POLICY):
        if name in spec:
            given = {"mode" if name == "policy" else name: spec[name]}
            made = reading.convert(("spec", name), partial(Policy.from_json, {**default.to_json(), **given}))
            if made is not None:
                policy = policy.changed(**{next(iter(given)): getattr(made, next(iter(given)))})
    timeout = reading.convert(("spec", "timeout"), lambda: seconds(spec["timeout"])) if "timeout" in spec else None
    name = spec.get("release", meta.get("name", ""))
    reading.convert(("metadata", "name"), lambda: name and check_name(name))
    if reading.problems:
        return None
    texts = {name: tuple(spec.get(name, ())) for name in ("values", "manifests", "signers", "secrets")}
    return Sync(
        meta["name"],
        meta.get("namespace", namespace),
        spec["repository"],
        name,
        spec.get("chart", ""),
        spec.get("version", ""),
        set=spec.get("set", {}),
        policy=policy,
        allow_privileged=tuple(spec.get("allowPrivileged", ())),
        create_namespace=spec.get("createNamespace", False),
        wait=spec.get("wait", False),
        timeout=timeout,
        allow_rewind=spec.get("allowRewind", False),
        package=package,
        chart_signers=tuple(spec.get("chartSigners", ())),
        **texts,
    )


def _leads_out(path: str) -> bool:
    return path.startswith("/") or ".." in path.split("/")
