"""The objects templates see: Values, Release, Chart, Capabilities, Files, Template, Subcharts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.chart.apiversion import API_VERSION
from pvehelm.chart.functions.common import Text, string

if TYPE_CHECKING:
    from pvehelm.chart.model import Chart


class ReleaseInfo(NamedTuple):
    """What is being rendered for: ``Release`` in templates."""

    name: str
    namespace: str
    revision: int = 1
    is_install: bool = True
    is_upgrade: bool = False
    service: str = "pvehelm"

    def as_object(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "Namespace": self.namespace,
            "Revision": self.revision,
            "IsInstall": self.is_install,
            "IsUpgrade": self.is_upgrade,
            "Service": self.service,
        }


class Capabilities(NamedTuple):
    """What the cluster and this program can do: ``Capabilities`` in templates.

    ``kube_version`` and ``api_versions`` (more of them) are for Kubernetes' charts, which ask Helm for them.
    """

    pve_version: str = ""
    kinds: tuple[str, ...] = ()
    pvehelm_version: str = ""
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()

    def as_object(self) -> dict[str, Any]:
        from pvehelm.chart.kubernetes import API_VERSIONS, HELM_VERSION, kube_version

        own = (API_VERSION, *(f"{API_VERSION}/{kind}" for kind in self.kinds))
        return {
            "PVEVersion": self.pve_version,
            "Kinds": Names(self.kinds),
            "APIVersions": Names([*API_VERSIONS, *self.api_versions, *own]),
            "PvehelmVersion": self.pvehelm_version,
            "KubeVersion": kube_version(self.kube_version),
            "HelmVersion": {"Version": HELM_VERSION},
        }


class Names(list[str]):
    """A list that can be asked as in Helm: ``Capabilities.APIVersions.Has("proxmox.io/v1")``."""

    methods = frozenset({"Has"})

    def Has(self, name: Any) -> bool:
        return name in self


class FileSet(dict[str, bytes]):
    """Files of a chart by path. As in Helm: Get, GetBytes, Lines, Glob, AsConfig, AsSecrets."""

    methods = frozenset({"Get", "GetBytes", "Lines", "Glob", "AsConfig", "AsSecrets"})

    def Get(self, path: Any) -> str:
        return self.GetBytes(path).decode("utf-8", "replace")

    def GetBytes(self, path: Any) -> bytes:
        return self.get(string(path), b"")

    def Lines(self, path: Any) -> list[str]:
        return self.Get(path).removesuffix("\n").split("\n") if string(path) in self else []

    def Glob(self, pattern: Any) -> FileSet:
        from pvehelm.chart.gotpl import globs

        matches = globs.compiled(string(pattern)).fullmatch
        return FileSet({path: content for path, content in self.items() if matches(path)})

    def AsConfig(self) -> Text:
        from pvehelm.chart.functions.encoding import toYaml

        named = {path.rpartition("/")[2]: content.decode("utf-8", "replace") for path, content in self.items()}
        return toYaml(named) if named else Text("")

    def AsSecrets(self) -> Text:
        import base64

        from pvehelm.chart.functions.encoding import toYaml

        named = {path.rpartition("/")[2]: base64.b64encode(content).decode() for path, content in self.items()}
        return toYaml(named) if named else Text("")


def chart_object(chart: Chart, *, root: bool) -> dict[str, Any]:
    """``Chart``: the metadata under Helm's names."""
    data = chart.metadata
    return {
        "Name": chart.name,
        "Version": data.version,
        "AppVersion": data.app_version,
        "Description": data.description,
        "APIVersion": data.api_version,
        "Type": data.type,
        "KubeVersion": data.kube_version,
        "Keywords": list(data.keywords),
        "Home": data.home,
        "Sources": list(data.sources),
        "Icon": data.icon,
        "Maintainers": [{"Name": who.name, "Email": who.email, "URL": who.url} for who in data.maintainers],
        "Annotations": dict(data.annotations),
        "Deprecated": data.deprecated,
        "IsRoot": root,
    }


class Scope(NamedTuple):
    """One chart of the tree as it is rendered: where its templates are and what they see."""

    prefix: str
    chart: Chart
    root: dict[str, Any]
    depth: int

    @property
    def templates(self) -> Mapping[str, str]:
        """The templates by their full names, as ``web-app/templates/vm.yaml``."""
        return {f"{self.prefix}/{path}": text for path, text in self.chart.templates.items()}


def scopes(chart: Chart, values: dict[str, Any], release: ReleaseInfo, capabilities: Capabilities) -> list[Scope]:
    """The chart and its subcharts, parents first, each with its own Values and Chart."""
    shared = {"Release": release.as_object(), "Capabilities": capabilities.as_object()}
    found: list[Scope] = []

    def enter(one: Chart, prefix: str, scoped: dict[str, Any], depth: int) -> dict[str, Any]:
        root = {
            **shared,
            "Values": scoped,
            "Chart": chart_object(one, root=not depth),
            "Files": FileSet(one.files),
            "Subcharts": {},
        }
        found.append(Scope(prefix, one, root, depth))
        for sub in one.dependencies:
            below = scoped.get(sub.name)
            scope = enter(sub, f"{prefix}/charts/{sub.name}", below if isinstance(below, dict) else {}, depth + 1)
            root["Subcharts"][sub.name] = scope
        return root

    enter(chart, chart.name, values, 0)
    return found
