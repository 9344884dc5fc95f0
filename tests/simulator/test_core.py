"""Requests and answers: parsing, order of refusals, tasks, listings."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pvehelm.simulator.core import Call, Failure, TaskFailure, TaskLog, handler
from pvehelm.simulator.requests import BodyError, parse_body, parse_form
from tests.simulator.api import Api, api, simulator

FORMS = [
    ("a=1&b=2", {"a": "1", "b": "2"}),
    ("a=1;b=2", {"a": "1", "b": "2"}),
    ("a=x=y=z", {"a": "x"}),
    ("a=1&a=2&a=3", {"a": ["1", "2", "3"]}),
    ("a=%FF", {"a": "\ufffd"}),
    ("a=a+b%20c%2Bd", {"a": "a b c+d"}),
    ("a=%C3%BC", {"a": "ü"}),
    ("a=%3B%3D%2C", {"a": ";=,"}),
    ("a", {"a": ""}),
    ("", {}),
    ("&;&", {}),
]


@pytest.mark.parametrize(("text", "expected"), FORMS)
def test_forms(text: str, expected: dict[str, Any]) -> None:
    assert parse_form(text) == expected


BODIES: list[tuple[str, dict[str, str], bytes, Any]] = [
    ("POST", {}, b"a=1", {"a": "1"}),
    ("POST", {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}, b"a=1", {"a": "1"}),
    ("POST", {"content-type": "application/json"}, b'{"a":1,"b":null,"c":[1]}', {"a": 1, "c": [1]}),
    ("POST", {"content-type": "application/json"}, b'{"a":', 500),
    ("POST", {"content-type": "application/json"}, b'["a"]', 500),
    ("POST", {"content-type": "text/plain"}, b"a=1", 506),
    ("PUT", {"content-type": "multipart/form-data; boundary=x"}, b"--x", 506),
    ("GET", {}, b"a=1", 501),
    ("DELETE", {}, b"a=1", 501),
    ("POST", {"transfer-encoding": "chunked"}, b"", 501),
    ("POST", {"content-length": str(600 * 1024)}, b"", 501),
    ("POST", {}, b"a" * (512 * 1024 + 1), 501),
    ("POST", {}, b"", {}),
]


@pytest.mark.parametrize(("method", "headers", "body", "expected"), BODIES)
def test_bodies(method: str, headers: dict[str, str], body: bytes, expected: Any) -> None:
    if isinstance(expected, int):
        with pytest.raises(BodyError) as refused:
            parse_body(method, headers, body)
        assert refused.value.status == expected
    else:
        assert parse_body(method, headers, body) == expected


# what is asked, as whom -> status, keys of errors
ORDER: list[tuple[str, str, dict[str, Any], str, int, list[str]]] = [
    ("PATCH", "/pools", {}, "nobody", 501, []),
    ("GET", "/nosuch", {}, "nobody", 401, []),
    ("GET", "/nosuch", {}, "root", 501, []),
    ("PUT", "/version", {}, "root", 501, []),
    ("POST", "/pools", {"poolid": "bad id"}, "joe", 403, []),
    ("POST", "/pools", {"poolid": "bad id", "bogus": 1}, "root", 400, ["bogus", "poolid"]),
    ("DELETE", "/pools/p1", {"poolid": "p2"}, "joe", 400, ["poolid"]),
    ("PUT", "/nodes/nosuch/qemu/100/config", {"bogus": 1}, "joe", 403, []),
    ("PUT", "/nodes/nosuch/qemu/100/config", {"bogus": 1}, "root", 500, []),
    ("PUT", "/nodes/pve1/qemu/100/config", {"bogus": 1}, "root", 400, ["bogus"]),
    ("POST", "/cluster/acme/account", {"contact": "x@example.org"}, "joe", 403, []),
    ("GET", "/version", {"_dc": "17"}, "joe", 200, []),
    ("GET", "//version//", {}, "root", 200, []),
]


@pytest.fixture(scope="module")
def callers() -> dict[str, Api]:
    root = api()
    root.ok("POST", "/access/users", userid="joe@pve", password="secret-123")
    return {"root": root, "joe": root.as_user("joe@pve", "secret-123"), "nobody": Api(root.simulator, {})}


@pytest.mark.parametrize(("method", "path", "params", "who", "status", "errors"), ORDER)
def test_order_of_refusals(
    callers: dict[str, Api], method: str, path: str, params: dict[str, Any], who: str, status: int, errors: list[str]
) -> None:
    answer = callers[who].call(method, path, params)
    assert (answer.status, answer.errors) == (status, errors), answer
    assert (answer.headers.get("connection") == "close") == (status >= 400)


def test_query_beats_body_and_path_values_may_repeat() -> None:
    root = api()
    root.ok("POST", "/pools", poolid="p1")
    answer = root.send("PUT", "/pools/p1", b"comment=body&poolid=p1", root.headers, query="comment=query")
    assert answer.status == 200
    assert root.get("/pools", poolid="p1").data[0]["comment"] == "query"


def test_json_values_arrive_as_their_types() -> None:
    root = api()
    headers = {**root.headers, "content-type": "application/json"}
    body = json.dumps({"vmid": 100, "memory": 64, "onboot": True, "cores": 2.0, "tags": ["y", "x"]}).encode()
    assert root.send("POST", "/nodes/pve1/qemu", body, headers).status == 200
    config = root.get("/nodes/pve1/qemu/100/config").data
    assert (config["onboot"], config["cores"], config["memory"], config["tags"]) == (1, 2, "64", "x;y")


def test_text_errors_are_not_json() -> None:
    root = api()
    answer = root.send("POST", "/pools", b"poolid=x", {**root.headers, "content-type": "text/plain"})
    assert answer.status == 506
    assert answer.json == {}
    assert "not implemented" in answer.reason


def test_reason_has_the_first_line_and_message_ends_with_a_newline() -> None:
    root = api()
    answer = root.delete("/cluster/backup/nope")
    assert answer.reason == "400 Parameter verification failed."
    assert answer.message == "400 Parameter verification failed.\nid: No such job 'nope'\n"
    assert "errors" not in answer.json


def test_path_bytes_are_latin_1() -> None:
    root = api()
    answer = root.get("/pools/p%C3%BC")
    assert answer.errors == ["poolid"]
    assert "pÃ¼" in answer.json["errors"]["poolid"]


def test_encoded_slashes_are_slashes() -> None:
    root = api()
    assert root.get("/pools/a%2Fb").status == 501
    root.ok("POST", "/cluster/firewall/ipset", name="s1")
    root.ok("POST", "/cluster/firewall/ipset/s1", cidr="10.0.0.0/24")
    for path in ("10.0.0.0/24", "10.0.0.0%2F24"):
        assert root.get(f"/cluster/firewall/ipset/s1/{path}").data["cidr"] == "10.0.0.0/24"


def test_every_get_without_arguments_answers_something_sane() -> None:
    """No operation of any release may run into an error of the simulator itself."""
    for release in ("7.4", "8.4", "9.2"):
        root = api("default", release)
        for operation in root.simulator.schema.operations():
            path = operation.path
            for name, value in {"node": "pve-node1", "vmid": "9000", "storage": "local", "upid": "x"}.items():
                path = path.replace(f"{{{name}}}", value)
            path = path.replace("{", "").replace("}", "")
            answer = root.call(operation.method, path)
            assert "simulator:" not in answer.message, (release, operation.method, operation.path, answer)


def test_unknown_node_and_unreachable_node() -> None:
    root = api("default")
    assert "hostname lookup 'x' failed" in root.get("/nodes/x/status").reason
    nodes = root.simulator.state.collection("nodes")
    nodes["pve-node2"] = {**nodes["pve-node2"], "status": "offline"}
    answer = root.get("/nodes/pve-node2/status")
    assert (answer.status, answer.text) == (595, "")
    assert root.get("/nodes/pve-node1/status").status == 200


# -- handlers and tasks ----------------------------------------------------------------------------------------


@handler("POST", "/nodes/{node}/wakeonlan")
def _wake(call: Call) -> Any:
    """No behaviour of its own in the simulator: tests use it as a stage for tasks."""
    mode = call.state.value("test-mode")

    def work(log: TaskLog) -> None:
        call.state.collection("test")["done"] = {}
        log("half way")
        if mode == "warn":
            log.warn("careful")
        if mode in ("fail", "keep"):
            raise TaskFailure("it broke", keep=mode == "keep")

    if mode == "refuse":
        call.state.collection("test")["done"] = {}
        raise Failure(500, "refused")
    return call.task("wakeonlan", call.node, work, lock="test", vmid=100)


TASKS = [
    ("fine", "OK", True, "TASK OK"),
    ("warn", "WARNINGS: 1", True, "TASK WARNINGS: 1"),
    ("fail", "it broke", False, "TASK ERROR: it broke"),
    ("keep", "it broke", True, "TASK ERROR: it broke"),
]


@pytest.mark.parametrize(("mode", "exitstatus", "kept", "last"), TASKS)
def test_tasks_end(mode: str, exitstatus: str, kept: bool, last: str) -> None:
    root = api()
    state = root.simulator.state
    state.set_value("test-mode", mode)
    upid = root.post("/nodes/pve1/wakeonlan").data
    status = root.get(f"/nodes/pve1/tasks/{upid}/status").data
    assert (status["status"], status["exitstatus"]) == ("stopped", exitstatus)
    assert ("done" in state.collection("test")) == kept
    log = root.get(f"/nodes/pve1/tasks/{upid}/log")
    assert log.data[-1]["t"] == last
    assert log.json["total"] == len(log.data)
    assert [row["status"] for row in root.get("/nodes/pve1/tasks", limit=1).data] == [exitstatus]
    assert len(root.get("/nodes/pve1/tasks", errors=1).data) == (mode in ("fail", "keep"))


def test_a_refusal_leaves_nothing() -> None:
    root = api()
    root.simulator.state.set_value("test-mode", "refuse")
    assert root.post("/nodes/pve1/wakeonlan").status == 500
    assert list(root.simulator.state.collection("test")) == []


def test_tasks_run_until_their_time_has_come() -> None:
    time = [1_700_000_000.0]
    root = api(clock=lambda: time[0])
    state = root.simulator.state
    state.set_value("task-seconds", {"wakeonlan": 30, "*": 0})
    upid = root.post("/nodes/pve1/wakeonlan").data
    assert root.get(f"/nodes/pve1/tasks/{upid}/status").data["status"] == "running"
    assert [row["upid"] for row in root.get("/nodes/pve1/tasks", source="active").data] == [upid]
    assert root.get("/nodes/pve1/tasks").data == []
    assert _lock_of(root) == "test"
    time[0] += 31
    assert root.get(f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] == "OK"
    assert root.get("/nodes/pve1/tasks", source="active").data == []
    assert _lock_of(root) is None


def _lock_of(root: Api) -> str | None:
    from pvehelm.simulator import tasks

    return tasks.busy(root.simulator.state, "100", root.simulator.now)


def test_a_running_task_can_be_stopped() -> None:
    time = [1_700_000_000.0]
    root = api(clock=lambda: time[0])
    root.simulator.state.set_value("task-seconds", 30)
    upid = root.post("/nodes/pve1/wakeonlan").data
    root.ok("DELETE", f"/nodes/pve1/tasks/{upid}")
    assert root.get(f"/nodes/pve1/tasks/{upid}/status").data["exitstatus"] != "OK"


def test_upids_are_unique() -> None:
    root = api()
    made = {root.post("/nodes/pve1/wakeonlan").data for _ in range(20)}
    assert len(made) == 20


def test_handlers_register_once() -> None:
    simulator()
    with pytest.raises(ValueError, match="two handlers"):
        handler("GET", "/version")(lambda call: None)


def test_transport_is_light() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pvehelm.simulator.transport; "
        "print([m for m in ('cryptography', 'pvehelm.simulator.server', 'pydantic', 'jinja2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
