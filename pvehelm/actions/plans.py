"""Plans as documents: saving one, and applying exactly that one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pvehelm.actions import action
from pvehelm.errors import RefusedError

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.decide import Decision
    from pvehelm.release.desire import Options
    from pvehelm.release.document import Document
    from pvehelm.release.pipeline import Result


def planning(ctx: Context, name: str, options: Options) -> Options:
    """``options`` that stop at the plan, and mark a release that is yet to be made as ``apply-plan`` will."""
    uid = ctx.store.uid(ctx.key(name)) or str(uuid4())
    return replace(options, dry_run=True, uid=uid)


@action("read", "save-plan")
def document(ctx: Context, name: str, result: Result, options: Options) -> Document:
    """What a dry run decided, as a document. Raises what stands against the plan."""
    from pvehelm.release.decide import check
    from pvehelm.release.document import Document

    check(result.plan)
    assert result.decision is not None
    assert result.desire is not None
    return Document.make(
        ctx.key(name),
        result.decision,
        result.desire,
        options,
        uid=options.uid,
        base=result.release.current.number if result.release else 0,
        digest=ctx.store.hmac,
        sign=ctx.store.sign,
        seal=lambda text: ctx.store.keys.get(create=True, purpose="seal the secret").seal(text),
        made=ctx.clock(),
        by=ctx.user,
        pve=ctx.release,
    )


@action("destroy")
async def apply_plan(ctx: Context, saved: Document, *, timeout: float | None = None) -> Result:
    """Apply a saved plan exactly. Raises RefusedError, naming what moved, when it can't be."""
    from pvehelm.release.pipeline import run

    if saved.key.cluster != ctx.cluster:
        raise RefusedError(
            f"the plan is for another cluster than context {ctx.name} is for",
            hint="--context names the context; pvehelm context list shows them",
        )
    saved.require_ours(ctx.store.signed)
    ctx.namespace = saved.key.namespace
    desire = saved.wanted(lambda sealed: ctx.store.keys.get(purpose="open the plan's secrets").open(sealed))
    options: dict[str, Any] = {"timeout": timeout} if timeout is not None else {}

    def pin(decision: Decision) -> None:
        release = ctx.store.find(saved.key, bodies=False)
        saved.check(decision, release.current.number if release else 0, ctx.store.hmac)

    return await run(ctx, saved.key, desire, saved.how(**options), pin=pin)
