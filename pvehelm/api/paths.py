"""Navigation: an attribute is a path segment, a call fills in a variable, a method is an operation.

``pve.nodes("pve1").qemu(100).config.get()`` is ``GET /nodes/pve1/qemu/100/config``. The classes are made from the
schema when they are first walked through; nothing is sent before a method is called.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from pvehelm.api.layout import LINES, STREAM, layout_of, python_name
from pvehelm.api.methods import KINDS, C, Iterate
from pvehelm.api.schema import Schema
from pvehelm.suggest import did_you_mean

if TYPE_CHECKING:
    from pvehelm.api.session import Driver


class Path(Generic[C]):
    """A place in the API, perhaps with methods; made by its parent."""

    __slots__ = ("_driver", "_values")
    _template: ClassVar[str] = "/"
    _schema: ClassVar[Schema]

    def __init__(self, driver: Driver, values: tuple[Any, ...] = ()) -> None:
        self._driver, self._values = driver, values

    def __repr__(self) -> str:
        values = iter(self._values)
        parts = (str(next(values)) if part.startswith("{") else part for part in self._template.split("/"))
        return f"<{'/'.join(parts)}>"

    # A type checker that saw it would let every name pass.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            raise missing(self._schema, self._template, name)


def missing(schema: Schema, template: str, name: str) -> AttributeError:
    """The error of an attribute that a path does not have, with what was probably meant."""
    layout = layout_of(schema)
    known = [*layout.attributes(template), *layout.methods(template)]
    variable = layout.variable(template)
    if variable is not None and name in (*layout.attributes(variable[1]), *layout.methods(variable[1])):
        hint = f"say which {variable[0]} first: (...).{name}"
    else:
        hint = did_you_mean(name, known) or f"there is {', '.join(sorted(known)) or 'nothing below it'}"
    return AttributeError(f"Proxmox VE {schema.release} has no {name!r} at {template}; {hint}")


@cache
def path_class(schema: Schema, template: str) -> type[Path[Any]]:
    """The class of a path template."""
    layout = layout_of(schema)

    def fill(namespace: dict[str, Any]) -> None:
        namespace |= {"__slots__": (), "__doc__": template, "_template": template, "_schema": schema}
        namespace["__module__"] = f"pvehelm.api.sdk.{layout.section_of(template)}"
        for attribute, below in layout.attributes(template).items():
            namespace[attribute] = property(_below(schema, below))
        for name, verb in layout.methods(template).items():
            kind = KINDS[layout.answer_kind(schema.operation(verb, template))]
            namespace[name] = kind.of(schema, verb, template)
        for name, wanted in ((LINES, layout.has_lines), (STREAM, layout.has_stream)):
            if wanted(template):
                namespace[name] = Iterate.of(schema, "GET", template, name)
        variable = layout.variable(template)
        if variable is not None:
            namespace["__call__"] = _filled(schema, *variable)

    # Generic again, so that annotations may name the colour.
    return types.new_class(layout.class_name(template), (Path[C],), exec_body=fill)  # type: ignore[valid-type]


def _below(schema: Schema, template: str) -> Callable[[Path[Any]], Path[Any]]:
    def below(self: Path[Any]) -> Path[Any]:
        return path_class(schema, template)(self._driver, self._values)

    below.__doc__ = template
    return below


def _filled(schema: Schema, name: str, template: str) -> Callable[[Path[Any], Any], Path[Any]]:
    def __call__(self: Path[Any], value: Any, /) -> Path[Any]:
        return path_class(schema, template)(self._driver, (*self._values, value))

    __call__.__doc__ = template
    # What help and consoles show.
    __call__.__code__ = __call__.__code__.replace(co_varnames=("self", python_name(name)))
    return __call__


def section(schema: Callable[[], Schema], name: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a section's module: its classes and models, made when asked for."""

    def get(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        found = layout_of(schema()).names(name).get(attribute)
        if found is None:
            raise AttributeError(f"the section {name} has no {attribute!r}")
        if found.kind == "path":
            return path_class(schema(), found.template)
        from pvehelm.api.models import answers_of

        model = answers_of(schema()).model(schema().operation(found.method, found.template), found.trail)
        model.model_rebuild()
        return model

    def list_() -> list[str]:
        return sorted(layout_of(schema()).names(name))

    return get, list_
