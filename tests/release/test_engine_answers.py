"""Answers that are none: a proxy's page, half a body, an empty one. The call was done, and is not done twice."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

import httpx
import pytest

from pvehelm.actions.releases import Request, uninstall, upgrade
from pvehelm.chart.chart import load
from pvehelm.chart.values import ValueFlag
from pvehelm.errors import PvehelmError
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.plan import Allowed
from tests.release.charts import MIXED
from tests.release.lab import Lab, load_cases, with_context

CASES = load_cases("release/answers.yaml")
AFTER = ("--set", "memory=2048,comment=two,macro=SSH")


class Between(httpx.AsyncBaseTransport):
    """What stands between: every ``every``-th call that writes is done, and answered by a case."""

    def __init__(self, real: httpx.AsyncBaseTransport, case: dict[str, Any], every: int, first: int) -> None:
        self.real, self.case = real, case
        self.every, self.count = every, itertools.count(every - first)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.real.handle_async_request(request)
        writes = request.method != "GET" and "/access/ticket" not in request.url.path
        if not writes or next(self.count) % self.every:
            return answer
        if "cut" in self.case:
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content[: self.case["cut"]]
            )
        content, kind = self.case["body"].encode(), self.case.get("type", "application/json")
        return httpx.Response(self.case["status"], headers={"content-type": kind}, content=content)

    async def aclose(self) -> None:
        await self.real.aclose()


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_an_answer_that_is_none(lab: Lab, case: dict[str, Any]) -> None:
    chart = lab.chart(MIXED)
    flags = [[], [ValueFlag("set", AFTER[1])]]

    async def work(ctx: Context) -> None:
        client = await ctx.connect()
        client.sleep = lambda seconds: asyncio.sleep(0)
        client._transport = Between(client._transport, case, 3, len(case["name"]) % 3)
        for given in flags:
            request = Request("web", load(chart), flags=given, install_if_missing=True)
            try:
                await upgrade(ctx, request, Options())
            except PvehelmError:
                # Where nobody can know (what a server does not show), the same once more does.
                await upgrade(ctx, request, Options())

    with_context(work)
    lab.settled("web", *AFTER, chart=chart)
    lab.sound("web")
    assert len(lab.guests()) == 2

    async def away(ctx: Context) -> None:
        client = await ctx.connect()
        client.sleep = lambda seconds: asyncio.sleep(0)
        client._transport = Between(client._transport, case, 2, 0)
        ctx.confirm = lambda plan: True
        await uninstall(ctx, "web", Options())

    with_context(away)
    lab.sound()
    assert not lab.guests()


LISTS = """
kind: SecurityGroup
metadata: { name: web }
spec: { rules: {{ Values.rules | default([]) }} }
---
kind: FirewallRules
metadata: { name: all }
spec: { scope: cluster, rules: {{ Values.rules | default([]) }} }
---
kind: IPSet
metadata: { name: some }
spec: { scope: cluster, entries: {{ Values.entries | default([]) }} }
"""
ALL = ("--allow-privileged", "all")
WAYS = ["", "a", "abcd", "ad", "dxa", "Daxy", "y", "yabcdx", ""]


def rule(letter: str) -> dict[str, Any]:
    action = "DROP" if letter.isupper() else "ACCEPT"
    return {"type": "in", "action": action, "proto": "tcp", "dport": str(8000 + ord(letter)), "comment": letter}


def test_a_row_of_a_list_is_not_changed_twice(lab: Lab) -> None:
    """By its place, it would be another row: one that stays would go."""
    chart = lab.chart(LISTS)

    async def work(ctx: Context) -> None:
        client = await ctx.connect()
        client.sleep = lambda seconds: asyncio.sleep(0)
        client._transport = Between(client._transport, {"status": 200, "body": ""}, 1, 0)
        allowed = Allowed(privileged=frozenset(["all"]), take_ownership=frozenset(["all"]))
        for letters in WAYS:
            entries = [{"cidr": f"10.0.0.{ord(letter)}"} for letter in letters]
            rules = [rule(letter) for letter in letters]
            given = {"rules": rules, "entries": entries}
            flags = [ValueFlag("set-json", f"{name}={json.dumps(value)}") for name, value in given.items()]
            request = Request("web", load(chart), flags=flags, install_if_missing=True)
            await upgrade(ctx, request, Options(allowed=allowed))
            for path in ("groups/web", "rules"):
                rows = sorted(lab.api.ok("GET", f"/cluster/firewall/{path}"), key=lambda row: int(row["pos"]))
                assert "".join(row["comment"] for row in rows) == letters
                assert all(row["enable"] for row in rows)
            assert len(lab.api.ok("GET", "/cluster/firewall/ipset/some")) == len(entries)

    with_context(work)


class Busy(Between):
    """Somebody adds a row in the moment in which the answer to ours is lost."""

    def __init__(self, real: httpx.AsyncBaseTransport, lab: Lab) -> None:
        super().__init__(real, {"status": 200, "body": ""}, 1, 0)
        self.lab, self.done = lab, False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.done or request.method != "POST" or not request.url.path.endswith("/cluster/firewall/rules"):
            return await self.real.handle_async_request(request)
        self.done = True
        answer = await super().handle_async_request(request)
        self.lab.api.ok("POST", "/cluster/firewall/rules", type="in", action="DROP", comment="theirs", enable=1)
        return answer


def test_a_list_that_somebody_changes_meanwhile(lab: Lab) -> None:
    chart = lab.chart(LISTS)
    flag = ("--set-json", f"rules={json.dumps([rule('a'), rule('b')])}")

    async def work(ctx: Context) -> None:
        client = await ctx.connect()
        client.sleep = lambda seconds: asyncio.sleep(0)
        client._transport = Busy(client._transport, lab)
        flags = [ValueFlag("set-json", flag[1])]
        options = Options(allowed=Allowed(privileged=frozenset(["all"])))
        await upgrade(ctx, Request("web", load(chart), flags=flags, install_if_missing=True), options)

    with pytest.raises(PvehelmError) as caught:
        with_context(work)
    assert "nobody knows whether it was done (add a rule): FirewallRules/all" in str(caught.value.problems)
    lab.run("upgrade", "web", chart, *flag, *ALL)
    lab.settled("web", *flag, *ALL, chart=chart)
    lab.run("uninstall", "web", "--yes")
    # Nothing of ours is left; what was theirs went when the whole list was asked for once more.
    assert lab.api.ok("GET", "/cluster/firewall/rules") == []
