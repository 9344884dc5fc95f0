"""What an interrupted creation may claim: what it made, and nothing that somebody else made under the name since."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.actions.releases import Request, install
from pvehelm.chart.chart import load
from pvehelm.errors import ApiError, PvehelmError, TransportError
from pvehelm.release.context import Context
from pvehelm.release.desire import Options
from pvehelm.release.networklock import HELD, retaken, while_free
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


LOCK = "/cluster/sdn/lock"


def lock(lab: Lab, meanwhile: str, *, known: bool = True) -> tuple[str, int]:
    """What ``retaken`` gives, and how often it waited, where a lock was taken by a call without an answer and somebody
    gives it back ``meanwhile``, or changes something, or does nothing."""
    slept: list[float] = []

    async def work(ctx: Context) -> Any:
        client = await ctx.connect()
        before = await while_free(client, LOCK) if known else ""
        token = lab.api.ok("POST", LOCK)

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            if len(slept) == 2 and meanwhile == "gives it back":
                lab.api.ok("DELETE", LOCK, **{"lock-token": token})
            if len(slept) == 2 and meanwhile == "works":
                lab.api.ok("POST", "/cluster/sdn/zones", zone="theirs", type="simple", **{"lock-token": token})

        client.sleep = sleep
        try:
            return await retaken(client, LOCK, {"allow-pending": 1}, before)
        except ApiError as error:
            return "" if (error.hint, lab.state.value("sdn-lock", "")) == (HELD, token) else "forced"

    token = with_context(work)
    assert token in ("", lab.state.value("sdn-lock", ""))
    return token, len(slept)


def test_a_lock_of_somebody_else_is_waited_for(lab: Lab) -> None:
    token, waits = lock(lab, "gives it back")
    assert token
    assert waits == 2


def test_a_lock_that_nobody_gives_back_was_ours(lab: Lab) -> None:
    token, waits = lock(lab, "nothing")
    assert token
    assert waits == 4


@pytest.mark.parametrize(("meanwhile", "known"), [("works", True), ("nothing", False)])
def test_a_lock_of_which_nobody_can_know_that_it_is_ours_is_left(lab: Lab, meanwhile: str, known: bool) -> None:
    assert lock(lab, meanwhile, known=known) == ("", 4)


ZONE = "kind: Zone\nmetadata: { name: shop }\nspec: { type: simple }\n"


def test_a_strangers_lock_survives_answers_that_are_lost(lab: Lab) -> None:
    """Somebody has it from the first; that one was told so never got here."""
    theirs = lab.api.ok("POST", LOCK)
    lab.fault("POST /cluster/sdn/lock", drop="before", times=1)
    chart = lab.chart(ZONE)
    refused = lab.run("install", "web", chart, *ALL, code=1)
    assert "somebody else has the lock" in refused.text
    assert lab.state.value("sdn-lock", "") == theirs
    lab.run("recover", "web", code=None)
    assert lab.state.value("sdn-lock", "") == theirs
    lab.clear_faults()
    lab.api.ok("DELETE", LOCK, **{"lock-token": theirs})
    lab.run("upgrade", "web", chart, "-i", *ALL)
    lab.settled("web", *ALL, chart=chart)
    assert lab.state.value("sdn-lock", "") == ""


def test_a_look_whether_there_is_a_lock_changes_nothing(lab: Lab) -> None:
    async def look(ctx: Context) -> str:
        return await while_free(await ctx.connect(), LOCK)

    first = with_context(look)
    assert with_context(look) == first
    theirs = lab.api.ok("POST", LOCK)
    with pytest.raises(ApiError, match="invalid lock token"):
        with_context(look)
    assert lab.state.value("sdn-lock", "") == theirs
    lab.api.ok("POST", "/cluster/sdn/zones", zone="more", type="simple", **{"lock-token": theirs})
    lab.api.ok("DELETE", LOCK, **{"lock-token": theirs})
    assert with_context(look) != first
    lab.fault("DELETE /cluster/sdn/lock", drop="after")
    with pytest.raises(TransportError, match="nothing was done yet") as caught:
        with_context(look)
    assert not caught.value.sent


def test_a_lock_is_not_forced_for_another_trouble_of_the_server(lab: Lab) -> None:
    theirs = lab.api.ok("POST", LOCK)
    lab.fault("POST /cluster/sdn/lock", status=500, message="unable to write '/etc/pve/sdn/.lock' - no quorum")

    async def work(ctx: Context) -> Any:
        return await retaken(await ctx.connect(), LOCK, {}, "known")

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
