"""Cases for the simulator as data: a file is a list of cases, a case a list of steps answered in process.

A step is ``[METHOD, path, parameters, expectation]`` (the last two may be left out). An expectation may have ``status``
(200), ``errors`` (their exact keys), ``message`` (a part of it), ``task`` (the exit status, or a part of it), ``data``
(compared as a subset; ``~PATTERN`` is a regular expression, ``absent`` is a key that is not there), ``rows`` (a list as
a set of subsets, nothing else in it) and ``has`` (rows that are among others).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import yaml

from pvehelm.simulator.core import Request, Response, Simulator
from pvehelm.simulator.state import State

CASES = Path(__file__).parent / "cases"


class Client:
    """root@pam (or another user) at a simulator of its own."""

    def __init__(self, base: str = "default", release: str = "9.2") -> None:
        self.sim = Simulator(State(base=base), release=release)
        self.login: dict[str, Any] = {}
        self.use("root@pam", "proxmox")

    def use(self, user: str, password: str) -> None:
        self.login = {}
        response = self.send("POST", "/access/ticket", {"username": user, "password": password})
        self.login = json.loads(response.body)["data"]

    def send(self, method: str, path: str, params: dict[str, Any] | None = None) -> Response:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if self.login:
            headers["cookie"] = f"PVEAuthCookie={quote(self.login['ticket'], safe='')}"
            headers["csrfpreventiontoken"] = self.login["CSRFPreventionToken"]
        text = urlencode(params or {}, doseq=True)
        if method in ("GET", "DELETE"):
            return self.sim.handle(Request(method, path, text, headers))
        return self.sim.handle(Request(method, path, "", headers, text.encode()))

    def data(self, method: str, path: str, **params: Any) -> Any:
        response = self.send(method, path, {name.replace("_", "-"): value for name, value in params.items()})
        assert response.status == 200, response.body
        return json.loads(response.body)["data"]

    def exit_status(self, upid: str) -> str:
        status = self.data("GET", f"/nodes/{upid.split(':')[1]}/tasks/{quote(upid, safe='')}/status")
        return str(status.get("exitstatus", status["status"]))


def cases(name: str) -> list[Any]:
    """The cases of ``cases/NAME.yaml`` as pytest parameters."""
    found = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["case"].replace(" ", "-")) for case in found]


def run(case: dict[str, Any]) -> None:
    """Send the steps of a case and check every answer."""
    client = Client(case.get("base", "default"), case.get("release", "9.2"))
    for number, step in enumerate(case["steps"], 1):
        method, path, params, expect = (*step, *({},) * (4 - len(step)))
        if method == "USER":
            client.use(path, params)
            continue
        where = f"step {number}: {method} {path} {params}"
        response = client.send(method, path, params)
        answer = json.loads(response.body) if response.body else {}
        assert response.status == expect.get("status", 200), f"{where}: {response.status} {response.body!r}"
        if "errors" in expect:
            assert sorted(answer.get("errors") or {}) == sorted(expect["errors"]), f"{where}: {answer}"
        if "message" in expect:
            assert expect["message"] in answer["message"], f"{where}: {answer}"
        data = answer.get("data")
        if isinstance(data, str) and data.startswith("UPID:"):
            check_task(client, where, data, str(expect.get("task", "OK")))
        elif "task" in expect:
            raise AssertionError(f"{where}: no task, but {data!r}")
        if "data" in expect:
            compare(where, expect["data"], data)
        for row in expect.get("has", []):
            assert any(fits(row, found) for found in data), f"{where}: no {row} in {data}"
        if "rows" in expect:
            assert len(data) == len(expect["rows"]), f"{where}: {data}"
            for row in expect["rows"]:
                assert any(fits(row, found) for found in data), f"{where}: no {row} in {data}"


def check_task(client: Client, where: str, upid: str, wanted: str) -> None:
    ended = client.exit_status(upid)
    if wanted == "OK":
        assert ended == "OK", f"{where}: {ended}"
    else:
        assert ended != "OK", where
        assert wanted in ended, f"{where}: {ended}"


def compare(where: str, wanted: Any, found: Any) -> None:
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            if value == "absent":
                assert key not in found, f"{where}: {key} is {found[key]!r}"
            else:
                assert key in found, f"{where}: no {key} in {found}"
                compare(f"{where}: {key}", value, found[key])
    elif isinstance(wanted, str) and wanted.startswith("~"):
        assert re.fullmatch(wanted[1:], str(found)), f"{where}: {found!r} is not {wanted[1:]}"
    else:
        assert type(wanted) is type(found), f"{where}: {found!r}, not {wanted!r}"
        assert wanted == found, f"{where}: {found!r}, not {wanted!r}"


def fits(wanted: Any, found: Any) -> bool:
    try:
        compare("", wanted, found)
    except AssertionError:
        return False
    return True
