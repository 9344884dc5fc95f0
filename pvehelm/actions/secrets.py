"""Secrets of releases: what templates had made and what was sealed, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pvehelm.actions import action
from pvehelm.errors import NotFoundError

if TYPE_CHECKING:
    from pvehelm.release.context import Context


@action("read")
def list_secrets(ctx: Context, name: str) -> list[str]:
    """Name the secrets that are kept with a release; ``generated/...`` were asked for by the chart."""
    key = ctx.key(name)
    ctx.store.get(key)
    return ctx.store.secret_names(key)


# Only for who sits at the command line: no dashboard or agent has any business with the text.
@action("local")
def show_secret(ctx: Context, name: str, secret: str) -> str:
    """Show one secret of a release. Raises NotFoundError, or StoreError without the key it was sealed with."""
    from pvehelm.suggest import suggest

    known = list_secrets(ctx, name)
    secret = secret.removeprefix("secret://release/")
    found = next((one for one in (secret, f"generated/{secret}") if one in known), None)
    if found is None:
        meant = suggest(secret, [*known, *(one.removeprefix("generated/") for one in known)])
        hint = f"did you mean {meant}?" if meant else f"pvehelm secret list {name} names them"
        raise NotFoundError(f"release {name} keeps no secret {secret!r}", hint=hint)
    return ctx.store.get_secret(ctx.key(name), found)
