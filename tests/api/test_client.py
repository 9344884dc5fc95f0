"""What a call looks like on the wire, what an answer means, and what is sent again."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.api.client import (
    Client,
    ForeignAnswerError,
    Request,
    Retries,
    TokenAuth,
    build,
    encode,
    interpret,
    maybe_executed,
    normal_base,
    not_executed,
    quote,
)
from pvehelm.api.exchange import BODY_LIMIT, interpret_answer
from pvehelm.errors import ApiError, AuthError, InvalidError, PvehelmError, TransportError
from tests.api.serving import Scripted, Time, fine, in_turn, refused
from tests.helpers import SHARED, needs_shared

CASES = Path(__file__).parent / "cases"
TOKEN = TokenAuth("root@pam!helm", "11111111-2222-3333-4444-555555555555")


def cases(name: str) -> Any:
    rows = json.loads((CASES / name).read_text(encoding="utf-8"))
    return pytest.mark.parametrize("case", [pytest.param(row, id=row["name"]) for row in rows])


@cases("build.json")
def test_build(case: dict[str, Any]) -> None:
    request = Request(case["method"], case["path"], case.get("params", {}))
    if "refused" in case:
        with pytest.raises(InvalidError) as caught:
            build(request, {})
        assert case["refused"] in str(caught.value)
        return
    built = build(request, {"Authorization": "x"}, "https://pve1:8006")
    assert built.method == case["method"]
    assert built.url.raw_path.decode() == case["url"]
    assert built.content.decode() == case.get("body", "")
    assert built.headers["host"] == "pve1:8006"
    assert built.headers["authorization"] == "x"
    has_body = case["method"] in ("POST", "PUT")
    assert built.headers.get("content-type") == ("application/x-www-form-urlencoded" if has_body else None)
    assert built.headers.get("content-length") == (str(len(built.content)) if has_body else None)


def test_build_names_every_bad_value() -> None:
    with pytest.raises(InvalidError) as caught:
        build(Request("POST", "/x", {"a": {}, "b": [], "c": float("nan")}), {})
    assert [problem.where for problem in caught.value.problems] == ["a", "b", "c"]


def test_build_refuses_what_is_too_long() -> None:
    with pytest.raises(InvalidError, match="a node accepts"):
        build(Request("PUT", "/x", {"description": "x" * BODY_LIMIT}), {})
    with pytest.raises(InvalidError, match="a node accepts"):
        build(Request("GET", "/x", {"description": "x" * 9000}), {})


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"))))
def test_a_form_says_what_was_meant_however_it_is_split(params: dict[str, str]) -> None:
    encoded = encode(params)
    assert ";" not in encoded
    assert all(pair.count("=") == 1 for pair in encoded.split("&") if pair)
    assert dict(parse_qsl(encoded, keep_blank_values=True)) == params


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_quoted_segments_survive_the_url(name: str) -> None:
    path = build(Request("GET", f"/pools/{quote(name)}"), {}).url.raw_path.decode()
    prefix, _, segment = path.rpartition("/")
    assert prefix == "/api2/json/pools"
    assert unquote(segment) == name


def test_an_empty_name_is_no_segment() -> None:
    with pytest.raises(InvalidError):
        quote("")


@cases("interpret.json")
def test_interpret(case: dict[str, Any]) -> None:
    headers = {"content-type": case.get("content_type", "application/json"), **case.get("headers", {})}
    arguments = (case["status"], case.get("reason", "OK"), headers, case["body"].encode())
    if "error" not in case:
        assert interpret(*arguments) == case["data"]
        answer = interpret_answer(*arguments)
        assert (answer.total, answer.changes) == (case.get("total"), case.get("changes"))
        return
    with pytest.raises((ApiError, TransportError)) as caught:
        interpret(*arguments)
    error = caught.value
    assert type(error).__name__ == case["error"]
    assert case.get("hint", "") in error.hint
    if isinstance(error, ApiError):
        assert error.status == case["status"]
        assert error.reason == case["message"]
        assert error.errors == case.get("errors", {})
        assert [problem.where for problem in error.problems] == list(error.errors)
    else:
        assert error.sent
        assert case["message"] in str(error)


@needs_shared
def test_recorded_complaints_keep_their_texts() -> None:
    """Each recorded refusal, put on the wire again, gives the recorded error keys."""
    seen = 0
    for file in sorted((SHARED / "pve-wire" / "scenarios").glob("*.json")):
        for step in json.loads(file.read_text(encoding="utf-8"))["steps"]:
            expected = step["expect"]
            if not isinstance(expected.get("status"), int) or expected["status"] < 400:
                continue
            texts = expected.get("errors_contain") or dict.fromkeys(expected.get("errors_keys") or (), "bad")
            document: dict[str, Any] = {"data": None}
            if texts:
                document["errors"] = {
                    name: text if isinstance(text, str) else " ".join(text) for name, text in texts.items()
                }
            contains = expected.get("message_contains") or expected.get("reason") or ""
            document["message"] = contains if isinstance(contains, str) else "\n".join(contains)
            body = b"" if expected.get("empty_body") else json.dumps(document).encode()
            with pytest.raises(ApiError) as caught:
                interpret(expected["status"], expected.get("reason") or "", {}, body)
            seen += 1
            assert isinstance(caught.value, AuthError) == (expected["status"] == 401)
            assert set(texts) <= set(caught.value.errors)
    assert seen > 100


@pytest.mark.parametrize(
    ("given_as", "base"),
    [
        ("pve1", "https://pve1:8006"),
        ("pve1.example.org:8443", "https://pve1.example.org:8443"),
        ("https://pve1:8006/", "https://pve1:8006"),
        ("https://pve1:8006/api2/json", "https://pve1:8006"),
        ("https://pve.example.org", "https://pve.example.org"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("10.0.0.1", "https://10.0.0.1:8006"),
        ("fd00::1", "https://[fd00::1]:8006"),
        ("[fd00::1]", "https://[fd00::1]:8006"),
        ("[fd00::1]:8007", "https://[fd00::1]:8007"),
    ],
)
def test_addresses_as_people_write_them(given_as: str, base: str) -> None:
    assert normal_base(given_as) == base


@pytest.mark.parametrize("text", ["", "ftp://pve1", "https://root:hunter22@pve1", "https://", "https://pve1:x", "a b"])
def test_no_addresses(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        normal_base(text)
    assert "hunter22" not in str(caught.value)


class Harness:
    """A client over scripted answers, with a clock of its own."""

    def __init__(self, *outcomes: Any, **options: Any) -> None:
        self.time = Time()
        self.transport = Scripted(outcomes[0] if callable(outcomes[0]) else in_turn(*outcomes))
        self.client = Client(
            options.pop("base", "https://pve1:8006"),
            options.pop("auth", TOKEN),
            transport=self.transport,
            sleep=self.time.sleep,
            clock=self.time.clock,
            rng=random.Random(7),
            **options,
        )

    def run(self, method: str, path: str = "/x", params: dict[str, Any] | None = None) -> Any:
        return asyncio.run(self.client.request(method, path, params))


def test_the_verbs_and_what_stands_beside_data() -> None:
    async def main() -> None:
        transport = Scripted(lambda request: fine([request.method], total=3, changes="diff"))
        async with Client("pve1", TOKEN, transport=transport) as client:
            assert await client.get("/a", {"x": 1}) == ["GET"]
            assert await client.post("/a") == ["POST"]
            assert await client.put("/a") == ["PUT"]
            assert await client.delete("/a") == ["DELETE"]
            assert await client.call("get", "/a", {}) == ["GET"]
            answer = await client.exchange("GET", "/a")
            assert (answer.total, answer.changes, answer.status) == (3, "diff", 200)
            assert client.requests_made == {"GET": 3, "POST": 1, "PUT": 1, "DELETE": 1}
        assert transport.closed

    asyncio.run(main())


def test_version_of_something_else() -> None:
    with pytest.raises(TransportError, match="GET /version"):
        asyncio.run(Harness(fine("hello")).client.version())
    assert asyncio.run(Harness(fine({"version": "9.2.11"})).client.version()) == {"version": "9.2.11"}


CONNECT = httpx.ConnectError("refused")
RESET = httpx.ReadError("reset")
LOCK_FILE = "can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"
STORAGE_LOCK = "can't lock file '/var/lock/pve-manager/pve-storage-local' - got timeout"


@pytest.mark.parametrize(
    ("method", "outcome", "again"),
    [
        ("GET", CONNECT, True),
        ("POST", CONNECT, True),
        ("GET", httpx.ConnectTimeout(""), True),
        ("DELETE", httpx.PoolTimeout(""), True),
        ("GET", RESET, True),
        ("POST", RESET, False),
        ("PUT", RESET, False),
        ("DELETE", httpx.RemoteProtocolError("gone"), False),
        ("GET", httpx.ReadTimeout(""), True),
        ("POST", httpx.ReadTimeout(""), False),
        ("POST", httpx.WriteError(""), False),
        *[("GET", refused(status), True) for status in (502, 503, 504, 595, 596, 599)],
        *[("POST", refused(status), False) for status in (502, 503, 504, 595, 596, 599)],
        ("GET", refused(500, "got timeout"), True),
        ("POST", refused(500, "got timeout"), True),
        ("PUT", refused(500, LOCK_FILE, message=LOCK_FILE + "\n"), True),
        ("PUT", refused(500, "cfs-lock 'file-user_cfg' error: got lock request timeout"), True),
        ("PUT", refused(500, STORAGE_LOCK), False),
        ("PUT", refused(500, "cfs-lock 'storage-nfs' error: got lock request timeout"), False),
        ("POST", refused(500, "command 'lvcreate' failed: got timeout"), False),
        ("GET", refused(500, "command 'lvs' failed: got timeout"), False),
        ("POST", refused(500, "unable to clone: got timeout"), False),
        ("PUT", refused(500, "VM is locked (backup)"), False),
        ("GET", refused(500, "boom"), False),
        ("GET", httpx.Response(500, text="Internal Server Error"), True),
        ("PUT", httpx.Response(500, text="got timeout"), False),
        ("GET", httpx.Response(404, text="404 page not found"), False),
        ("GET", refused(403, "Permission check failed"), False),
        ("GET", refused(501, "not implemented"), False),
        ("GET", refused(401, "No ticket"), False),
    ],
)
def test_what_is_sent_again(method: str, outcome: Any, again: bool) -> None:
    harness = Harness(outcome, fine("done"))
    if again:
        assert harness.run(method) == "done"
        assert len(harness.time.slept) == 1
    else:
        with pytest.raises((ApiError, TransportError)) as caught:
            harness.run(method)
        assert f"{method} /x" in str(caught.value)
        assert not harness.time.slept
    assert len(harness.transport.requests) == 1 + again
    assert harness.client.requests_made == {method: 1 + again}


def test_errors_say_whether_the_call_went_out() -> None:
    for outcome, sent in ((CONNECT, False), (RESET, True), (httpx.ReadTimeout(""), True)):
        with pytest.raises(TransportError) as caught:
            Harness(outcome, retries=Retries(attempts=1)).run("POST")
        assert caught.value.sent is sent
        assert (caught.value.method, caught.value.path) == ("POST", "/x")


def test_repetition_has_an_end_in_number() -> None:
    harness = Harness(RESET, retries=Retries(attempts=4, first=1.0, cap=2.0))
    with pytest.raises(TransportError):
        harness.run("GET")
    assert len(harness.transport.requests) == 4
    assert len(harness.time.slept) == 3
    for pause, most in zip(harness.time.slept, (1.0, 2.0, 2.0), strict=True):
        assert 0 <= pause <= most


def test_repetition_has_an_end_in_time() -> None:
    harness = Harness(RESET, retries=Retries(attempts=1000, first=8.0, cap=8.0, total=30.0))
    with pytest.raises(TransportError):
        harness.run("GET")
    assert sum(harness.time.slept) <= 30.0
    assert 3 <= len(harness.transport.requests) < 30


def test_pauses_differ_between_clients() -> None:
    retries = Retries()
    assert list(retries.delays(random.Random(1))) != list(retries.delays(random.Random(2)))
    assert len(list(retries.delays(random.Random(1)))) == retries.attempts - 1


def test_another_node_is_taken_when_one_is_down() -> None:
    def respond(request: httpx.Request) -> httpx.Response | Exception:
        return CONNECT if request.url.host == "pve1" else fine(request.url.host)

    harness = Harness(respond, hosts=["pve2", "pve3"])
    assert harness.run("POST") == "pve2"
    assert harness.client.base_url == "https://pve2:8006"
    assert harness.run("POST") == "pve2"
    assert [request.url.host for request in harness.transport.requests] == ["pve1", "pve2", "pve2"]
    assert not harness.time.slept


def test_no_other_node_is_asked_to_do_what_one_may_have_done() -> None:
    harness = Harness(RESET, hosts=["pve2"])
    with pytest.raises(TransportError):
        harness.run("POST")
    assert len(harness.transport.requests) == 1


def test_a_page_instead_of_an_answer_is_not_asked_for_again() -> None:
    harness = Harness(httpx.Response(200, content=b"<html>", headers={"content-type": "text/html"}))
    with pytest.raises(ForeignAnswerError, match=r"GET /x: the answer .* is not one of the Proxmox VE API"):
        harness.run("GET")
    assert len(harness.transport.requests) == 1


@pytest.mark.parametrize(
    ("error", "maybe"),
    [
        (TransportError("x", sent=True), True),
        (TransportError("x", sent=False), False),
        (ApiError(596, ""), True),
        (ApiError(599, ""), True),
        (ApiError(524, ""), True),
        (ApiError(501, ""), False),
        (ApiError(500, "got timeout"), False),
        (ApiError(500, "boom"), False),
        (ApiError(400, "x"), False),
        (InvalidError("x"), False),
    ],
)
def test_what_may_have_been_done_all_the_same(error: PvehelmError, maybe: bool) -> None:
    assert maybe_executed(error) is maybe
    assert not (maybe and not_executed(error))


def test_all_nodes_down() -> None:
    harness = Harness(CONNECT, hosts=["pve2"], retries=Retries(attempts=3))
    with pytest.raises(TransportError) as caught:
        harness.run("GET")
    assert not caught.value.sent
    assert [r.url.host for r in harness.transport.requests] == ["pve1", "pve2"] * 3
    assert len(harness.time.slept) == 2


def test_concurrency_is_bounded() -> None:
    class Busy(httpx.AsyncBaseTransport):
        now = most = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.now += 1
            self.most = max(self.most, self.now)
            for _ in range(5):
                await asyncio.sleep(0)
            self.now -= 1
            return fine()

    async def main() -> int:
        transport = Busy()
        client = Client("pve1", TOKEN, transport=transport, max_connections=3)
        await asyncio.gather(*(client.get("/x") for _ in range(30)))
        return transport.most

    assert asyncio.run(main()) == 3


def test_secrets_do_not_come_back_in_errors() -> None:
    secret = "11111111-2222-3333-4444-555555555555"
    outcome = refused(
        400, f"bad {secret}", message=f"bad {secret} hunter2222\n", errors={"password": "got 'hunter2222'", "x": secret}
    )
    harness = Harness(outcome)
    with pytest.raises(ApiError) as caught:
        harness.run("POST", "/access/users", {"password": "hunter2222", "userid": "joe@pve"})
    shown = repr(caught.value) + str(caught.value) + "".join(map(str, caught.value.problems)) + repr(harness.client)
    assert secret not in shown
    assert "hunter2222" not in shown
    assert "hunter2222" not in repr(Request("POST", "/x", {"password": "hunter2222"}))


def test_gzip_is_undone() -> None:
    import gzip

    body = gzip.compress(b'{"data":[1,2]}')
    harness = Harness(httpx.Response(200, content=body, headers={"content-encoding": "gzip"}))
    assert harness.run("GET") == [1, 2]
