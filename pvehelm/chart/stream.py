"""The stream: rendered files as ``helm template`` prints them, document after document.

Documents are cut as Helm cuts them (a line that begins with ``---``, wherever it stands), sorted by kind in the order
in which Kubernetes wants them, and hooks come last. Nothing here knows what a kind means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.yaml import load
from pvehelm.errors import InvalidError, NotFoundError, Problem

__all__ = ["Document", "crds", "cut", "only", "ordered", "text"]

_KIND = re.compile(r"^kind:[ \t]+([A-Za-z0-9]+)[ \t]*$", re.MULTILINE)
_SOURCE = re.compile(r"# Source: [^/\n]+/(.+)")
_SPACES = "\t\n\v\f\r \x85\xa0"
_ORDER = {
    kind: index
    for index, kind in enumerate(
        [
            "PriorityClass",
            "Namespace",
            "NetworkPolicy",
            "ResourceQuota",
            "LimitRange",
            "PodSecurityPolicy",
            "PodDisruptionBudget",
            "ServiceAccount",
            "Secret",
            "SecretList",
            "ConfigMap",
            "StorageClass",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "CustomResourceDefinition",
            "ClusterRole",
            "ClusterRoleList",
            "ClusterRoleBinding",
            "ClusterRoleBindingList",
            "Role",
            "RoleList",
            "RoleBinding",
            "RoleBindingList",
            "Service",
            "DaemonSet",
            "Pod",
            "ReplicationController",
            "ReplicaSet",
            "Deployment",
            "HorizontalPodAutoscaler",
            "StatefulSet",
            "Job",
            "CronJob",
            "IngressClass",
            "Ingress",
            "APIService",
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
        ]
    )
}
_HOOKS = frozenset(
    [
        "pre-install",
        "post-install",
        "pre-delete",
        "post-delete",
        "pre-upgrade",
        "post-upgrade",
        "pre-rollback",
        "post-rollback",
        "test",
        "test-success",
    ]
)


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a rendered file: the file's full name, the text, its kind, the events it is a hook of."""

    path: str
    text: str
    kind: str = ""
    events: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"---\n# Source: {self.path}\n{self.text}\n"


def cut(text: str) -> list[str]:
    """The documents of a text, without the blank ones, each without blanks before it."""
    # Many times as quick as a pattern with ^ in it, and charts print megabytes.
    parts = f"\n{text.lstrip(_SPACES)}".split("\n---")
    last = parts.pop()
    return [part for part in (*(f"{part}\n".lstrip(_SPACES) for part in parts), last.lstrip(_SPACES)) if part]


def ordered(files: Mapping[str, str]) -> tuple[list[Document], list[Document]]:
    """The documents of rendered files (by full name) that are installed, and the hooks, both in Helm's order.

    Documents with a hook that Helm does not know are left out, as Helm does. Raises InvalidError where a document
    whose head must be known is not readable.
    """
    plain: list[Document] = []
    hooks: list[Document] = []
    problems: list[Problem] = []
    for path in sorted(files):
        if path.rpartition("/")[2].startswith("_"):
            continue
        for part in cut(files[path]):
            try:
                kind, said = _head(part, path)
            except InvalidError as error:
                problems += error.problems
                continue
            if said is None:
                plain.append(Document(path, part, kind))
                continue
            events = tuple(event.strip().lower() for event in said.split(","))
            if _HOOKS.issuperset(events):
                hooks.append(Document(path, part, kind, events))
    if problems:
        raise InvalidError("what the templates print is no YAML", problems)
    return sorted(plain, key=_rank), sorted(hooks, key=_rank)


def crds(chart: Chart, prefix: str = "") -> Iterator[Document]:
    """The files under ``crds/`` of a chart and its subcharts (those that count: ``dependencies.enabled``)."""
    place = f"{prefix}/charts/{chart.name}" if prefix else chart.name
    for path in sorted(chart.files, key=lambda name: name.split("/")):
        if path.startswith("crds/") and path.lower().endswith((".yaml", ".yml", ".json")):
            yield Document(f"{place}/{path}", chart.files[path].decode("utf-8", "replace"), "CustomResourceDefinition")
    for sub in chart.dependencies:
        yield from crds(sub, place)


def text(files: Mapping[str, str], *, first: Iterable[Document] = (), hooks: bool = True, tests: bool = True) -> str:
    """What ``helm template`` prints of rendered files; ``first`` are documents that come before all (CRDs)."""
    plain, others = ordered(files)
    out = "".join(map(str, (*first, *plain))).strip(_SPACES) + "\n"
    if hooks:
        wanted = (hook for hook in others if tests or not {"test", "test-success"} & set(hook.events))
        out += "".join(map(str, wanted))
    return out


def only(stream: str, patterns: Sequence[str]) -> str:
    """The documents of a stream whose files match one of ``patterns`` (``templates/*.yaml``), in the patterns' order.

    Patterns are of the path within the chart; ``*`` stays within a folder. Raises NotFoundError where one matches none.
    """
    parts = [(found[1], part) for part in cut(stream) if (found := _SOURCE.match(part))]
    out = []
    for pattern in patterns:
        steps = pattern.split("/")
        matching = [part for path, part in parts if _matches(path.split("/"), steps)]
        if not matching:
            names = ", ".join(dict.fromkeys(path for path, _ in parts)) or "none"
            raise NotFoundError(f"no template {pattern!r} in what the chart prints", hint=f"there are {names}")
        out += [f"---\n{part}\n" for part in matching]
    return "".join(out)


def _matches(path: list[str], steps: list[str]) -> bool:
    return len(path) == len(steps) and all(map(fnmatchcase, path, steps))


def _rank(document: Document) -> tuple[int, str]:
    index = _ORDER.get(document.kind)
    return (len(_ORDER), document.kind) if index is None else (index, "")


def _head(part: str, path: str) -> tuple[str, str | None]:
    """The kind of a document, and what its annotation ``helm.sh/hook`` says."""
    found = _KIND.findall(part)
    if len(found) == 1 and "helm.sh/hook" not in part:
        return found[0], None
    try:
        data = load(part, file=path)
    except InvalidError:
        # What is said twice is an error of ours and not of Helm.
        from pvehelm.chart.gotpl.yamlin import fromYaml

        data = fromYaml(part)
        if "Error" in data:
            raise
    if not isinstance(data, dict):
        return "", None
    annotations = _below(_below(data, "metadata"), "annotations")
    said = annotations.get("helm.sh/hook")
    kind = data.get("kind")
    return kind if isinstance(kind, str) else "", None if said is None else str(said)


def _below(data: Any, key: str) -> Mapping[str, Any]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}
