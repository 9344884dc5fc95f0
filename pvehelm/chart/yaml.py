"""YAML as pvehelm reads and writes it.

Reading gives plain data of JSON's shape with the position of every key, and follows what Helm's users are used to:

* scalars resolve by YAML 1.1 as PyYAML's ``CSafeLoader`` does (``yes`` is true, ``0755`` is 493), except that dates
  and base-60 numbers stay the text that was written: ``22:00`` is a time and ``52:54:00:12:34:56`` a MAC address;
* keys are strings: ``80: x`` is ``{"80": "x"}``; ``.inf`` and ``.nan`` are refused, for JSON has no such numbers;
* a key given twice is an error, a merge key (``<<``) is applied, core tags (``!!str``) are honoured, others refused;
* aliases share the anchored object; recursive ones, alias bombs and deep nesting are refused.

``yaml`` itself is imported only when text is read or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pvehelm.errors import InvalidError, Problem

Path_ = tuple[str | int, ...]

# What the loader keeps beside the data: for a mapping key -> (line, column, below), for a list the same by index.
Tree = dict[str, tuple[int, int, Any]] | list[tuple[int, int, Any]]


def dotted(path: Path_) -> str:
    """A path as people write it: ``disks[0].size``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


class Mark(NamedTuple):
    """A position in a text; line and column count from 1."""

    line: int
    column: int


class Marks(Mapping[Path_, Mark]):
    """The position of every key and list item of a document, ``()`` being the document itself."""

    __slots__ = ("_start", "_tree")

    def __init__(self, start: Mark, tree: Tree | None) -> None:
        self._start = start
        self._tree = tree

    @property
    def tree(self) -> Tree | None:
        """As the constructor takes it."""
        return self._tree

    def __getitem__(self, path: Path_) -> Mark:
        entry: tuple[int, int, Any] = (self._start.line, self._start.column, self._tree)
        for step in path:
            below = entry[2]
            known: Any = below if isinstance(below, dict) else range(len(below or ()))
            if step not in known:
                raise KeyError(path)
            entry = below[step]
        return Mark(entry[0], entry[1])

    def __iter__(self) -> Iterator[Path_]:
        waiting: list[tuple[Path_, Any]] = [((), self._tree)]
        while waiting:
            path, below = waiting.pop()
            yield path
            steps: Any = below if isinstance(below, dict) else range(len(below or ()))
            waiting.extend(((*path, step), below[step][2]) for step in reversed(list(steps)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def nearest(self, path: Path_) -> Mark:
        """The mark of the longest prefix of ``path`` that has one."""
        for end in range(len(path), 0, -1):
            try:
                return self[path[:end]]
            except KeyError:
                continue
        return self._start

    def below(self, over: Marks) -> Marks:
        """The marks of this document with a later one laid over it."""
        return Marks(self._start, _laid(self._tree, over._tree))

    def __reduce__(self) -> tuple[Any, ...]:
        return (Marks, (self._start, self._tree))


def _laid(tree: Any, over: Any) -> Any:
    if not isinstance(tree, dict) or not isinstance(over, dict):
        return over
    out = dict(tree)
    for key, (line, column, under) in over.items():
        out[key] = (line, column, _laid(out[key][2], under) if key in out else under)
    return out


class Document(NamedTuple):
    """One document: its data, the position of every key and list item, and where it starts."""

    data: Any
    marks: Marks
    start: Mark


def load_all(
    text: str, *, file: str = "<string>", lines: bool = True, helms: list[Problem] | None = None
) -> list[Document]:
    """Every document of ``text``. ``lines=False`` leaves the marks out and is faster.

    With a list ``helms`` it is read as Helm reads YAML (``helmyaml``); keys given twice go into that list.

    Raises InvalidError with the problems as ``file:line:column``.
    """
    from pvehelm.chart.loader import read

    return read(text, file=file, lines=lines, helms=helms)


def load(text: str, *, file: str = "<string>") -> Any:
    """The data of a text that holds one document (None when it is empty). Raises InvalidError."""
    documents = load_all(text, file=file, lines=False)
    if len(documents) > 1:
        again = load_all(text, file=file)[1].start
        raise InvalidError(
            f"{file}: one document expected, found {len(documents)}",
            [Problem(f"{file}:{again.line}:{again.column}", "a second document starts here, only one is expected")],
        )
    return documents[0].data if documents else None


def dump(value: Any, *, width: int | None = 80) -> str:
    """``value`` as Helm's toYaml prints it: block style, sorted keys, long lines folded at ``width`` (None: never).

    Ends with a newline. Raises InvalidError when the value holds something YAML of JSON's shape cannot.
    """
    from pvehelm.chart.emitter import emit

    return emit(value, width=width)
