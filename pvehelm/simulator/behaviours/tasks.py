"""Task lists, status, log and stop."""

from __future__ import annotations

from typing import Any

from pvehelm.simulator.core import Call, handler
from pvehelm.simulator.tasks import UPID, running


def _find(call: Call) -> dict[str, Any]:
    upid = call.str("upid")
    if UPID.match(upid) is None:
        call.bad(upid=f"unable to parse worker upid '{upid}'")
    task = call.state.collection("tasks").get(upid)
    if task is None:
        call.bad(upid="no such task")
    own = task["user"] == call.who or task["user"] == call.user
    if not own:
        call.require(f"/nodes/{task['node']}", "Sys.Audit")
    return dict(task)


def _brief(task: dict[str, Any]) -> dict[str, Any]:
    return {key: task[key] for key in ("upid", "node", "pid", "pstart", "starttime", "type", "id", "user")}


def _row(task: dict[str, Any], now: float) -> dict[str, Any]:
    if running(task, now):
        return _brief(task)
    return {**_brief(task), "endtime": int(task["end"]), "status": task["exitstatus"]}


@handler("GET", "/nodes/{node}/tasks/{upid}/status")
def status(call: Call) -> Any:
    task = _find(call)
    if running(task, call.now):
        return {**_brief(task), "status": "running"}
    return {**_brief(task), "status": "stopped", "exitstatus": task["exitstatus"]}


@handler("GET", "/nodes/{node}/tasks/{upid}/log")
def log(call: Call) -> Any:
    task = _find(call)
    lines = task["log"][:-1] if running(task, call.now) else task["log"]
    start, limit = call.int("start"), call.int("limit", 50)
    call.beside["total"] = len(lines)
    shown = lines[start : start + limit] if limit else lines[start:]
    return [{"n": start + i, "t": line} for i, line in enumerate(shown, 1)]


@handler("GET", "/nodes/{node}/tasks/{upid}")
def index(call: Call) -> Any:
    return [{"name": "log"}, {"name": "status"}]


@handler("DELETE", "/nodes/{node}/tasks/{upid}")
def stop(call: Call) -> None:
    upid = call.str("upid")
    if UPID.match(upid) is None:
        call.bad(upid=f"unable to parse worker upid '{upid}'")
    task = call.state.collection("tasks").get(upid)
    if task is None:
        call.bad(upid="no such task")
    if task["user"] not in (call.who, call.user):
        call.require(f"/nodes/{call.node}", "Sys.Modify")
    if running(task, call.now):
        task.update(end=call.now, exitstatus="unexpected status", log=[*task["log"][:-1], "TASK ERROR: interrupted"])
        call.state.collection("tasks")[upid] = task


@handler("GET", "/nodes/{node}/tasks")
def listed(call: Call) -> Any:
    see_all = call.may(f"/nodes/{call.node}", "Sys.Audit")
    source = call.str("source", "archive")
    wanted = [t for t in call.state.collection("tasks").values() if t["node"] == call.node]
    found = [task for task in reversed(wanted) if _passes(call, task, source, see_all)]
    call.beside["total"] = len(found)
    start, limit = call.int("start"), call.int("limit", 50)
    return [_row(task, call.now) for task in found[start : start + limit if limit else None]]


def _passes(call: Call, task: dict[str, Any], source: str, see_all: bool) -> bool:
    now = call.now
    active = running(task, now)
    if (source == "archive" and active) or (source == "active" and not active):
        return False
    if not see_all and task["user"] not in (call.who, call.user):
        return False
    failed = not active and task["exitstatus"] != "OK" and not task["exitstatus"].startswith("WARNINGS")
    tests = (
        ("typefilter", lambda value: value == task["type"]),
        ("userfilter", lambda value: value.lower() in task["user"].lower()),
        ("vmid", lambda value: value == str(task["id"]).split("@")[0]),
        ("since", lambda value: int(value) <= task["starttime"]),
        ("until", lambda value: int(value) >= task["starttime"]),
    )
    if any(call.has(name) and not test(call.str(name)) for name, test in tests):
        return False
    if call.bool("errors") and not failed:
        return False
    wanted = call.list("statusfilter")
    if wanted:
        kind = "ok" if not failed else "error"
        if not active and task["exitstatus"].startswith("WARNINGS"):
            kind = "warning"
        return kind in wanted or ("unknown" in wanted and active)
    return True


@handler("GET", "/cluster/tasks")
def recent(call: Call) -> Any:
    see_all = call.may("/", "Sys.Audit")
    tasks = [
        t for t in reversed(call.state.collection("tasks").values()) if see_all or t["user"] in (call.who, call.user)
    ]
    return [{"saved": "1", **_row(task, call.now)} for task in tasks[:25]]
