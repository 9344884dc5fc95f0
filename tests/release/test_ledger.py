"""Writes of many changes in one transaction: all of them durable, in order, and each failure for its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from pvehelm.actions.releases import Request, install
from pvehelm.chart.chart import load
from pvehelm.errors import FencedError, NotFoundError, PvehelmError, StoreError
from pvehelm.release import ledger as ledger_module
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.ledger import Ledger
from pvehelm.release.release import ReleaseKey
from pvehelm.release.store import Store, open_store
from tests.release.charts import VM
from tests.release.lab import Lab, with_context

KEY = ReleaseKey("cluster", "default", "web")


class Counted:
    """A store's transactions, the outer ones."""

    def __init__(self, store: Store) -> None:
        self.commits = 0
        real = store.db._commit

        def commit() -> None:
            self.commits += 1
            real()

        store.db._commit = commit  # type: ignore[method-assign]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


def test_what_comes_together_is_one_transaction(store: Store) -> None:
    lease = store.acquire(KEY.scope)
    counted = Counted(store)

    async def write() -> list[int]:
        ledger = Ledger(store)

        async def one(number: int) -> int:
            entry = await ledger.write(lambda: store.begin(KEY, lease, 1, number, f"Pool/{number}", "create", {}))
            await ledger.write(lambda: store.outcome(entry, lease, ok=True))
            return entry

        return list(await asyncio.gather(*(one(number) for number in range(20))))

    entries = asyncio.run(write())
    assert counted.commits == 2
    found = store.entries(KEY, 1)
    assert [(entry.id, entry.seq, entry.ok) for entry in found] == [(e, i, True) for i, e in enumerate(entries)]


def test_one_that_fails_fails_alone(store: Store) -> None:
    lease = store.acquire(KEY.scope)

    async def write() -> list[Any]:
        ledger = Ledger(store)
        written: list[asyncio.Future[Any]] = [
            ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {})),
            ledger.write(lambda: store.set_upid(4711, "UPID:")),
            ledger.write(lambda: store.begin(KEY, lease, 1, 2, "Pool/b", "create", {})),
        ]
        return list(await asyncio.gather(*written, return_exceptions=True))

    first, second, third = asyncio.run(write())
    assert isinstance(second, NotFoundError)
    assert [entry.id for entry in store.open_entries(KEY)] == [first, third]


def test_a_lost_lease_writes_nothing(store: Store) -> None:
    lease = store.acquire(KEY.scope)
    store.ensure(KEY)
    store.unlock(KEY.scope)

    async def write() -> list[Any]:
        ledger = Ledger(store)
        begun = [ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {})) for _ in range(3)]
        return list(await asyncio.gather(*begun, return_exceptions=True))

    assert all(isinstance(error, FencedError) for error in asyncio.run(write()))
    assert not store.open_entries(KEY)


def test_what_nobody_waits_for_any_more_is_written(store: Store) -> None:
    lease = store.acquire(KEY.scope)

    async def write() -> None:
        ledger = Ledger(store)

        async def one() -> None:
            await ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {}))

        task = asyncio.ensure_future(one())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(write())
    assert len(store.open_entries(KEY)) == 1


def test_what_can_wait_goes_with_what_cannot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "PATIENCE", 3600.0)
    lease = store.acquire(KEY.scope)
    counted = Counted(store)

    async def write() -> None:
        ledger = Ledger(store)
        entry = await ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {}))
        ledger.write(lambda: store.set_upid(entry, "UPID:"), soon=False)
        done = ledger.write(lambda: store.outcome(entry, lease, ok=True), soon=False)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not done.done()
        await ledger.write(lambda: store.begin(KEY, lease, 1, 2, "Pool/b", "create", {}))
        assert done.done()

    asyncio.run(write())
    assert counted.commits == 2
    assert [(entry.upid, entry.ok) for entry in store.entries(KEY, 1)] == [("UPID:", True), ("", None)]


def test_what_can_wait_does_so_for_a_moment_or_until_it_is_asked_for(store: Store) -> None:
    lease = store.acquire(KEY.scope)

    async def write() -> None:
        ledger = Ledger(store)
        first = ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {}), soon=False)
        await first
        second = ledger.write(lambda: store.begin(KEY, lease, 1, 2, "Pool/b", "create", {}), soon=False)
        assert not second.done()
        ledger.flush()
        assert second.done()
        ledger.flush()

    asyncio.run(write())
    assert len(store.open_entries(KEY)) == 2


GROUP = "kind: SecurityGroup\nmetadata: { name: web }\nspec: { comment: '1024', rules: [RULE, RULE] }\n"
RULE = "{ type: in, action: ACCEPT, proto: tcp, dport: '80' }"


@pytest.mark.parametrize("times", [2, 3, 1000])
@pytest.mark.parametrize(
    ("text", "ref", "leaf", "steps"),
    [(VM, "VirtualMachine/vm", "memory", 4), (GROUP.replace("RULE", RULE), "SecurityGroup/web", "comment", 3)],
    ids=["machine", "group"],
)
def test_what_was_written_without_waiting_and_failed_is_written_before_anything_later(
    lab: Lab, text: str, ref: str, leaf: str, steps: int, times: int
) -> None:
    """An outcome that nobody waited for and that could not be written: left open, recovering it would undo in the
    inventory what came after it."""
    chart = lab.chart(text)
    failed: list[int] = []

    async def work(ctx: Context) -> None:
        real = ctx.store.outcome

        def outcome(entry: int, *given: Any, **more: Any) -> None:
            # That of the creation, with others and by itself; then once more with the next intent.
            if entry == min([entry, *failed]) and len(failed) < times:
                failed.append(entry)
                raise StoreError("no room")
            real(entry, *given, **more)

        ctx.store.outcome = outcome  # type: ignore[method-assign]
        await install(ctx, Request("web", load(chart)), Options())

    if times == 2:
        with_context(work)
        with lab.store() as store:
            assert store.open_entries(lab.key("web")) == []
            assert [entry.ok for entry in store.entries(lab.key("web"), 1)] == [True] * steps
    else:
        with pytest.raises(PvehelmError, match="no room"):
            with_context(work)
    lab.run("upgrade", "web", chart, "--install")
    lab.settled("web", chart=chart)
    lab.sound("web")
    assert lab.inventory("web").entries[ref].fields[leaf] == "1024"


def test_who_goes_on_by_what_was_handed_in_is_written_with_it(store: Store) -> None:
    """Room is given back before an outcome is durable: the intent of the next is in the same transaction."""
    lease = store.acquire(KEY.scope)
    counted = Counted(store)

    async def write() -> None:
        ledger = Ledger(store)
        room = asyncio.get_running_loop().create_future()

        async def first() -> None:
            entry = await ledger.write(lambda: store.begin(KEY, lease, 1, 1, "Pool/a", "create", {}))
            done = ledger.write(lambda: store.outcome(entry, lease, ok=True))
            room.set_result(None)
            await done

        async def second() -> None:
            await room
            await ledger.write(lambda: store.begin(KEY, lease, 1, 2, "Pool/b", "create", {}))
            assert [entry.ok for entry in store.entries(KEY, 1)] == [True, None]

        await asyncio.gather(first(), second())

    asyncio.run(write())
    assert counted.commits == 2
