"""UPIDs, and waiting for tasks of a scripted node."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.api.client import Client, Retries, TokenAuth
from pvehelm.api.task import FEW, UPID, Backoff, Task, TaskResult, TaskTimeout, find_tasks, is_upid, parse
from pvehelm.errors import ApiError, InvalidError, TaskError, TransportError
from tests.api.serving import Scripted, Time, fine, refused

TEXT = "UPID:pve1:0000C0FE:00ABCDEF:673E9A10:qmcreate:100:root@pam:"


def upid(number: int, node: str = "pve1") -> str:
    return str(UPID(node, number, 1, 1_700_000_000, "qmclone", str(100 + number), "root@pam!helm"))


def test_parse() -> None:
    found = parse(TEXT)
    assert found == UPID("pve1", 0xC0FE, 0xABCDEF, 0x673E9A10, "qmcreate", "100", "root@pam")
    assert str(found) == TEXT
    assert UPID.parse("UPID:n-1:0000C0FE:0ABCDEF01:673E9A10:imgdel:150@st1:joe@pve!x:").id == "150@st1"
    assert UPID.parse("UPID:n:0000C0FE:0ABCDEF0:673E9A10:srvreload::root@pam:").id == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPID",
        TEXT[:-1],
        TEXT + "x",
        " " + TEXT,
        TEXT + "\n",
        TEXT.replace("0000C0FE", "C0FE"),
        TEXT.replace("0000C0FE", "0000C0FG"),
        TEXT.replace("pve1", "pve_1"),
        TEXT.replace("pve1", "-pve1"),
        TEXT.replace("qmcreate", ""),
        TEXT.replace("root@pam", ""),
        TEXT.replace("100", "1 0"),
    ],
)
def test_no_upids(text: str) -> None:
    assert not is_upid(text)
    with pytest.raises(InvalidError, match="UPID"):
        parse(text)


def test_is_upid() -> None:
    assert is_upid(TEXT)
    assert not any(is_upid(value) for value in (None, 7, {"data": TEXT}, [TEXT], b"UPID"))


WORD = st.text(st.characters(exclude_characters=":", exclude_categories=("Z", "C")), min_size=1, max_size=12).filter(
    lambda text: not any(char.isspace() for char in text)
)
NUMBER = st.integers(0, 0xFFFFFFFF)


@given(
    st.builds(
        UPID,
        st.from_regex(r"\A[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?\Z"),
        NUMBER,
        st.integers(0, 0xFFFFFFFFF),
        NUMBER,
        WORD,
        st.one_of(st.just(""), WORD),
        WORD,
    )
)
def test_upids_round_trip(made: UPID) -> None:
    text = str(made)
    assert is_upid(text)
    assert parse(text) == made
    assert str(parse(text)) == text
    lower = text.replace(f"{made.pid:08X}", f"{made.pid:08x}")
    assert str(parse(lower)) == lower, "a node looks for the exact text"


def test_parsing_is_light() -> None:
    code = "import sys, pvehelm.api.task; print({'httpx', 'asyncio', 'ssl', 'pydantic'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("exitstatus", "ok", "warnings"),
    [
        ("OK", True, 0),
        ("WARNINGS: 3", True, 3),
        ("unable to create VM 100", False, 0),
        ("OKAY", False, 0),
        ("WARNINGS: many", False, 0),
        ("unexpected status", False, 0),
        ("", False, 0),
    ],
)
def test_results(exitstatus: str, ok: bool, warnings: int) -> None:
    assert TaskResult.of(parse(TEXT), exitstatus) == TaskResult(parse(TEXT), exitstatus, ok, warnings)


class Node:
    """Nodes with tasks that end after so many looks at them (in seconds of the test's clock)."""

    def __init__(self, lists_ended: bool = True) -> None:
        self.time = Time()
        self.ends: dict[str, tuple[float, str]] = {}
        self.logs: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.lists_ended = lists_ended
        self.trouble: Callable[[], httpx.Response | Exception | None] = lambda: None
        self.transport = Scripted(self.answer)
        self.client = Client(
            "pve1",
            TokenAuth("root@pam!helm", "11111111-2222-3333-4444-555555555555"),
            transport=self.transport,
            sleep=self.time.sleep,
            clock=self.time.clock,
            rng=random.Random(3),
            retries=Retries(attempts=1),
        )

    def add(self, text: str, seconds: float, exitstatus: str = "OK", log: list[str] | None = None) -> Task:
        self.ends[text] = (self.time.now + seconds, exitstatus)
        self.logs[text] = log or []
        return Task(text, self.client)

    def running(self, text: str) -> bool:
        return self.time.now < self.ends[text][0]

    def answer(self, request: httpx.Request) -> httpx.Response | Exception:
        trouble = self.trouble()
        if trouble is not None:
            return trouble
        parts = [unquote(part) for part in request.url.raw_path.decode().partition("?")[0].split("/")]
        if len(parts) == 6:
            self.asked["list"] += 1
            assert request.url.params["source"] == "active"
            rows: list[dict[str, Any]] = []
            for text, (end, exitstatus) in self.ends.items():
                if UPID.parse(text).node != parts[4]:
                    continue
                if self.running(text):
                    rows.append({"upid": text})
                elif self.lists_ended:
                    rows.append({"upid": text, "endtime": int(end), "status": exitstatus[:20]})
            return fine(rows)
        text, what = parts[6], parts[7]
        self.asked[what] += 1
        if text not in self.ends:
            errors = {"upid": "no such task"}
            return refused(400, "Parameter verification failed.", errors=errors)
        if what == "status":
            if self.running(text):
                return fine({"upid": text, "status": "running"})
            return fine({"upid": text, "status": "stopped", "exitstatus": self.ends[text][1]})
        lines = self.logs[text]
        start, limit = int(request.url.params["start"]), int(request.url.params["limit"])
        rows = [{"n": n + 1, "t": line} for n, line in enumerate(lines)][start : start + limit]
        if not lines:
            return fine([{"n": 1, "t": "no content"}], total=1)
        return fine(rows or [{"n": start + 1, "t": "no content"}], total=len(lines))


def run(work: Callable[[Node], Awaitable[None]], **options: Any) -> Node:
    node = Node(**options)

    async def main() -> None:
        await work(node)

    asyncio.run(main())
    return node


def test_wait_backs_off() -> None:
    async def work(node: Node) -> None:
        result = await node.add(upid(1), 60).wait()
        assert result == TaskResult(parse(upid(1)), "OK", True)

    node = run(work)
    assert node.time.slept[0] == 0.1
    assert node.time.slept[-1] == 2.0
    assert node.time.slept == sorted(node.time.slept)
    assert node.asked["status"] < 45
    assert node.asked["list"] == 0


def test_backoff() -> None:
    backoff = Backoff(first=1.0, factor=2.0, cap=3.0)
    assert [backoff.after(pause) for pause in (None, 1.0, 2.0, 3.0)] == [1.0, 2.0, 3.0, 3.0]


def test_warnings_are_no_failure() -> None:
    async def work(node: Node) -> None:
        result = await node.add(upid(1), 0, "WARNINGS: 2").wait()
        assert (result.ok, result.warnings) == (True, 2)

    run(work)


def test_failure_shows_the_end_of_the_log() -> None:
    async def work(node: Node) -> None:
        lines = [f"line {n}" for n in range(50)] + ["TASK ERROR: no space left"]
        with pytest.raises(TaskError) as caught:
            await node.add(upid(1), 1, "no space left", lines).wait()
        assert caught.value.exitstatus == "no space left"
        assert caught.value.log == tuple(lines[-20:])
        assert upid(1) in str(caught.value)

    run(work)


def test_failure_is_told_also_when_the_log_cannot_be_read() -> None:
    async def work(node: Node) -> None:
        task = node.add(upid(1), 0, "boom")
        answer = node.answer
        node.transport.respond = lambda request: (
            httpx.ReadError("gone") if request.url.path.endswith("/log") else answer(request)
        )
        with pytest.raises(TaskError) as caught:
            await task.wait()
        assert (caught.value.exitstatus, caught.value.log) == ("boom", ())

    run(work)


def test_exit_status_that_comes_a_moment_later() -> None:
    async def work(node: Node) -> None:
        answers = [fine({"status": "stopped"}), fine({"status": "stopped", "exitstatus": "OK"})]
        node.transport.respond = lambda request: answers.pop(0)
        assert (await Task(upid(1), node.client).wait()).ok

    run(work)


def test_timeout_leaves_the_task_alone() -> None:
    async def work(node: Node) -> None:
        task = node.add(upid(1), 1000)
        with pytest.raises(TaskTimeout, match="still runs after 30 s") as caught:
            await task.wait(timeout=30)
        assert isinstance(caught.value, TaskError)
        assert sum(node.time.slept) == pytest.approx(30)
        assert all(request.method == "GET" for request in node.transport.requests)
        assert (await task.wait(timeout=2000)).ok

    run(work)


def test_unknown_task() -> None:
    async def work(node: Node) -> None:
        task = Task(upid(9), node.client)
        for attempt in (task.wait, task.status, task.log().__anext__):
            with pytest.raises(TaskError) as caught:
                await attempt()
            assert caught.value.exitstatus == "unknown"

    run(work)


@pytest.mark.parametrize(
    "trouble",
    [refused(595), refused(596), refused(500, "hostname lookup 'pve1' failed"), httpx.ConnectError("refused")],
)
def test_a_node_that_restarts_is_waited_for(trouble: Any) -> None:
    async def work(node: Node) -> None:
        task = node.add(upid(1), 100)
        begin = node.time.now
        node.trouble = lambda: trouble if 10 < node.time.now - begin < 90 else None
        assert (await task.wait()).ok

    run(work)


def test_patience_has_an_end_and_starts_anew_after_an_answer() -> None:
    async def work(node: Node) -> None:
        task = node.add(upid(1), 10_000)
        begin = node.time.now
        node.trouble = lambda: (
            refused(595) if (node.time.now - begin) % 100 > 50 or node.time.now - begin > 900 else None
        )
        with pytest.raises(ApiError) as caught:
            await task.wait(patience=60.0)
        assert caught.value.status == 595
        assert node.time.now - begin > 900
        assert node.client.boards["pve1"].waiting == 0

    run(work)


@pytest.mark.parametrize("trouble", [refused(403, "Permission check failed"), refused(401, "No ticket")])
def test_what_will_not_get_better_is_told_at_once(trouble: Any) -> None:
    async def work(node: Node) -> None:
        task = node.add(upid(1), 5)
        node.trouble = lambda: trouble
        with pytest.raises(ApiError):
            await task.wait()
        assert not node.time.slept

    run(work)


def test_log_streams_as_it_grows() -> None:
    node = Node()
    node.add(upid(1), 50)

    async def grow() -> None:
        task = Task(upid(1), node.client)
        log = node.logs[upid(1)]
        sleep = node.time.sleep

        async def growing(seconds: float) -> None:
            await sleep(seconds)
            if node.running(upid(1)):
                log.extend(f"line {len(log) + n}" for n in range(300))

        node.client.sleep = growing
        seen = [line async for line in task.log()]
        assert len(seen) > 3000
        assert seen == log
        assert [line async for line in task.log(start=len(log) - 2)] == log[-2:]

    asyncio.run(grow())


def test_empty_log_has_no_lines() -> None:
    async def work(node: Node) -> None:
        assert [line async for line in node.add(upid(1), 3).log()] == []

    run(work)


async def waited(tasks: Iterable[Task], **how: Any) -> list[TaskResult]:
    """All of them, waited for at once as the changes of a plan are."""
    return await asyncio.gather(*(task.wait(**how) for task in tasks))


@pytest.mark.parametrize("lists_ended", [True, False])
def test_many_share_one_list(lists_ended: bool) -> None:
    async def work(node: Node) -> None:
        tasks = [node.add(upid(n, f"pve{n % 2 + 1}"), 20 + n % 5) for n in range(60)]
        results = await waited(tasks)
        assert [result.upid for result in results] == [task.upid for task in tasks]

    node = run(work, lists_ended=lists_ended)
    looks = 2 * len({round(slept, 6) for slept in node.time.slept})
    assert node.asked["list"] > 0
    # Asked one by one, 60 tasks would cost a look each at every pause.
    assert node.asked["status"] <= 60 * (1 + (not lists_ended)) + 60
    assert sum(node.asked.values()) < 60 * looks


def test_short_ones_need_no_list() -> None:
    async def work(node: Node) -> None:
        await waited([node.add(upid(n), 0) for n in range(4 * FEW)])

    assert run(work).asked == {"status": 4 * FEW}


def test_few_are_asked_one_by_one() -> None:
    async def work(node: Node) -> None:
        await waited([node.add(upid(n), 5) for n in range(FEW)])

    assert run(work).asked["list"] == 0


def test_a_worker_that_died_is_found_out_although_the_list_has_it_running() -> None:
    async def work(node: Node) -> None:
        tasks = [node.add(upid(n), 5) for n in range(6)]
        answer = node.answer

        def stale(request: httpx.Request) -> httpx.Response | Exception:
            if request.url.path.endswith("/tasks"):
                return fine([{"upid": text} for text in node.ends])
            return answer(request)

        node.transport.respond = stale
        assert len(await waited(tasks, timeout=500)) == 6

    run(work)


def test_looking_for_a_task() -> None:
    async def work(node: Node) -> None:
        mine = [str(UPID("pve1", pid, 1, 1000 + pid, "qmclone", "100", "root@pam")) for pid in range(3)]
        others = [mine[0].replace("qmclone", "qmstart"), mine[0].replace(":100:", ":101:")]
        node.transport.respond = lambda request: fine([{"upid": text} for text in (*mine, *others)])
        found = await find_tasks(node.client, "pve1", "qmclone", "100", since=1000.9)
        assert [str(task.upid) for task in found] == mine[::-1]
        assert len(await find_tasks(node.client, "pve1", "qmclone", "100", since=1001.0)) == 2
        assert len(await find_tasks(node.client, "pve1", "qmclone", "100", after=mine[1])) == 1
        query = node.transport.requests[-1].url.params
        assert (query["source"], query["typefilter"]) == ("all", "qmclone")

    run(work)


def test_lost_node_among_many() -> None:
    async def work(node: Node) -> None:
        tasks = [node.add(upid(n), 50) for n in range(5)]
        begin = node.time.now
        node.trouble = lambda: httpx.ConnectError("refused") if node.time.now - begin > 10 else None
        with pytest.raises(TransportError):
            await waited(tasks, patience=30)

    run(work)
