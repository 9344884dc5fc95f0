"""A template that stands alone, of the user's own and not of a chart: ``--name-template`` for one."""

from __future__ import annotations

from pvehelm.chart.gotpl import runtime
from pvehelm.chart.gotpl.engine import Templates
from pvehelm.errors import UsageError


def printed(source: str, name: str) -> str:
    """What the template prints, without any data. Raises UsageError that begins with ``name``."""
    templates = Templates({name: source})
    for error in templates.errors.values():
        raise UsageError(f"{name}: {error}")
    run = runtime.Run(templates.prepare, templates.read_text, lambda question: None)
    pieces: list[str] = []
    try:
        code, _ = templates.main(name)
        with runtime.deep():
            code(run, None, pieces.append)
    except (Exception, RecursionError) as error:
        raise UsageError(f"{name}: {source!r} cannot be rendered: {error}") from None
    return "".join(pieces).replace("<no value>", "")
