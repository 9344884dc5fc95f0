"""The objects that Helm's templates see, as Helm makes them: Values, Chart, Files, Capabilities, Release, Subcharts."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.gotpl import globs
from pvehelm.chart.gotpl.values import (
    GoError,
    GoObject,
    Int64,
    NilStringMap,
    StringMap,
    Strings,
    from_bytes,
    text,
    type_of,
)
from pvehelm.chart.kubernetes import HELM_VERSION, KUBE_VERSION, kube_version
from pvehelm.chart.objects import Capabilities, ReleaseInfo, Scope
from pvehelm.chart.usage import Usage
from pvehelm.chart.yaml import Path_

_NOTHING: Mapping[Any, Any] = {}
_HERE = object()


class NameSet(GoObject, Strings):
    """``.Capabilities.APIVersions``: a list that can be asked with ``Has``."""

    __slots__ = ()
    go_kind = "slice"
    go_type = "common.VersionSet"

    def field(self, name: str) -> Any:
        if name == "Has":
            return self.has
        raise GoError(f"can't evaluate field {name} in type {self.go_type}")

    def has(self, name: Any) -> bool:
        if not isinstance(name, str):
            raise GoError(f"wrong type for value; expected string; got {type_of(name)}")
        return name in self

    def text(self) -> str:
        return "[" + " ".join(map(text, self)) + "]"

    def plain(self) -> list[str]:
        return [*self]


class KubeVersion(GoObject):
    """``.Capabilities.KubeVersion``: an action prints it as its version, a function that it is given to as a struct."""

    __slots__ = ("GitVersion", "Major", "Minor", "Version")
    go_type = "common.KubeVersion"
    names = ("Version", "Major", "Minor", "GitVersion", "String")

    def __init__(self, version: str) -> None:
        parts = kube_version(version)
        self.Version: str = parts["Version"]
        self.GitVersion: str = parts["GitVersion"]
        self.Major, self.Minor = parts["Major"], parts["Minor"]

    def String(self) -> str:
        return self.Version

    def shown(self) -> str:
        return self.Version

    def parts(self) -> list[tuple[str, Any]]:
        return [("Version", self.Version), ("normalizedVersion", self.Version), *self._numbers()]

    def plain(self) -> dict[str, str]:
        return {"Version": self.Version, **dict(self._numbers())}

    def _numbers(self) -> list[tuple[str, str]]:
        return [("Major", self.Major), ("Minor", self.Minor)]


class HelmVersion(GoObject):
    """``.Capabilities.HelmVersion``."""

    __slots__ = ("GitCommit", "GitTreeState", "GoVersion", "KubeClientVersion", "Version")
    go_type = "version.BuildInfo"
    names = ("Version", "GitCommit", "GitTreeState", "GoVersion", "KubeClientVersion")

    def __init__(self) -> None:
        self.Version = HELM_VERSION
        self.GitCommit = self.GitTreeState = self.GoVersion = ""
        self.KubeClientVersion = KUBE_VERSION.rpartition(".")[0]

    def plain(self) -> dict[str, str]:
        return {"version": self.Version, "kube_client_version": self.KubeClientVersion}


class CapabilitiesObject(GoObject):
    """``.Capabilities``: Helm's, and what pvehelm's own charts ask (PVEVersion, Kinds, PvehelmVersion)."""

    __slots__ = ("APIVersions", "HelmVersion", "Kinds", "KubeVersion", "PVEVersion", "PvehelmVersion")
    go_type = "*common.Capabilities"
    go_kind = "ptr"
    names = ("KubeVersion", "APIVersions", "HelmVersion", "PVEVersion", "Kinds", "PvehelmVersion")

    def __init__(self, given: Capabilities) -> None:
        own = given.as_object()
        self.KubeVersion = KubeVersion(given.kube_version)
        self.APIVersions = NameSet(own["APIVersions"])
        self.HelmVersion = HelmVersion()
        self.PVEVersion = own["PVEVersion"]
        self.Kinds = NameSet(own["Kinds"])
        self.PvehelmVersion = own["PvehelmVersion"]


class Files(GoObject, dict[str, Any]):
    """``.Files``: contents by path, as bytes."""

    __slots__ = ()
    go_type = "engine.files"
    go_kind = "map"
    names = ("Get", "GetBytes", "Glob", "AsConfig", "AsSecrets", "Lines")
    zero = b""

    def field(self, name: str) -> Any:
        if name in self.names:
            return getattr(self, name)
        return self.get(name, self.zero)

    def text(self) -> str:
        return "map[" + " ".join(f"{path}:{text(self[path])}" for path in sorted(self)) + "]"

    def plain(self) -> dict[str, bytes]:
        return {**self}

    def GetBytes(self, path: Any) -> bytes:
        if not isinstance(path, str):
            raise GoError(f"wrong type for value; expected string; got {type_of(path)}")
        found: bytes = self.get(path, b"")
        return found

    def Get(self, path: Any) -> str:
        return from_bytes(self.GetBytes(path))

    def Lines(self, path: Any) -> Strings:
        if path not in self:
            return Strings()
        content = self.Get(path)
        if not content:
            raise GoError("runtime error: index out of range [-1]", hint="Lines fails in Helm for a file that is empty")
        return Strings(content.removesuffix("\n").split("\n"))

    def Glob(self, pattern: Any) -> Files:
        if not isinstance(pattern, str):
            raise GoError(f"wrong type for value; expected string; got {type_of(pattern)}")
        matches = globs.compiled(pattern).fullmatch
        return Files({path: content for path, content in self.items() if matches(path)})

    def AsConfig(self) -> str:
        return self._yaml({path: from_bytes(content) for path, content in self.items()})

    def AsSecrets(self) -> str:
        return self._yaml({path: base64.b64encode(content).decode() for path, content in self.items()})

    def _yaml(self, contents: Mapping[str, str]) -> str:
        from pvehelm.chart.gotpl.library import FUNCTIONS

        named = StringMap((path.rpartition("/")[2], contents[path]) for path in sorted(contents))
        return str(FUNCTIONS["toYaml"](named))


def chart_object(chart: Chart, *, root: bool) -> dict[str, Any]:
    """``.Chart``: the metadata under Go's names."""
    data = chart.metadata
    return {
        "APIVersion": data.api_version,
        "Annotations": StringMap(data.annotations) if data.annotations else NilStringMap(),
        "AppVersion": data.app_version,
        "Condition": data.condition,
        "Dependencies": [
            {
                "Name": need.key,
                "Version": need.version,
                "Repository": need.repository,
                "Condition": need.condition,
                "Tags": list(need.tags),
                "Enabled": True,
                "ImportValues": list(need.import_values),
                "Alias": need.alias,
            }
            for need in data.dependencies
        ],
        "Deprecated": data.deprecated,
        "Description": data.description,
        "Home": data.home,
        "Icon": data.icon,
        "IsRoot": root,
        "Keywords": list(data.keywords),
        "KubeVersion": data.kube_version,
        "Maintainers": [{"Name": who.name, "Email": who.email, "URL": who.url} for who in data.maintainers],
        "Name": chart.name,
        "Sources": list(data.sources),
        "Tags": data.tags,
        "Type": str(data.raw.get("type") or ""),
        "Version": data.version,
    }


def numbered(value: Any, set_: Mapping[Any, Any] = _NOTHING) -> Any:
    """A copy of values in which each whole number is a float64, but those of ``--set``, which are int64.

    ``set_`` holds the paths of these as maps of maps, below ``value``.
    """
    if isinstance(value, dict):
        return {key: numbered(item, set_.get(key, _NOTHING)) for key, item in value.items()}
    if isinstance(value, list):
        return [numbered(item, set_.get(index, _NOTHING)) for index, item in enumerate(value)]
    if type(value) is int:
        return Int64(value) if _HERE in set_ else float(value)
    return value


def _by_step(paths: Iterable[Path_], chart: Chart) -> dict[Any, Any]:
    """Paths as maps of maps; what is said of globals is said of those of the subcharts too."""
    found: dict[Any, Any] = {}
    for path in paths:
        below = found
        for step in path:
            below = below.setdefault(step, {})
        below[_HERE] = True

    def enter(one: Chart, below: dict[Any, Any]) -> None:
        for sub in one.dependencies:
            deeper = below.setdefault(sub.name, {})
            if "global" in below:
                deeper.setdefault("global", below["global"])
            enter(sub, deeper)

    enter(chart, found)
    return found


def scopes(
    chart: Chart,
    values: dict[str, Any],
    release: ReleaseInfo,
    capabilities: Capabilities,
    usage: Usage | None = None,
    set_paths: Collection[Path_] = (),
) -> list[Scope]:
    """The chart and its subcharts as Helm's templates see them: maps that all templates share and may change.

    ``set_paths`` are those of values given with ``--set``.
    """
    whole = numbered(values, _by_step(set_paths, chart) if set_paths else _NOTHING)
    if usage is not None:
        whole = usage.watched(whole)
    shared = {
        "Release": {**release.as_object(), "Service": "Helm"},
        "Capabilities": CapabilitiesObject(capabilities),
    }
    found: list[Scope] = []

    def enter(one: Chart, prefix: str, scoped: dict[str, Any], depth: int) -> dict[str, Any]:
        root: dict[str, Any] = {
            "Chart": chart_object(one, root=not depth),
            "Files": Files(one.files),
            **shared,
            "Values": scoped,
            "Subcharts": {},
        }
        found.append(Scope(prefix, one, root, depth))
        for sub in one.dependencies:
            below = scoped.get(sub.name)
            root["Subcharts"][sub.name] = enter(
                sub, f"{prefix}/charts/{sub.name}", below if isinstance(below, dict) else {}, depth + 1
            )
        return root

    enter(chart, chart.name, whole, 0)
    return found
