"""The model: a chart as data, which is all that the child that renders has to know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pvehelm.chart.yaml import Mark, Path_
    from pvehelm.errors import Problem

_NOTHING: Mapping[str, Any] = {}


class Dependency(NamedTuple):
    """A chart that this one needs. ``import_values`` holds texts and maps of ``child`` and ``parent``; ``values`` what
    this chart gives it, with expressions over its own values (``expression.filled``)."""

    name: str
    version: str = ""
    repository: str = ""
    condition: str = ""
    tags: tuple[str, ...] = ()
    import_values: tuple[str | Mapping[str, str], ...] = ()
    alias: str = ""
    values: Mapping[str, Any] = _NOTHING

    @property
    def key(self) -> str:
        """The name its values stand under."""
        return self.alias or self.name


class Maintainer(NamedTuple):
    name: str
    email: str = ""
    url: str = ""


class Metadata(NamedTuple):
    """Chart.yaml. ``raw`` is the document as written, for those who print or index it."""

    name: str
    version: str
    api_version: str = "v2"
    description: str = ""
    type: str = "application"
    kube_version: str = ""
    keywords: tuple[str, ...] = ()
    home: str = ""
    sources: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    maintainers: tuple[Maintainer, ...] = ()
    icon: str = ""
    app_version: str = ""
    deprecated: bool = False
    annotations: Mapping[str, str] = _NOTHING
    condition: str = ""
    tags: str = ""
    engine: str = "jinja2"
    raw: Mapping[str, Any] = _NOTHING


class Chart(NamedTuple):
    """A loaded chart. Nothing in it is changed after loading; make changed copies with ``_replace``.

    ``templates`` maps ``templates/vm.yaml`` to its text, ``files`` everything that templates may read, ``raw`` every
    packed file. ``dependencies`` are the charts in ``charts/`` as they lie there; values say which count (values.py).
    ``path`` is what the user gave (a subchart: below that), for messages, ``alias`` the name it goes by in its parent.
    """

    metadata: Metadata
    values: dict[str, Any]
    values_text: str
    values_marks: Mapping[Path_, Mark]
    schema: dict[str, Any] | None
    schema_text: str
    templates: Mapping[str, str]
    files: Mapping[str, bytes]
    raw: Mapping[str, bytes]
    dependencies: tuple[Chart, ...]
    path: str
    warnings: tuple[Problem, ...] = ()
    alias: str = ""
    #: Whether values have decided which subcharts count (``dependencies.enabled``).
    decided: bool = False

    def __repr__(self) -> str:
        return f"Chart({self.name!r}, {self.version!r}, path={self.path!r})"

    @property
    def name(self) -> str:
        """The name it goes by: its alias where its parent gives one."""
        return self.alias or self.metadata.name

    @property
    def digest(self) -> str:
        """``digest_of`` its files."""
        return digest_of(self.raw)

    @property
    def version(self) -> str:
        return self.metadata.version

    @property
    def is_library(self) -> bool:
        return self.metadata.type == "library"

    def file(self, path: str) -> str:
        """``path`` within the chart as messages name it."""
        return f"{self.path}/{path}" if self.path else path


def digest_of(raw: Mapping[str, bytes]) -> str:
    """``sha256:<hex>`` over paths and contents: the same for a directory and for the package made of it."""
    from hashlib import sha256

    whole = sha256()
    for path in sorted(raw):
        whole.update(f"{sha256(raw[path]).hexdigest()}  {path}\n".encode())
    return "sha256:" + whole.hexdigest()
