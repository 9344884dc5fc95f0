"""The YAML input of ``fromYaml``: YAML 1.1 as go-yaml 2 reads it, then JSON: numbers are float64, keys are strings."""

from __future__ import annotations

import math
from typing import Any

from pvehelm.chart.gotpl.jsontext import mapping, sequence
from pvehelm.chart.gotpl.plain import LONG, key_text, tagged
from pvehelm.chart.gotpl.printing import sprintf
from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, copy, to_bytes

_MOST_NODES = 1_000_000
_DEEPEST = 200


class _Reader:
    """Builds the data of the first document from libyaml's events."""

    def __init__(self, text: str) -> None:
        import yaml

        self.yaml = yaml
        self.parser: Any = (getattr(yaml, "CLoader", None) or yaml.Loader)(text)
        self.anchors: dict[str, Any] = {}
        self.nodes = 0

    def document(self) -> Any:
        events = self.yaml.events
        try:
            self.parser.get_event()
            if isinstance(self.parser.get_event(), events.StreamEndEvent):
                return None
            found = self.node(self.parser.get_event(), 0)
            # What stands behind the value in the same document is an error, further documents are not looked at.
            self.parser.get_event()
            return found
        finally:
            self.parser.dispose()

    def count(self, nodes: int, depth: int) -> None:
        self.nodes += nodes
        if self.nodes > _MOST_NODES:
            raise GoError("yaml: document contains excessive aliasing")
        if depth > _DEEPEST:
            raise GoError("yaml: exceeded max depth")

    def node(self, event: Any, depth: int) -> Any:
        events = self.yaml.events
        self.count(1, depth)
        if isinstance(event, events.AliasEvent):
            if event.anchor not in self.anchors:
                raise GoError(f"yaml: unknown anchor '{event.anchor}' referenced")
            found, size = self.anchors[event.anchor]
            if size is None:
                raise GoError(f"yaml: anchor '{event.anchor}' value contains itself")
            self.count(size, depth)
            return copy(found)
        before = self.nodes
        if event.anchor:
            self.anchors[event.anchor] = (None, None)
        if isinstance(event, events.ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, events.SequenceStartEvent):
            value = self.sequence(depth)
        else:
            value = self.mapping(depth)
        if event.anchor:
            self.anchors[event.anchor] = (value, self.nodes - before + 1)
        return value

    def scalar(self, event: Any) -> Any:
        try:
            return tagged(event.value, event.tag or "", plain=event.implicit[0])
        except ValueError as error:
            raise GoError(f"yaml: {error}") from None

    def sequence(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while True:
            event = self.parser.get_event()
            if isinstance(event, self.yaml.events.SequenceEndEvent):
                return found
            found.append(self.node(event, depth + 1))

    def mapping(self, depth: int) -> dict[Any, Any]:
        events = self.yaml.events
        found: dict[Any, Any] = {}
        while True:
            event = self.parser.get_event()
            if isinstance(event, events.MappingEndEvent):
                return found
            if (
                isinstance(event, events.ScalarEvent)
                and event.value == "<<"
                and (event.implicit[0] if not event.tag else event.tag == LONG + "merge")
            ):
                self.merge(found, self.parser.get_event(), depth)
                continue
            key = _key(self.node(event, depth + 1))
            found[key] = self.node(self.parser.get_event(), depth + 1)

    def merge(self, target: dict[Any, Any], event: Any, depth: int) -> None:
        value = self.node(event, depth + 1)
        for source in reversed(value) if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                raise GoError("yaml: map merge requires map or sequence of maps as the value")
            target.update(source)


#: A key that is null, which JSON does not have; it stands here for the error to come.
_NULL = "\0null"


def _key(value: Any) -> str:
    if value is None:
        return _NULL
    if not isinstance(value, (dict, list)):
        return key_text(value)
    # A map inside is not yet one of texts.
    shown = sprintf("%#v", value).replace("map[string]", "map[interface {}]")
    raise GoError(f"yaml: invalid map key: {shown}")


def _jsonable(value: Any) -> Any:
    """Whole numbers become float64; infinity and NaN have no JSON."""
    kind = type(value)
    if kind is int:
        try:
            return float(value)
        except OverflowError:
            raise GoError(f"json: cannot unmarshal number {value} into Go value of type float64") from None
    if kind is float and not math.isfinite(value):
        shown = "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
        raise GoError(f"json: unsupported value: {shown}")
    if kind is dict:
        if _NULL in value:
            shown = sprintf("%#v", value[_NULL])
            raise GoError(f"unsupported map key of type: %!s(<nil>), key: <nil>, value: {shown}")
        return {key: _jsonable(item) for key, item in value.items()}
    if kind is list:
        return [_jsonable(item) for item in value]
    return value


#: What go-yaml says of bytes that are no text, by Python's words for it.
_NO_TEXT = {
    "invalid start byte": "invalid leading UTF-8 octet",
    "invalid continuation byte": "invalid trailing UTF-8 octet",
    "unexpected end of data": "incomplete UTF-8 octet sequence",
}


def load(text: str) -> Any:
    """The first document of a YAML text, as JSON has it. Raises GoError with go-yaml's message."""
    import yaml

    try:
        found = _Reader(to_bytes(text).decode()).document()
    except UnicodeDecodeError as error:
        raise GoError(f"error converting YAML to JSON: yaml: {_NO_TEXT[error.reason]}") from None
    except yaml.MarkedYAMLError as error:
        raise GoError(_complaint(error)) from None
    except yaml.reader.ReaderError:
        raise GoError("error converting YAML to JSON: yaml: control characters are not allowed") from None
    except (GoError, RecursionError) as error:
        what = str(error) if isinstance(error, GoError) else "yaml: exceeded max depth"
        raise GoError(f"error converting YAML to JSON: {what}") from None
    try:
        return _jsonable(found)
    except GoError as error:
        raise GoError(f"error converting YAML to JSON: {error}") from None


def _complaint(error: Any) -> str:
    import yaml

    line = error.problem_mark.line if error.problem_mark else 0
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    if not line and error.context_mark:
        line = error.context_mark.line
    where = f"line {line}: " if line else ""
    return f"error converting YAML to JSON: yaml: {where}{error.problem or 'unknown problem parsing YAML content'}"


_DECODING = "error unmarshaling JSON: while decoding JSON: "


@function("fromYaml", "string", "map")
def fromYaml(value: str) -> dict[str, Any]:
    """A YAML mapping as a map; ``Error`` in it says what is wrong."""
    try:
        found = load(value)
    except GoError as error:
        return {"Error": str(error)}
    try:
        return mapping({} if found is None else found)
    except GoError as error:
        return {"Error": _DECODING + str(error)}


@function("fromYamlArray", "string", "list")
def fromYamlArray(value: str) -> list[Any]:
    """A YAML sequence as a list; its only item says what is wrong."""
    try:
        found = load(value)
    except GoError as error:
        return [str(error)]
    try:
        return sequence([] if found is None else found)
    except GoError as error:
        return [_DECODING + str(error)]
