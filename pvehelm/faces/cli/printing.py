"""How ``get`` prints objects: tables, or for programs what ``-o`` says; all at once, or as they change."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions.objects import document
from pvehelm.errors import UsageError
from pvehelm.faces import output
from pvehelm.faces.templates import FORMS, template

if TYPE_CHECKING:
    from pvehelm.faces.columns import Columns
    from pvehelm.release.objects import Catalogue, Object

TABLES = ("table", "wide")
CUSTOM = ("custom-columns", "custom-columns-file")
FORMATS = "table, wide, name, json, yaml, jsonpath=TEMPLATE, go-template=TEMPLATE, custom-columns=HEAD:PATH,..."
Changes = Sequence[tuple[str, "Object"]]


class Printer:
    """One ``-o``. ``single``: one object is printed as itself, else as a list; ``columns`` are the table's."""

    def __init__(self, how: str, columns: Columns, *, header: bool, single: bool, events: bool = False) -> None:
        """Raises UsageError for a format that is none."""
        self.form, _, self.spec = how.partition("=")
        self.columns = columns
        self.header = header
        self.single = single
        self.events = events
        if self.form in FORMS:
            self.template = template(how)
        elif self.form in CUSTOM:
            from pvehelm.faces.columns import Custom

            self.custom = Custom(self.spec, file=self.form.endswith("-file"), header=header)
        elif self.form not in (*TABLES, "name", "json", "yaml") or self.spec:
            raise UsageError(f"-o {how}: unknown format", hint=f"one of {FORMATS}")
        if events and self.form in (*FORMS, *CUSTOM, "name"):
            raise UsageError(f"--output-watch-events has no place in -o {self.form}", hint="-o table, json or yaml")

    @property
    def full(self) -> bool:
        """Whether each object has to be read for it."""
        return self.form not in (*TABLES, "name")

    def everything(self, made: Catalogue) -> None:
        """All of them at once."""
        objects = made.objects
        if not objects and self.form in (*TABLES, *CUSTOM, "name"):
            where = f" in namespace {made.namespace}" if made.namespace else ""
            more = f" ({len(made.elsewhere)} in other namespaces: -A)" if made.elsewhere else ""
            sys.stderr.write(f"No objects found{where}{more}.\n")
        elif self.form in TABLES:
            self.columns.write(objects)
        elif self.form == "name":
            sys.stdout.writelines(f"{one.ref}\n" for one in objects)
        elif self.form in CUSTOM:
            self.custom.write([document(one) for one in objects])
        else:
            documents = [document(one) for one in objects]
            alone = self.single and len(documents) == 1
            self._data(documents[0] if alone else {"apiVersion": "v1", "kind": "List", "items": documents})

    def _data(self, data: Any) -> None:
        if self.form in FORMS:
            sys.stdout.write(self.template(data))
        else:
            output.emit_data(data, self.form)

    def changes(self, changes: Changes) -> None:
        """What one look has found, each by itself; what is gone is said on stderr unless it is an event."""
        told = changes if self.events else [change for change in changes if change[0] != "DELETED"]
        if self.form in TABLES:
            self.columns.more([one for _, one in told], [event for event, _ in told] if self.events else ())
        elif self.form == "name":
            sys.stdout.writelines(f"{one.ref}\n" for _, one in told)
        elif self.form in CUSTOM:
            self.custom.write([document(one) for _, one in told])
        else:
            for event, one in told:
                if self.form == "yaml":
                    sys.stdout.write("---\n")
                self._data({"type": event, "object": document(one)} if self.events else document(one))
        sys.stdout.flush()
        if not self.events:
            sys.stderr.writelines(f"{one.ref} is gone\n" for event, one in changes if event == "DELETED")
