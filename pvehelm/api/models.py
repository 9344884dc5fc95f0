"""Answers as pydantic models, made from the schema when the first answer of their kind is read.

A model takes what servers really send: numbers as text, keys the schema lacks (they become attributes), keys that are
missing (None where the schema says optional; reading another one raises AttributeError that says so), and values of
another type, which are kept as they came. Field names are the wire's with ``_`` for what Python cannot spell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model, model_validator

from pvehelm.api.layout import field_name, layout_of, properties
from pvehelm.api.schema import Facts, Operation, Schema

_SCALARS: Mapping[str, Any] = {"boolean": bool, "integer": int, "number": float, "string": str}
_NUMBERED = re.compile(r"(.*?[^0-9])(0|[1-9][0-9]*)")


class Model(BaseModel):
    """What all answers have in common."""

    model_config = ConfigDict(
        extra="allow", coerce_numbers_to_str=True, protected_namespaces=(), defer_build=True, populate_by_name=True
    )
    # Prefixes of numbered keys (``net`` of ``net0``): those the server did not send are None.
    _families: ClassVar[frozenset[str]] = frozenset()
    _fields_by_key: ClassVar[dict[str, str]] = {}
    # Fields that are not optional, so that their absence is told from null.
    _promised: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _keep_what_does_not_fit(cls, data: Any, handler: Any) -> Any:
        try:
            made = handler(data)
        except ValidationError as error:
            if not isinstance(data, Mapping):
                raise
            # They stand beside the fields, as keys that the schema lacks do: reading finds them, writing takes them.
            odd = {str(fault["loc"][0]) for fault in error.errors(include_url=False) if fault["loc"]}
            made = handler({name: value for name, value in data.items() if name not in odd})
            for key in odd:
                made.__dict__.pop(cls._fields_by_key.get(key, key), None)
                made.__pydantic_extra__[key] = data[key]
        for name in cls._promised:
            if made.__dict__.get(name) is _MISSING:
                del made.__dict__[name]
        return made

    # A type checker that saw it would let every name pass.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            extra = object.__getattribute__(self, "__pydantic_extra__") or {}
            for key in extra:
                if name in (key, self._fields_by_key.get(key) or field_name(key)):
                    return extra[key]
            numbered = _NUMBERED.fullmatch(name)
            if numbered and numbered[1] in self._families:
                return None
            if name in self._promised:
                raise AttributeError(f"the server's answer has no {name!r}, which the schema promises")
            raise AttributeError(f"{type(self).__name__!r} has no {name!r}")

    def __repr_args__(self) -> Any:
        return [(name, value) for name, value in super().__repr_args__() if value is not None]

    def numbered(self, prefix: str) -> dict[int, Any]:
        """The numbered keys that the answer has, by index: ``numbered("net")`` is ``{0: "virtio=...", ...}``."""
        found: dict[int, Any] = {}
        for name, value in {**self.__dict__, **(self.__pydantic_extra__ or {})}.items():
            numbered = _NUMBERED.fullmatch(name)
            if numbered and numbered[1] == prefix and value is not None:
                found[int(numbered[2])] = value
        return dict(sorted(found.items()))


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


_MISSING: Any = _Missing()


class Answers:
    """The models of one schema, made on demand."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._models: dict[tuple[str, str, tuple[str, ...]], type[Model]] = {}
        self._readers: dict[tuple[str, str], TypeAdapter[Any] | None] = {}

    def read(self, operation: Operation, data: Any) -> Any:
        """``data`` as the schema's type; as it came when the schema has none or it is something else altogether."""
        key = (operation.method, operation.path)
        if key not in self._readers:
            kind = self._type(operation, operation.returns, ())
            self._readers[key] = None if kind is Any else TypeAdapter(kind)
        reader = self._readers[key]
        if reader is None or data is None:
            return data
        try:
            return reader.validate_python(data)
        except ValidationError:
            if isinstance(data, list) and operation.returns.get("type") == "array":
                return [self._row(operation, row) for row in data]
            return data

    def _row(self, operation: Operation, row: Any) -> Any:
        kind = self._type(operation, operation.returns.get("items") or {}, ())
        try:
            return row if kind is Any else TypeAdapter(kind).validate_python(row)
        except ValidationError:
            return row

    def model(self, operation: Operation, trail: tuple[str, ...] = ()) -> type[Model]:
        """The model of the object at ``trail`` in an operation's answer; () is the answer itself or its rows."""
        key = (operation.method, operation.path, trail)
        if key not in self._models:
            facts = operation.returns
            for step in (None, *trail):
                if step is not None:
                    facts = properties(facts)[step]
                while facts.get("type") == "array" and isinstance(facts.get("items"), dict):
                    facts = facts["items"]
            self._models[key] = self._make(operation, facts, trail)
        return self._models[key]

    def _type(self, operation: Operation, facts: Facts, trail: tuple[str, ...]) -> Any:
        if properties(facts):
            return self.model(operation, trail)
        kind = facts.get("type")
        if kind == "array":
            return list[self._type(operation, facts.get("items") or {}, trail)]  # type: ignore[misc]
        if kind == "object":
            return dict[str, Any]
        return _SCALARS.get(str(kind), Any)

    def _make(self, operation: Operation, facts: Facts, trail: tuple[str, ...]) -> type[Model]:
        fields: dict[str, Any] = {}
        families: set[str] = set()
        for name, sub in properties(facts).items():
            if name.endswith("[n]"):
                families.add(name.removesuffix("[n]"))
                continue
            kind = self._type(operation, sub if isinstance(sub, Mapping) else {}, (*trail, name))
            optional = bool(sub.get("optional")) if isinstance(sub, Mapping) else True
            alias = name if field_name(name) != name else None
            fields[field_name(name)] = (
                kind | None if optional and kind is not Any else kind,
                Field(default=None if optional else _MISSING, validation_alias=alias, serialization_alias=alias),
            )
        name = layout_of(self.schema).model_name(operation, trail)
        made: type[Model] = create_model(name, __base__=Model, **fields)
        made._families = frozenset(families)
        made._fields_by_key = {key: field_name(key) for key in properties(facts) if not key.endswith("[n]")}
        made._promised = tuple(name for name, (_, field) in fields.items() if field.default is _MISSING)
        return made


@cache
def answers_of(schema: Schema) -> Answers:
    return Answers(schema)
