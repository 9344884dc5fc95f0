"""Usage: which values the templates of one rendering asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pvehelm.chart.chart import Chart
from pvehelm.chart.dependencies import coalesce
from pvehelm.chart.expression import is_paths, texts
from pvehelm.chart.pattern import pattern
from pvehelm.chart.plain import at, copied
from pvehelm.chart.yaml import Path_, dotted
from pvehelm.errors import Problem
from pvehelm.suggest import suggest

_WORD = pattern(r"[A-Za-z_][\w-]*(?:\.[\w/-]+)*")


class Usage:
    """Collects paths: ``asked`` one by one, ``whole`` for maps that were printed, copied or looped over."""

    def __init__(self) -> None:
        self.asked: set[Path_] = set()
        self.whole: set[Path_] = set()

    def watched(self, values: Any, path: Path_ = ()) -> Any:
        """A copy of ``values`` whose maps tell what is asked of them. Lists count as one value."""
        if isinstance(values, dict):
            return Watched({key: self.watched(item, (*path, key)) for key, item in values.items()}, self, path)
        return values

    def forget(self) -> None:
        self.asked.clear()
        self.whole.clear()

    def as_data(self) -> list[list[Path_]]:
        """The paths, for the way through JSON."""
        return [sorted(self.asked, key=repr), sorted(self.whole, key=repr)]


class Watched(dict[str, Any]):
    """A map that tells its Usage what is asked of it."""

    __slots__ = ("_path", "_usage")

    def __init__(self, data: Mapping[str, Any], usage: Usage, path: Path_) -> None:
        super().__init__(data)
        self._usage = usage
        self._path = path

    def _one(self, key: Any) -> None:
        self._usage.asked.add((*self._path, key))

    def _all(self) -> None:
        self._usage.whole.add(self._path)

    def __getitem__(self, key: Any) -> Any:
        self._one(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        self._one(key)
        return super().get(key, default)

    def __contains__(self, key: Any) -> bool:
        self._one(key)
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        self._all()
        return super().keys()

    def values(self) -> Any:
        self._all()
        return super().values()

    def items(self) -> Any:
        self._all()
        return super().items()

    def copy(self) -> dict[str, Any]:
        self._all()
        return super().copy()

    def __eq__(self, other: object) -> bool:
        self._all()
        return super().__eq__(other)

    __hash__ = dict.__hash__

    def __repr__(self) -> str:
        self._all()
        return super().__repr__()

    def __deepcopy__(self, memo: Any) -> Any:
        return copied(self)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def unused(
    chart: Chart, values: Mapping[str, Any], used: Iterable[Iterable[Path_]], place: Callable[[Path_], str]
) -> list[Problem]:
    """The leaves of ``values`` that nothing asked for; ``place`` says where one comes from.

    ``used`` is what ``Usage.as_data`` gave for a rendering of ``chart``, whose subcharts are those enabled.
    """
    asked, whole = ({_global(tuple(path)) for path in paths} for paths in used)
    for path, below in _consumed(chart, ()):
        (whole if below else asked).add(_global(path))
    found = []
    defaults = coalesce(chart, {}, allow_missing=True)
    for path in _leaves(values, ()):
        normal = _global(path)
        if normal in asked or any(normal[:end] in whole for end in range(len(normal) + 1)):
            continue
        name = dotted(path)
        where = place(path)
        what = "no template used it with these values"
        hint = _meant(defaults, path)
        found.append(Problem(where or f"values: {name}", f"{name}: {what}" if where else what, hint))
    return found


def _meant(defaults: Mapping[str, Any], path: Path_) -> str:
    """The name that a value which no chart has by default may have meant."""
    above = at(defaults, path[:-1])
    if not isinstance(above, dict) or path[-1] in above:
        return ""
    meant = suggest(str(path[-1]), list(above))
    return f"did you mean {dotted((*path[:-1], meant))}?" if meant else ""


def _global(path: Path_) -> Path_:
    """``sub.global.x`` as ``global.x``: what is copied down counts for all."""
    return path[path.index("global") :] if "global" in path else path


def _leaves(value: Any, path: Path_) -> Iterator[Path_]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    # A null only takes something away.
    elif path and value is not None:
        yield path


def _consumed(chart: Chart, prefix: Path_) -> Iterator[tuple[Path_, bool]]:
    """What Chart.yaml itself makes use of: (path, whether everything below counts)."""
    yield (*prefix, "tags"), True
    for need in chart.metadata.dependencies:
        paths = need.condition.split(",") if is_paths(need.condition) else _WORD.findall(need.condition)
        paths += [path for _, text in texts(need.values) for path in _WORD.findall(text)]
        for path in paths:
            if path.strip():
                yield (*prefix, *path.strip().split(".")), path not in need.condition
        for entry in need.import_values:
            child = f"exports.{entry}" if isinstance(entry, str) else entry["child"]
            yield (*prefix, need.key, *child.split(".")), True
    for sub in chart.dependencies:
        yield from _consumed(sub, (*prefix, sub.name))
