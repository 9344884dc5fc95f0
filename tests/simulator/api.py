"""A tiny client for tests: calls a Simulator in process, as the wire would."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

from pvehelm.simulator.core import Request, Response, Simulator
from pvehelm.simulator.state import State


class Answer:
    """An answer taken apart."""

    def __init__(self, response: Response) -> None:
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        self.text = response.body.decode("utf-8", "replace")
        try:
            self.json: dict[str, Any] = json.loads(self.text)
        except ValueError:
            self.json = {}

    @property
    def data(self) -> Any:
        return self.json.get("data")

    @property
    def errors(self) -> list[str]:
        return sorted(self.json.get("errors") or {})

    @property
    def message(self) -> str:
        return str(self.json.get("message", self.text))

    def __repr__(self) -> str:
        return f"<{self.status} {self.reason} {self.text[:200]}>"


class Api:
    """Calls as one user: root@pam by default; ``as_user`` and ``as_token`` give others."""

    def __init__(self, simulator: Simulator, headers: dict[str, str] | None = None) -> None:
        self.simulator = simulator
        self.headers = self.login("root@pam", "proxmox") if headers is None else headers

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, query: str = ""
    ) -> Answer:
        return Answer(self.simulator.handle(Request(method, path, query, headers or {}, body)))

    def login(self, user: str, password: str) -> dict[str, str]:
        body = urlencode({"username": user, "password": password}).encode()
        answer = self.send("POST", "/access/ticket", body)
        assert answer.status == 200, answer
        return {
            "cookie": f"PVEAuthCookie={quote(answer.data['ticket'], safe='')}",
            "csrfpreventiontoken": answer.data["CSRFPreventionToken"],
        }

    def as_user(self, user: str, password: str) -> Api:
        return Api(self.simulator, self.login(user, password))

    def as_token(self, token: str, secret: str) -> Api:
        return Api(self.simulator, {"authorization": f"PVEAPIToken={token}={secret}"})

    def call(self, method: str, path: str, params: dict[str, Any] | None = None) -> Answer:
        encoded = urlencode(params or {}, doseq=True)
        if method in ("GET", "DELETE"):
            return self.send(method, path, headers=self.headers, query=encoded)
        return self.send(method, path, encoded.encode(), self.headers)

    def get(self, path: str, /, **params: Any) -> Answer:
        return self.call("GET", path, params)

    def post(self, path: str, /, **params: Any) -> Answer:
        return self.call("POST", path, params)

    def put(self, path: str, /, **params: Any) -> Answer:
        return self.call("PUT", path, params)

    def delete(self, path: str, /, **params: Any) -> Answer:
        return self.call("DELETE", path, params)

    def ok(self, method: str, path: str, /, **params: Any) -> Any:
        """The data of a call that must succeed (and whose task, if it is one, must end OK)."""
        answer = self.call(method, path, params)
        assert answer.status == 200, answer
        if isinstance(answer.data, str) and answer.data.startswith("UPID:"):
            node = answer.data.split(":")[1]
            status = self.get(f"/nodes/{node}/tasks/{quote(answer.data, safe='')}/status").data
            assert status["exitstatus"] == "OK", status
        return answer.data


def simulator(base: str = "conformance", release: str = "9.2", **more: Any) -> Simulator:
    return Simulator(State(":memory:", base=base), release=release, **more)


def api(base: str = "conformance", release: str = "9.2", **more: Any) -> Api:
    return Api(simulator(base, release, **more))
