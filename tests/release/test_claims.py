"""What an interrupted creation may claim: what it made, and nothing that somebody else made under the name since."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.actions.releases import Request, install
from pvehelm.chart.chart import load
from pvehelm.errors import ApiError, PvehelmError
from pvehelm.release.commits import retaken
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.plan import Allowed
from tests.release.lab import Lab, with_context

ALL = ("--allow-privileged", "all")
USER = "kind: User\nmetadata: { name: joe@pve }\n---\n"
TOKEN = "kind: Token\nmetadata: { name: 'joe@pve!ci' }\nspec: SPEC\n"
TOKENS = ["{ secret: 'secret://release/ci' }", "{ comment: CI, secret: 'secret://release/ci' }"]


@pytest.mark.parametrize("spec", TOKENS)
def test_a_token_that_somebody_else_made_since_is_left_alone(lab: Lab, spec: str) -> None:
    chart = lab.chart(USER + TOKEN.replace("SPEC", spec))
    assert lab.killed("put_secret", "before", 1, "install", "web", chart, *ALL)
    lab.api.ok("DELETE", "/access/users/joe@pve/token/ci")
    comment = {"comment": "CI"} if "comment" in spec else {}
    theirs = lab.api.ok("POST", "/access/users/joe@pve/token/ci", **comment)["value"]
    refused = lab.run("upgrade", "web", chart, "-i", *ALL, code=3)
    assert "--take-ownership Token/joe@pve!ci" in refused.err
    assert lab.api.as_token("joe@pve!ci", theirs).get("/version").status == 200


# Whenever it was killed after the secret was kept: before that is written down, and with the next intent.
MOMENTS = [("begin", "before", 3), ("begin", "after", 3)]


@pytest.mark.parametrize("spec", TOKENS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_token_does_not_keep_its_signature(lab: Lab, spec: str, moment: tuple[str, str, int]) -> None:
    chart = lab.chart(USER + TOKEN.replace("SPEC", spec))
    assert lab.killed(*moment, "install", "web", chart, *ALL)
    (row,) = lab.api.ok("GET", "/access/users/joe@pve/token")
    assert row["comment"].startswith("pvehelm release=")
    with lab.store() as store:
        secret = store.get_secret(lab.key("web"), "ci")
    lab.run("upgrade", "web", chart, "-i", *ALL)
    (row,) = lab.api.ok("GET", "/access/users/joe@pve/token")
    assert row.get("comment", "") == ("CI" if "comment" in spec else "")
    # The one that was told once is the one that works.
    assert lab.api.as_token("joe@pve!ci", secret).get("/version").status == 200
    lab.settled("web", *ALL, chart=chart)


@pytest.mark.parametrize("spec", TOKENS)
def test_a_token_of_ours_is_known_by_its_signature(lab: Lab, spec: str) -> None:
    chart = lab.chart(USER + TOKEN.replace("SPEC", spec))
    assert lab.killed("put_secret", "before", 1, "install", "web", chart, *ALL)
    (row,) = lab.api.ok("GET", "/access/users/joe@pve/token")
    assert row["comment"].startswith("pvehelm release=")
    lab.run("upgrade", "web", chart, "-i", *ALL)
    (row,) = lab.api.ok("GET", "/access/users/joe@pve/token")
    assert row.get("comment", "") == ("CI" if "comment" in spec else "")
    lab.settled("web", *ALL, chart=chart)


POOL = "kind: Pool\nmetadata: { name: shop }\nspec: { comment: ours }\n"


def test_an_object_that_somebody_else_made_since_is_left_alone(lab: Lab) -> None:
    chart = lab.chart(POOL)
    assert lab.killed("outcome", "before", 1, "install", "web", chart)
    lab.api.ok("DELETE", "/pools", poolid="shop")
    lab.api.ok("POST", "/pools", poolid="shop", comment="theirs")
    assert "left alone" in lab.run("recover", "web", code=3).text
    refused = lab.run("upgrade", "web", chart, "-i", code=3)
    assert "--take-ownership Pool/shop" in refused.err
    lab.run("uninstall", "web", "--yes", code=None)
    assert lab.api.ok("GET", "/pools")[0]["comment"] == "theirs"


def lock(lab: Lab, given_back: bool) -> tuple[str, list[float]]:
    """What ``retaken`` gives while somebody has the lock, who gives it back meanwhile or never does."""
    theirs = lab.api.ok("POST", "/cluster/sdn/lock")
    slept: list[float] = []

    async def work(ctx: Context) -> Any:
        client = await ctx.connect()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if given_back and len(slept) == 2:
                lab.api.ok("DELETE", "/cluster/sdn/lock", **{"lock-token": theirs})

        client.sleep = sleep
        return await retaken(client, "/cluster/sdn/lock", {})

    token = with_context(work)
    assert token == lab.state.value("sdn-lock", "") != theirs
    return token, slept


def test_a_lock_of_somebody_else_is_waited_for(lab: Lab) -> None:
    assert len(lock(lab, given_back=True)[1]) == 2


def test_a_lock_that_nobody_gives_back_was_ours(lab: Lab) -> None:
    assert len(lock(lab, given_back=False)[1]) == 4


def test_a_lock_is_not_forced_for_another_trouble_of_the_server(lab: Lab) -> None:
    theirs = lab.api.ok("POST", "/cluster/sdn/lock")
    lab.fault("POST /cluster/sdn/lock", status=500, message="unable to write '/etc/pve/sdn/.lock' - no quorum")

    async def work(ctx: Context) -> Any:
        return await retaken(await ctx.connect(), "/cluster/sdn/lock", {})

    with pytest.raises(ApiError, match="no quorum"):
        with_context(work)
    assert lab.state.value("sdn-lock", "") == theirs


def test_who_was_taken_over_keeps_no_secret(lab: Lab) -> None:
    """The answer with the secret comes when somebody else has the release, and perhaps its own secret of that name."""
    chart = lab.chart(USER + TOKEN.replace("SPEC", TOKENS[0]))

    async def work(ctx: Context) -> None:
        key = ctx.key("web")
        client = await ctx.connect()
        real = client.request

        async def request(method: str, path: str, *given: Any, **more: Any) -> Any:
            answer = await real(method, path, *given, **more)
            if path.endswith("/token/ci") and method == "POST":
                ctx.store.unlock(key.scope)
                ctx.store.put_secret(key, "ci", "theirs")
            return answer

        client.request = request  # type: ignore[method-assign]
        await install(ctx, Request("web", load(chart)), Options(allowed=Allowed(privileged=frozenset(["all"]))))

    with pytest.raises(PvehelmError, match="taken over"):
        with_context(work)
    with lab.store() as store:
        assert store.get_secret(lab.key("web"), "ci") == "theirs"
