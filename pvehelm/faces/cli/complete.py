"""What the shell offers when TAB is pressed: answers from the store and the tables, never from the network."""

from __future__ import annotations

from pvehelm.faces.cli.command import Session


def releases(incomplete: str) -> list[str]:
    """Releases of the current context."""
    session = Session(quiet=True)
    ctx = session.context
    try:
        return [r.key.name for r in ctx.store.list(ctx.cluster) if r.key.name.startswith(incomplete)]
    finally:
        ctx.store.close()


def kinds(incomplete: str) -> list[str]:
    """Kinds by their names and short names."""
    from pvehelm.api.kinds import tables

    names = [name for table in tables().values() for name in (table.name, *table.short)]
    return sorted(name for name in names if name.lower().startswith(incomplete.lower()))


def contexts(incomplete: str) -> list[str]:
    """Contexts of the configuration file."""
    from pvehelm.config import list_contexts

    return [one.name for one in list_contexts()[0] if one.name.startswith(incomplete)]
