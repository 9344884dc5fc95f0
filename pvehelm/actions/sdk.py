"""The client's typing for any version, and what changed between two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from pvehelm.actions import action

if TYPE_CHECKING:
    from pvehelm.api.schema import Schema

Source: TypeAlias = "str | bytes"
"""A release such as ``9.2``, or the contents of schema data or of an apidoc.js."""


@action("local")
def sdk_generate(source: Source = "") -> Mapping[str, str]:
    """The files of a typed client package, by name.

    A release that is shipped is referred to; any other schema is brought along in the package.
    """
    from pvehelm.api.releases import is_shipped
    from pvehelm.api.stubs import package

    schema, data = read_schema(source)
    if data is None and not is_shipped(schema.file):
        import json

        with open(schema.file, encoding="utf-8") as file:
            data = json.loads(file.read())
    return package(schema, data)


@action("local")
def schema_diff(old: Source, new: Source) -> Mapping[str, Any]:
    """Operations and parameters added, removed and changed from one schema to another."""
    from pvehelm.api.difference import compare

    return compare(read_schema(old)[0], read_schema(new)[0])


def read_schema(source: Source) -> tuple[Schema, dict[str, Any] | None]:
    """A schema, and its data unless it goes by the name of a release. Raises InvalidError, NotFoundError."""
    import json

    from pvehelm.api import importer
    from pvehelm.api.schema import Schema
    from pvehelm.errors import InvalidError

    if isinstance(source, str):
        return Schema.load(source), None
    if source.lstrip()[:1] == b"{":
        try:
            data = json.loads(source)
        except ValueError as error:
            raise InvalidError(f"the schema data are no JSON: {error}") from None
        if not {"format", "release", "facts", "operations"} <= data.keys():
            raise InvalidError("not schema data: `pvehelm schema import` writes them")
    else:
        tree = importer.decode(source)
        data = importer.import_tree(tree, release=importer.guess_release(tree))
    return Schema(data), data
