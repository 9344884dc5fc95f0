"""Room for what is done side by side: never more than a cap allows, and never less."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.release.slots import Slots

CAPS = {"all": 4, "node": 2, "source": 1}
WORK = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("wxyz"), st.integers(0, 3)), max_size=25)


@given(WORK)
def test_caps_hold_and_are_used(work: list[tuple[str, str, int]]) -> None:
    running: Counter[tuple[str, str]] = Counter()
    waiting: list[tuple[tuple[str, str], ...]] = []

    async def one(slots: Slots, node: str, source: str, turns: int) -> None:
        places = (("all", ""), ("node", node), ("source", source))
        waiting.append(places)
        async with slots.hold(*places):
            waiting.remove(places)
            running.update(places)
            assert all(running[place] <= CAPS[place[0]] for place in places)
            for _ in range(turns):
                await asyncio.sleep(0)
            running.subtract(places)

    async def everything() -> None:
        slots = Slots(CAPS)
        tasks = [asyncio.ensure_future(one(slots, *what)) for what in work]
        while not all(task.done() for task in tasks):
            for _ in range(3):  # who is let in has its turn
                await asyncio.sleep(0)
            if running.total() and waiting:
                # Nobody waits who could begin: something of it is full (or it just ended, then the next look tells).
                assert any(slots._taken[place] >= CAPS[place[0]] for place in waiting[0])
        await asyncio.gather(*tasks)

    asyncio.run(everything())
    assert not +running


def test_who_waits_for_a_full_node_is_in_nobodys_way() -> None:
    async def order() -> list[str]:
        slots = Slots({"all": 2, "node": 1})
        begun: list[str] = []
        end = asyncio.Event()

        async def one(name: str, node: str) -> None:
            async with slots.hold(("all", ""), ("node", node)):
                begun.append(name)
                await end.wait()

        async with asyncio.TaskGroup() as group:
            for name, node in (("first", "a"), ("second", "a"), ("third", "b")):
                group.create_task(one(name, node))
            for _ in range(5):
                await asyncio.sleep(0)
            assert begun == ["first", "third"]
            end.set()
        return begun

    assert asyncio.run(order()) == ["first", "third", "second"]


@pytest.mark.parametrize("turns", range(6))
def test_who_gives_up_leaves_no_room_taken(turns: int) -> None:
    async def gives_up() -> None:
        slots = Slots({"all": 1})

        async def one() -> None:
            async with slots.hold(("all", "")):
                await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(one()) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(5), slots.hold(("all", "")):
            pass
        assert not +slots._taken

    asyncio.run(gives_up())
