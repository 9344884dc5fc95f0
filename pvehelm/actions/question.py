"""The question whether data may go, asked once for what is done in several steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pvehelm.errors import Problem, RefusedError

if TYPE_CHECKING:
    from pvehelm.release.context import Context
    from pvehelm.release.plan import Plan


@contextmanager
def asked(ctx: Context, plan: Plan, what: str, *, destroys: bool = True) -> Iterator[None]:
    """Ask about a plan, if it ``destroys`` or whatever it does; inside, nobody is asked about the same again, but about
    whatever else turns out to be lost.

    Raises RefusedError, which says that ``what`` was not confirmed.
    """
    told = plan.destroys if destroys else plan.changes
    if told and not ctx.confirm(plan):
        problems = [Problem(change.ref, ", ".join(change.losses) or "without data") for change in told]
        raise RefusedError(f"{what} was not confirmed", problems, hint="--yes confirms")
    agreed, ask = {change.ref: {*change.losses} for change in told}, ctx.confirm

    def confirm(plan: Plan) -> bool:
        return all(one.ref in agreed and agreed[one.ref].issuperset(one.losses) for one in plan.destroys) or ask(plan)

    ctx.confirm = confirm
    try:
        yield
    finally:
        ctx.confirm = ask
