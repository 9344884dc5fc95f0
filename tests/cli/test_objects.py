"""Objects as the cluster has them: every kind is listed, said in a manifest's words, owned, watched and counted."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pvehelm.actions import access, objects
from pvehelm.actions.objects import Query, document
from pvehelm.actions.waiting import wait_for
from pvehelm.api.kind import leaves
from pvehelm.api.listing import listing
from pvehelm.api.raising import manifest
from pvehelm.chart.manifest import parse
from pvehelm.chart.yaml import dump
from pvehelm.config import load
from pvehelm.faces.build import build_context
from pvehelm.release.context import Context
from pvehelm.release.live import Reader
from tests.chart.servers import web_server
from tests.helpers import ROOT
from tests.release.lab import Lab, with_context

EVERYTHING = str(ROOT / "tests" / "charts" / "every-kind")
GUEST = "kind: VirtualMachine\nmetadata: { name: web }\nspec: { node: pve-node1, memory: 512, power: running }\n"
# Objects that no manifest may make: those of the server, and those that only a creation's input could describe.
UNMAKEABLE = ("is the server's own", "is required")


def test_every_object_is_listed_and_lowers_to_what_it_is(lab: Lab) -> None:
    """The manifest of a live object is valid and means just the object; all that a release owns is found, and its."""
    lab.run("install", "all", EVERYTHING, "--allow-privileged", "all", "-n", "default")
    owned = {owned.ref for owned in lab.inventory("all")}
    problems: list[str] = []
    found_refs: set[str] = set()
    counted: dict[str, int] = {}

    async def work(ctx: Context) -> None:
        client = await ctx.connect()
        reader = Reader(client)
        for kind in ctx.kinds:
            if kind.hook_only:
                continue
            scope = "all" if getattr(kind, "scoped", False) else ""
            for found in (await listing(kind, ctx.kinds, reader, scope=scope)).found:
                counted[kind.name] = counted.get(kind.name, 0) + 1
                live = await kind.read(found.key, reader)
                assert live is not None, found
                (resource,) = parse(dump(manifest(kind, live, found.name, found.namespace)), file="x")
                wrong = [p for _, p in kind.validate(resource) if not any(w in p.what for w in UNMAKEABLE)]
                problems.extend(f"{found.ref}: {problem}" for problem in wrong)
                if kind.validate(resource):
                    continue
                wanted = leaves(kind.lower(resource, lambda ref: "100").fields)
                now = leaves(live.fields)
                problems.extend(
                    f"{found.ref}: {leaf}: {value!r} is not {now.get(leaf)!r}"
                    for leaf, value in wanted.items()
                    if not kind.recorded(leaf) and not kind.same(leaf, value, now.get(leaf, live.fields.get(leaf)))
                )
            made = await objects.get(ctx, [kind.plural], Query(all_namespaces=True, scope=scope))
            found_refs.update(one.ref for one in made.objects if one.owner is not None)

    with_context(work)
    assert problems == []
    assert owned <= found_refs, owned - found_refs
    assert len(counted) > 20


def test_lists_cost_one_request_each(lab: Lab) -> None:
    """Guests are one list, however many there are; with their configuration, one request more for each."""
    for vmid in range(300, 310):
        lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=vmid, name=f"vm{vmid}")

    async def count(ctx: Context, words: list[str], query: Query) -> int:
        client = await ctx.connect()
        before = client.requests_made["GET"]
        await objects.get(ctx, words, query)
        return client.requests_made["GET"] - before

    assert with_context(lambda ctx: count(ctx, ["vms"], Query())) == 1
    assert with_context(lambda ctx: count(ctx, ["guests"], Query(selector="a"))) == 1
    # The list, the node's own list for exact states, and one for each guest.
    assert with_context(lambda ctx: count(ctx, ["vms"], Query(full=True))) == 1 + 1 + 11
    assert with_context(lambda ctx: count(ctx, ["pools"], Query())) == 1


def test_a_node_that_does_not_answer_hides_its_own_objects_only(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="here", memory=512)
    lab.api.ok("POST", "/nodes/pve-node3/qemu", vmid=301, name="there", memory=512)
    lab.run("simulator", "faults", "add", "--match", "GET /version", "--offline", "pve-node3")
    lab.run("get", "nodes")
    result = lab.run("get", "vms", "-o", "json")
    memory = {item["metadata"]["name"]: item["spec"].get("memory") for item in result.json["items"]}
    assert memory == {"here": 512, "there": None, "debian-12-template": 1024}
    assert "VirtualMachine/there: " in result.err
    assert "there" in lab.run("describe", "vms").out
    assert "No route to host" in lab.run("get", "vm", "there", "-o", "json", code=1).err


def test_a_watch_tells_changes(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="one")

    async def work(ctx: Context) -> list[tuple[str, str]]:
        told: list[tuple[str, str]] = []
        async for ((event, one),) in objects.watch(ctx, ["vm/one"], interval=0.01):
            told.append((event, document(one)["status"].get("status", "")))
            if len(told) == 1:
                lab.api.ok("POST", "/nodes/pve-node1/qemu/300/status/start")
            elif len(told) == 2:
                lab.api.ok("POST", "/nodes/pve-node1/qemu/300/status/stop")
            elif len(told) == 3:
                lab.api.ok("DELETE", "/nodes/pve-node1/qemu/300")
            else:
                break
        return told

    expected = [("ADDED", "stopped"), ("MODIFIED", "running"), ("MODIFIED", "stopped"), ("DELETED", "stopped")]
    assert with_context(work) == expected


def test_a_watch_ends_with_its_time(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=9001, name="x")
    result = lab.run("get", "vms", "-w", "--interval", "0.1", "--timeout", "300ms")
    assert result.out.count("debian-12-template") == 1
    assert result.out.count("NAME") == 1
    heads, *rows = result.out.splitlines()
    assert {row.index("pve-node1") for row in rows} == {heads.index("NODE")}


def test_guest_verbs_take_the_lease_of_their_release(lab: Lab) -> None:
    Path("web.yaml").write_text(GUEST)
    lab.run("apply", "-f", "web.yaml")
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="loose")
    with lab.store() as store:
        with store.hold(lab.key("web").scope, purpose="upgrade"):
            for words in (("stop", "web"), ("migrate", "web", "--to", "pve-node2"), ("delete", "vm/web", "--yes")):
                assert "upgrade" in lab.run(*words, code=4).err
            lab.run("start", "loose")
        with store.hold(f"guest:{lab.state.cluster_id}/300", purpose="stop"):
            held = lab.run("stop", "loose", code=4).err
            assert "guest 300 is being worked on" in held
            assert "pvehelm unlock guest/300" in held
            lab.run("stop", "web")
        lab.run("stop", "loose")
        store.acquire(f"guest:{lab.state.cluster_id}/300", purpose="stop")
        assert "guest/300 unlocked" in lab.run("unlock", "guest/300").out
        lab.run("start", "loose")


def test_waiting_sees_what_happens(lab: Lab) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=300, name="late")

    async def work(ctx: Context) -> list[str]:
        waiting = asyncio.create_task(wait_for(ctx, ["vm/late"], "status=running", timeout=20, interval=0.01))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        lab.api.ok("POST", "/nodes/pve-node1/qemu/300/status/start")
        return await waiting

    assert with_context(work) == ["VirtualMachine/late"]


def test_a_task_is_followed_and_cancelled(lab: Lab) -> None:
    Path("web.yaml").write_text(GUEST)
    lab.run("apply", "-f", "web.yaml")
    rows = json.loads(lab.run("tasks", "list", "--guest", "web", "-o", "json").out)
    upid = rows[0]["upid"]
    assert lab.run("tasks", "log", upid).out == lab.run("logs", "web").out
    assert "ended already" in lab.run("tasks", "cancel", upid).out
    tasks = lab.state.collection("tasks")
    task = {**tasks[upid], "end": tasks[upid]["end"] + 3600}
    tasks[upid] = task
    assert "running" in lab.run("tasks", "list", "--running").out
    assert "told to end" in lab.run("tasks", "cancel", upid).out
    assert lab.run("tasks", "list", "--running", "--no-headers").out == ""


def test_a_token_is_told_what_it_lacks(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """``can-i`` says what the server would: the privileges of a token with few."""
    from pvehelm.api.auth import TokenAuth
    from pvehelm.api.client import Client
    from pvehelm.simulator.core import Simulator
    from pvehelm.simulator.transport import SimulatorTransport

    lab.api.ok("POST", "/access/users", userid="joe@pve")
    secret = lab.api.ok("POST", "/access/users/joe@pve/token/few", privsep=0)["value"]
    lab.api.ok("PUT", "/access/acl", path="/vms/9000", roles="PVEVMUser", users="joe@pve")

    async def ask(*words: str) -> access.Answer:
        ctx = build_context(load(), announce=False)

        async def dial() -> Client:
            auth = TokenAuth("joe@pve!few", secret)
            return Client("https://simulator:8006", auth, transport=SimulatorTransport(Simulator(lab.state)))

        ctx.dial = dial
        try:
            return await access.can_i(ctx, *words)
        finally:
            await ctx.aclose()

    assert asyncio.run(ask("start", "vm/9000")).allowed
    assert not asyncio.run(ask("delete", "vm/9000")).allowed
    assert "VM.Allocate on /vms/new" in asyncio.run(ask("create", "vms")).missing
    assert "SDN.Allocate" in asyncio.run(ask("create", "zone")).missing
    assert not asyncio.run(ask("create", "pool")).allowed
    assert asyncio.run(ask("get", "/version")).allowed


def test_an_interrupt_stops_a_watch(lab: Lab) -> None:
    """Whoever watches ends it with Ctrl-C; that is no failure that needs a traceback."""
    import signal

    process = lab.start("get", "vms", "-w", "--interval", "0.1")
    assert process.stdout is not None
    assert "NAME" in process.stdout.readline()
    assert "debian-12-template" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in out + err


def test_manifests_from_an_address(lab: Lab) -> None:
    """An address is read as a file is, but nothing secret is put into what came from it."""
    with web_server() as web:
        web.files["/it/pool.yaml"] = b"kind: Pool\nmetadata: { name: far }\n"
        web.files["/it/leak.yaml"] = b"kind: Pool\nmetadata: { name: far }\nspec: { comment: 'secret://env/HOME' }\n"
        result = lab.run("apply", "-f", f"{web.url}/it/pool.yaml")
        assert "Pool/far created" in result.out
        assert 'set "pool"' in result.out
        assert "not resolved" in lab.run("apply", "-f", f"{web.url}/it/leak.yaml", code=1).err
        assert "not found" in lab.run("validate", "-f", f"{web.url}/missing.yaml", code=1).err


def test_an_editor_gets_the_text_back_with_what_is_wrong(lab: Lab, tmp_path: Path) -> None:
    """On a terminal a text that does not work is opened again, the problems on top; then the plan is asked about."""
    lab.api.ok("POST", "/pools", poolid="p", comment="first")
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, sys\n"
        "file = pathlib.Path(sys.argv[1])\n"
        "text = file.read_text()\n"
        "again = 'It could not be done' in text\n"
        "assert again or 'comment: first' in text\n"
        "if again: assert 'did you mean' in text and text.startswith('#')\n"
        "file.write_text(text.replace('coment: second', 'comment: third') if again else\n"
        "                text.replace('comment: first', 'coment: second'))\n"
    )
    leader, follower = pty.openpty()
    environ = {**os.environ, "EDITOR": f"{sys.executable} {editor}"}
    command = [sys.executable, "-m", "pvehelm", "edit", "pool/p"]
    process = subprocess.Popen(
        command, stdin=follower, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environ
    )
    os.write(leader, b"y\n")
    out, err = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert process.returncode == 0, out + err
    assert "has no field 'coment'" in err
    assert "Do this?" in err
    assert "Pool/p edited" in out
    assert lab.api.ok("GET", "/pools/p")["comment"] == "third"


def test_an_edit_takes_nothing_back_that_the_set_says_meanwhile(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = tmp_path / "pool.yaml"
    pool.write_text("kind: Pool\nmetadata: { name: p, labels: { a: one } }\nspec: { comment: first }\n")
    lab.run("apply", "-f", str(pool), "--set-name", "s")
    editor = tmp_path / "editor.py"
    editor.write_text(
        "import pathlib, subprocess, sys\n"
        "if sys.argv[1] == 'label': subprocess.check_call([sys.executable, '-m', 'pvehelm', *sys.argv[1:-1]])\n"
        "file = pathlib.Path(sys.argv[-1])\n"
        "file.write_text(file.read_text().replace('first', 'second'))\n"
    )
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor} label pool/p a=two --overwrite")
    told = lab.run("edit", "pool/p", "--yes", code=1).err
    assert "Pool/p was changed by somebody else meanwhile" in told
    assert "it is kept in " in told
    assert lab.run("label", "pool/p", "--list").out == "Pool/p a=two\n"
    assert lab.api.ok("GET", "/pools/p")["comment"] == "first"
    monkeypatch.setenv("EDITOR", f"{sys.executable} {editor}")
    lab.run("edit", "pool/p", "--yes")
    assert lab.run("label", "pool/p", "--list").out == "Pool/p a=two\n"
    assert lab.api.ok("GET", "/pools/p")["comment"] == "second"


def test_a_chart_that_may_looks_up_objects_of_every_kind(lab: Lab) -> None:
    template = """
kind: Pool
metadata: { name: p }
spec:
  comment: >-
    {{ lookup("Storage", "local").type | default("unseen") }}
    {{ lookup("VirtualMachine", "debian-12-template").memory | default("unseen") }}
    {{ lookup("Network", "vmbr0").type | default("unseen") }}
    {{ lookup("Storage", "nothing").type | default("unseen") }}
"""
    chart = lab.chart(template)
    lab.run("install", "web", chart, "--allow-lookup")
    assert lab.api.ok("GET", "/pools/p")["comment"] == "dir 1024 bridge unseen"
    lab.run("upgrade", "web", chart)
    assert lab.api.ok("GET", "/pools/p")["comment"] == "unseen unseen unseen unseen"


@pytest.mark.parametrize("command", ["get vm/²", "stop ²", "delete vm ² --yes", "diff web 1 ²", "tasks list --guest ²"])
def test_digits_that_are_no_number(lab: Lab, command: str) -> None:
    assert "unexpected" not in lab.run(*command.split(), code=None).err
