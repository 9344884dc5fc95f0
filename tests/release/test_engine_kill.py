"""Killed at every step of every verb: the next command completes, nothing is lost, nothing is there twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.release.charts import MIXED, SCALED
from tests.release.lab import Lab

# Where a process dies: the intent is stored and nothing was sent; the call was made and nobody recorded it; its task is
# known and nobody waited; the outcome is stored.
POINTS = [("begin", "after"), ("outcome", "before"), ("set_upid", "after"), ("outcome", "after")]
IDS = ["intent", "unrecorded", "task", "outcome"]


def each_step(lab: Lab, point: tuple[str, str], args: tuple[str, ...], after: Callable[[Lab, int], None]) -> None:
    """Run ``args`` again and again from the same state, killed one step later each time, until it lives through."""
    saved = lab.save()
    for count in range(1, 60):
        lab.restore(saved)
        if not lab.killed(*point, count, *args):
            break
        after(lab, count)
    else:
        raise AssertionError("it never ends")
    assert count > 1, "there was nothing to kill"
    shutil.rmtree(saved)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
@pytest.mark.parametrize("manifests", [SCALED, MIXED], ids=["scaled", "mixed"])
def test_killed_install(lab: Lab, point: tuple[str, str], manifests: str) -> None:
    chart = lab.chart(manifests)

    def after(lab: Lab, count: int) -> None:
        assert lab.status("web") == "failed"
        if count % 3 == 0:
            lab.run("uninstall", "web", "--yes")
            assert not lab.guests()
            lab.sound()
            return
        lab.run(*(("install", "web", chart) if count % 3 == 1 else ("recover", "web")))
        assert len(lab.guests()) == 2
        lab.settled("web", chart=chart)
        lab.sound("web")

    each_step(lab, point, ("install", "web", chart), after)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_killed_upgrade(lab: Lab, point: tuple[str, str]) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    first = lab.inventory("web")
    args = ("upgrade", "web", chart, "--set", "replicas=3,memory=1024")

    def after(lab: Lab, count: int) -> None:
        if count % 3 == 0:
            lab.run("rollback", "web", "1", "--yes")
            assert len(lab.guests()) == 2
            assert {o.ref: o.fields for o in lab.inventory("web")} == {o.ref: o.fields for o in first}
            for owned in lab.inventory("web"):
                assert str(lab.config(owned.identifier["vmid"])["memory"]) == "512"
        else:
            lab.run(*(args if count % 3 == 1 else ("recover", "web")))
            assert len(lab.guests()) == 3
        lab.settled("web")
        lab.sound("web")

    each_step(lab, point, args, after)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_killed_rollback_that_scales_down(lab: Lab, point: tuple[str, str]) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=1")
    lab.run("upgrade", "web", chart, "--set", "replicas=3,memory=1024")
    args = ("rollback", "web", "1", "--yes")

    def after(lab: Lab, count: int) -> None:
        lab.run(*(args if count % 2 else ("recover", "web", "--yes")))
        assert len(lab.guests()) == 1
        lab.settled("web")
        lab.sound("web")

    each_step(lab, point, args, after)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
@pytest.mark.parametrize("manifests", [SCALED, MIXED], ids=["scaled", "mixed"])
def test_killed_uninstall(lab: Lab, point: tuple[str, str], manifests: str) -> None:
    chart = lab.chart(manifests)
    lab.run("install", "web", chart)
    args = ("uninstall", "web", "--yes")

    def after(lab: Lab, count: int) -> None:
        lab.run(*(args if count % 2 else ("recover", "web", "--yes")))
        assert not lab.guests()
        lab.sound()
        assert lab.run("list", "-q").out == ""
        lab.run("install", "web", chart)
        lab.settled("web", chart=chart)
        lab.sound("web")

    each_step(lab, point, args, after)


@pytest.mark.parametrize("point", POINTS, ids=IDS)
def test_killed_replacement(lab: Lab, point: tuple[str, str]) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart, "--set", "replicas=1")
    args = ("upgrade", "web", chart, "--replace", "VirtualMachine/web-0", "--yes")

    def after(lab: Lab, count: int) -> None:
        lab.run("recover", "web", "--yes")
        assert len(lab.guests()) == 1
        lab.settled("web")
        lab.sound("web")

    each_step(lab, point, args, after)


@pytest.mark.parametrize("flag", ["--keep-resources", "--keep-history"])
def test_recover_finishes_an_uninstall_as_it_was_asked_for(lab: Lab, flag: str) -> None:
    chart = lab.chart(SCALED)
    lab.run("install", "web", chart)
    assert lab.killed("outcome", "before", 2, "uninstall", "web", "--yes", flag)
    lab.run("recover", "web", "--yes")
    if flag == "--keep-resources":
        assert len(lab.guests()) == 2
        lab.run("status", "web", code=1)
    else:
        assert lab.status("web") == "uninstalled"
        assert not lab.guests()


def test_killed_with_a_namespace_to_make(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    assert lab.killed("begin", "before", 1, "install", "web", chart, "-n", "team", "--create-namespace")
    lab.run("recover", "web", "-n", "team")
    assert len(lab.guests()) == 2


def test_killed_with_a_vmid_in_hand(lab: Lab) -> None:
    chart = lab.chart(SCALED)

    def after(lab: Lab, count: int) -> None:
        lab.run(*(("recover", "web") if count % 2 else ("uninstall", "web", "--yes")))
        lab.sound(*(["web"] if count % 2 else []))

    for when in ("before", "after"):
        each_step(lab, ("reserve", when), ("install", "web", chart), after)
        lab.run("uninstall", "web", "--yes")


def test_killed_between_plan_and_first_step(lab: Lab) -> None:
    chart = lab.chart(SCALED)
    for when in ("before", "after"):  # the transaction is not through yet
        assert lab.killed("put_revision", when, 1, "install", "web", chart)
        assert lab.run("list", "-q").out == ""
    assert lab.killed("begin", "before", 1, "install", "web", chart)
    assert lab.status("web") == "failed"
    lab.run("recover", "web")
    lab.settled("web", chart=chart)
    lab.sound("web")


def test_which_releases_were_interrupted_is_told(lab: Lab) -> None:
    assert lab.killed("begin", "after", 1, "install", "web", lab.chart(SCALED))
    told = "release web: was interrupted: `pvehelm recover web` goes on with it\n"
    assert lab.run("recover").out == told
    assert lab.run("recover", "-n", "other").out == told.replace("recover web", "recover web -n default")
    lab.run("recover", "web")
    assert lab.run("recover").out == "nothing was interrupted\n"
