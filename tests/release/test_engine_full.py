"""A store that can't be written any more, from some moment on or once: what was done on the server is never lost."""

from __future__ import annotations

import itertools

import pytest

from pvehelm.actions.releases import Request, uninstall, upgrade
from pvehelm.chart.chart import load
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import PvehelmError, StoreError
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.plan import Allowed
from tests.release.charts import CT, SCALED
from tests.release.lab import Lab, with_context

POOL = "---\nkind: Pool\nmetadata: { name: p }\nspec: { comment: {{ Values.memory | default(512) }} }\n---"
BEFORE, AFTER = ("--set", "replicas=2,memory=512"), ("--set", "replicas=1,memory=1024,size=6G")


async def change(ctx: Context, chart: str) -> None:
    flags = [ValueFlag("set", AFTER[1])]
    allowed = Allowed(destroy=frozenset(["VirtualMachine/web-1"]))
    await upgrade(ctx, Request("web", load(chart), flags=flags), Options(allowed=allowed))


async def remove(ctx: Context, chart: str) -> None:
    await uninstall(ctx, "web", Options())


def full(lab: Lab, verb: object, chart: str, at: int, times: int) -> bool:
    """Whether it came to a write that failed: the one of that number, and so many in all."""
    failed: list[int] = []

    async def work(ctx: Context) -> None:
        ctx.confirm = lambda plan: True
        real, count = ctx.store.db._commit, itertools.count(1)

        def commit() -> None:
            number = next(count)
            if at <= number < at + times:
                failed.append(number)
                raise StoreError("the disk is full")
            real()

        ctx.store.db._commit = commit  # type: ignore[method-assign]
        assert callable(verb)
        await verb(ctx, chart)

    told = ""
    try:
        with_context(work)
    except PvehelmError as error:
        told = f"{error} {error.problems}"
    assert not told or "the disk is full" in told
    return bool(failed)


def tried(lab: Lab, verb: object, times: int, every: int) -> int:
    """How many moments there are; each ``every``-th is tried: the same command, once there is room again, completes."""
    chart = lab.chart(SCALED + "---" + CT + POOL)
    lab.run("install", "web", chart, *BEFORE)
    copy = lab.save()
    for at in itertools.count(1, every):
        lab.restore(copy)
        if not full(lab, verb, chart, at, times):
            return at
        if verb is change:
            lab.run("upgrade", "web", chart, *AFTER, "--yes", "--allow-destroy", "VirtualMachine/web-1")
            lab.settled("web", *AFTER, chart=chart)
            lab.sound("web")
            assert len(lab.guests()) == 2
        else:
            lab.run("uninstall", "web", "--yes", "--ignore-not-found")
            lab.sound()
            assert not lab.guests()
            assert not lab.state.collection("pools")
    raise AssertionError


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for good"])
@pytest.mark.parametrize("verb", [change, remove])
def test_a_disk_that_is_full_at_some_moments(lab: Lab, verb: object, times: int) -> None:
    assert tried(lab, verb, times, 7) > 7


@pytest.mark.sweep
@pytest.mark.parametrize("times", [1, 2, 1000], ids=["once", "twice", "for good"])
@pytest.mark.parametrize("verb", [change, remove])
def test_a_disk_that_is_full_at_any_moment(lab: Lab, verb: object, times: int) -> None:
    assert tried(lab, verb, times, 1) > 7
