"""Resources: what rendering produces and everything else reads, with the place each came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pvehelm.chart import hooks
from pvehelm.chart.apiversion import API_VERSION as API_VERSION
from pvehelm.chart.pattern import pattern
from pvehelm.chart.yaml import Document, Mark, Path_, dump, load_all
from pvehelm.errors import InvalidError, Problem
from pvehelm.suggest import did_you_mean

LIFECYCLES = ("keep", "protect", "createOnly")
# What the server says of an object (`get -o yaml`) may stay in a file; it means nothing there.
DOCUMENT_KEYS = ("apiVersion", "kind", "metadata", "spec", "status")
METADATA_KEYS = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "lifecycle",
    "needs",
    "ignoreChanges",
    "allowReplace",
    "hook",
    "hookWeight",
    "hookDeletePolicy",
    "readyWhen",
)

_KIND = pattern(r"[A-Z][A-Za-z0-9]*\Z")
_REF = pattern(r"[A-Z][A-Za-z0-9]*/\S.*\Z")
_CONTROL = pattern(r"[\x00-\x1f\x7f]")
_SHAPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "name": (str, "a text"),
    "namespace": ((str, type(None)), "a text"),
    "labels": (dict, "a map of texts"),
    "annotations": (dict, "a map of texts"),
    "lifecycle": (str, "one of " + ", ".join(LIFECYCLES)),
    "needs": (list, "a list of KIND/NAME"),
    "ignoreChanges": (list, "a list of field paths"),
    "allowReplace": (bool, "true or false"),
    "hook": ((str, list), "a text or a list of texts"),
    "hookWeight": (int, "a whole number"),
    "hookDeletePolicy": ((str, list), "a text or a list of texts"),
    "readyWhen": (list, "a list of conditions"),
}


class Source(NamedTuple):
    """A place in a file; lines and columns count from 1, 0 is unknown."""

    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


class Sources(Mapping[Path_, Source]):
    """The marks of one document, below a prefix and through a line map, as Sources. Made when asked for."""

    __slots__ = ("_document", "_file", "_line_of", "_prefix")

    def __init__(
        self, document: Document, file: str, line_of: Callable[[int], Source] | None = None, prefix: Path_ = ()
    ) -> None:
        self._document = document
        self._file = file
        self._line_of = line_of
        self._prefix = prefix

    def __getitem__(self, path: Path_) -> Source:
        return self._source(self._document.marks[self._prefix + tuple(path)])

    def __iter__(self) -> Iterator[Path_]:
        size = len(self._prefix)
        return (path[size:] for path in self._document.marks if path[:size] == self._prefix)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def below(self, prefix: Path_) -> Sources:
        return Sources(self._document, self._file, self._line_of, self._prefix + prefix)

    def nearest(self, path: Path_) -> Source:
        return self._source(self._document.marks.nearest(self._prefix + path))

    def _source(self, mark: Mark) -> Source:
        return self._line_of(mark.line) if self._line_of else Source(self._file, mark.line, mark.column)

    def __reduce__(self) -> tuple[Any, ...]:
        # A line map is a closure of the renderer, so what crosses a process boundary is the plain result.
        return (dict, (dict(self),))


@dataclass(frozen=True, slots=True)
class Resource:
    """One manifest. Two are equal when they say the same, wherever they were written."""

    kind: str
    name: str
    namespace: str | None
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any]
    source: Source = field(compare=False)
    marks: Mapping[Path_, Source] = field(compare=False, repr=False)
    api_version: str = API_VERSION

    @property
    def ref(self) -> str:
        return f"{self.kind}/{self.name}"

    def where(self, path: Sequence[str | int]) -> Source:
        """The source of the longest prefix of ``path`` (as ``("spec", "memory")``) whose place is known."""
        steps = tuple(path)
        for end in range(len(steps), -1, -1):
            found = self.marks.get(steps[:end])
            if found is not None:
                return found
        return self.source

    def as_dict(self) -> dict[str, Any]:
        """The manifest as a document: apiVersion, kind, metadata, spec."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": dict(self.metadata),
            "spec": dict(self.spec),
        }


class Foreign(NamedTuple):
    """A document that is another program's, by its apiVersion: Kubernetes', for one. "" where it says none."""

    api_version: str
    kind: str
    source: Source


def is_foreign(version: Any) -> bool:
    """Whether an apiVersion is one of Kubernetes': ``v1`` or ``GROUP/VERSION`` of a group that is not ours."""
    if not isinstance(version, str):
        return False
    group, slash, _ = version.partition("/")
    return group != API_VERSION.partition("/")[0] if slash else version == "v1"


def parse(
    text: str,
    *,
    file: str,
    line_of: Callable[[int], Source] | None = None,
    foreign: list[Foreign] | None = None,
    nameless: bool = False,
) -> list[Resource]:
    """Every resource of a YAML or JSON text; ``kind: List`` holds several, empty documents none.

    ``line_of`` maps a line of ``text`` to the place it was rendered from. Documents of other programs go to ``foreign``
    where that is given, and with ``nameless`` maps that say neither what they are nor for whom, too. Raises
    InvalidError with all problems.
    """
    try:
        documents = load_all(text, file=file)
    except InvalidError as error:
        documents = _json(text)
        if not documents:
            raise _moved(error, file, line_of) from None
    reader = _Reader(foreign, nameless)
    for document in documents:
        reader.document(document.data, Sources(document, file, line_of))
    if reader.problems:
        raise InvalidError(f"{file}: not a valid manifest", reader.problems)
    return reader.found


def check_unique(resources: Iterable[Resource]) -> None:
    """Raises InvalidError naming every resource that is given twice, with both places."""
    first: dict[str, Resource] = {}
    problems = []
    for resource in resources:
        other = first.setdefault(resource.ref, resource)
        if other is not resource:
            problems.append(
                Problem(
                    str(resource.source),
                    f"{resource.ref} is given twice, first at {other.source}",
                    "a name is unique among the resources of one kind in a release",
                )
            )
    if problems:
        raise InvalidError("resources are given twice", problems)


def to_text(resources: Iterable[Resource]) -> str:
    """The resources as one multi-document YAML text, the same for the same resources; ``parse`` reads it back."""
    return "".join("---\n" + dump(resource.as_dict(), width=None) for resource in resources)


class _Reader:
    def __init__(self, foreign: list[Foreign] | None, nameless: bool) -> None:
        self.found: list[Resource] = []
        self.foreign = foreign
        self.nameless = nameless and foreign is not None
        self.problems: list[Problem] = []

    def bad(self, at: Source, what: str, hint: str = "") -> None:
        self.problems.append(Problem(str(at), what, hint))

    def document(self, data: Any, at: Sources) -> None:
        if data is None:
            return
        if not isinstance(data, dict):
            self.bad(at.nearest(()), f"a manifest is a map with kind, metadata and spec, not {_noun(data)}")
        elif data.get("kind") == "List" and "items" in data:
            self.items(data, at)
        elif self.foreign is not None and is_foreign(data.get("apiVersion")):
            self.foreign.append(Foreign(data["apiVersion"], str(data.get("kind", "")), at.nearest(("apiVersion",))))
        elif data and self.nameless and not data.keys() & {"apiVersion", "kind"}:
            assert self.foreign is not None
            self.foreign.append(Foreign("", "", at.nearest(())))
        elif data:
            self.resource(data, at)

    def items(self, data: dict[str, Any], at: Sources) -> None:
        if data.get("apiVersion", "v1") not in ("v1", API_VERSION):
            self.bad(
                at.nearest(("apiVersion",)), f"apiVersion {data['apiVersion']!r} is not known", f"use {API_VERSION}"
            )
        items = data["items"] if data["items"] is not None else []
        if not isinstance(items, list):
            self.bad(at.nearest(("items",)), f"items is a list of manifests, not {_noun(items)}")
            return
        for index, item in enumerate(items):
            self.document(item, at.below(("items", index)))

    def resource(self, data: dict[str, Any], at: Sources) -> None:
        before = len(self.problems)
        for key in data:
            if key not in DOCUMENT_KEYS:
                hint = did_you_mean(key, DOCUMENT_KEYS, "a resource's own fields belong under spec")
                self.bad(at.nearest((key,)), f"unknown key {key!r} in a manifest", hint)
        version = data.get("apiVersion", API_VERSION)
        if version != API_VERSION:
            self.bad(at.nearest(("apiVersion",)), f"apiVersion {version!r} is not known", f"use {API_VERSION}")
        kind = data.get("kind")
        if kind is None:
            self.bad(at.nearest(("kind",)), "kind is missing", "for example kind: VirtualMachine")
        elif not isinstance(kind, str) or not _KIND.match(kind):
            self.bad(at.nearest(("kind",)), f"kind {kind!r} is no kind", "a kind is a word like VirtualMachine")
        metadata = self.metadata(data.get("metadata"), at)
        spec = data.get("spec")
        if spec is not None and not isinstance(spec, dict):
            self.bad(at.nearest(("spec",)), f"spec is a map, not {_noun(spec)}")
        if len(self.problems) == before:
            assert isinstance(kind, str)
            name, namespace = metadata["name"], metadata.get("namespace")
            self.found.append(Resource(kind, name, namespace, spec or {}, metadata, at.nearest(()), at))

    def metadata(self, data: Any, at: Sources) -> dict[str, Any]:
        if data is not None and not isinstance(data, dict):
            self.bad(at.nearest(("metadata",)), f"metadata is a map, not {_noun(data)}")
            return {}
        before = len(self.problems)
        if data is None or data.get("name") is None:
            self.bad(at.nearest(("metadata", "name")), "metadata.name is missing")
        for key, value in (data or {}).items():
            if key not in METADATA_KEYS:
                hint = did_you_mean(key, METADATA_KEYS, "known are " + ", ".join(METADATA_KEYS))
                self.bad(at.nearest(("metadata", key)), f"unknown key {key!r} in metadata", hint)
            elif value is not None:
                self.metadatum(key, value, at)
        # A shape that is wrong was reported already.
        for path, what, hint in hooks.problems(data or {}) if len(self.problems) == before else ():
            self.bad(at.nearest(path), what, hint)
        return {key: value for key, value in (data or {}).items() if value is not None}

    def metadatum(self, key: str, value: Any, at: Sources) -> None:
        types, noun = _SHAPES[key]
        fits = isinstance(value, types) and not (isinstance(value, bool) and types is int)
        if not fits:
            hint = _quoting(key, value) if key in ("name", "namespace") else ""
            self.bad(at.nearest(("metadata", key)), f"metadata.{key} is {noun}, not {_noun(value)}", hint)
        elif key in ("name", "namespace"):
            if not value or value != value.strip() or _CONTROL.search(value):
                what = f"metadata.{key} {value!r} is empty, or holds line breaks or blanks at its ends"
                self.bad(at.nearest(("metadata", key)), what)
        elif key == "lifecycle" and value not in LIFECYCLES:
            hint = did_you_mean(value, LIFECYCLES)
            what = f"metadata.lifecycle {value!r} is not one of {', '.join(LIFECYCLES)}"
            self.bad(at.nearest(("metadata", key)), what, hint)
        elif key in ("labels", "annotations"):
            for name, text in value.items():
                if not isinstance(text, str):
                    self.bad(
                        at.nearest(("metadata", key, name)),
                        f"metadata.{key}.{name} is a text, not {_noun(text)}",
                        _quoting(name, text),
                    )
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if not isinstance(item, str) or (key == "needs" and not _REF.match(item)):
                    wanted = "KIND/NAME, for example VirtualMachine/web-0" if key == "needs" else "a text"
                    shown = repr(item) if isinstance(item, str) else _noun(item)
                    self.bad(at.nearest(("metadata", key, index)), f"metadata.{key} holds {shown}", f"give {wanted}")
                elif key == "readyWhen":
                    from pvehelm.chart import condition

                    try:
                        condition.parse(item)
                    except InvalidError as error:
                        self.bad(at.nearest(("metadata", key, index)), error.message, error.hint)


def _json(text: str) -> list[Document]:
    """JSON that YAML's reader does not take (tabs, for one, or documents one after another), each with the place of
    its beginning; empty when it is no JSON."""
    import json

    from pvehelm.chart.yaml import Marks

    decoder, found, at = json.JSONDecoder(), [], 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        if rest[0] not in "{[":
            return []
        try:
            data, at_end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        start = Mark(text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))
        found.append(Document(data, Marks(start, None), start))
        at = at_end
    return found


def _moved(error: InvalidError, file: str, line_of: Callable[[int], Source] | None) -> InvalidError:
    """The same error with its places mapped to where the text was rendered from."""
    if line_of is None:
        return error
    problems = []
    for problem in error.problems:
        line = problem.where.removeprefix(f"{file}:").split(":")[0]
        where = str(line_of(int(line))) if line.isdecimal() else problem.where
        what = re.sub(r"\bin line (\d+)", lambda found: f"at {line_of(int(found[1]))}", problem.what)
        problems.append(Problem(where, what, problem.hint))
    return InvalidError(error.message, problems, hint=error.hint)


def _quoting(key: str, value: Any) -> str:
    if not isinstance(value, (int, float)):
        return ""
    return f'quote it: {key}: "{_noun(value) if isinstance(value, bool) else value}"'


def _noun(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "a text"
    return "a map" if isinstance(value, dict) else "a list"
