"""The transport against real servers that behave as nodes do, and worse."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable

import httpx
import pytest

from pvehelm.api.client import Client, Retries, TokenAuth
from pvehelm.api.tls import TLS
from pvehelm.api.transport import REQUESTS_A_CONNECTION, StreamTransport, Timeouts
from pvehelm.errors import ApiError, TransportError
from tests.api.serving import Behaviour, Certificate, Heard, Server, Time, answer_bytes, listening, serving, well

TOKEN = TokenAuth("root@pam!helm", "11111111-2222-3333-4444-555555555555")
ONCE = Retries(attempts=1)
SHORT = Timeouts(connect=5.0, read=0.05, total=5.0)


def talk(
    behave: Behaviour,
    work: Callable[[Client, Server, Time], Awaitable[object]],
    *,
    retries: Retries = ONCE,
    timeouts: Timeouts | None = None,
    certificate: Certificate | None = None,
    max_connections: int = 12,
) -> Server:
    """Let ``work`` use a client of a server that behaves so; the time that counts idleness moves with its sleeps."""

    async def main() -> Server:
        time = Time()
        async with serving(behave, certificate) as server:
            tls = TLS(fingerprint=certificate.fingerprint) if certificate else None
            transport = StreamTransport(tls=tls, timeouts=timeouts, max_connections=max_connections, clock=time.clock)
            async with Client(
                f"{'https' if certificate else 'http'}://127.0.0.1:{server.port}",
                TOKEN,
                transport=transport,
                timeouts=timeouts,
                retries=retries,
                max_connections=max_connections,
                sleep=time.sleep,
                clock=time.clock,
            ) as client:
                await work(client, server, time)
        return server

    return asyncio.run(main())


async def fails(client: Client, method: str = "GET") -> TransportError:
    with pytest.raises(TransportError) as caught:
        await client.request(method, "/x")
    return caught.value


async def reads_and_writes(client: Client, server: Server, time: Time) -> None:
    assert await client.get("/a", {"b": 1}) == "GET /api2/json/a?b=1 HTTP/1.1"
    assert await client.post("/a", {"b": "x;y"}) == "POST /api2/json/a HTTP/1.1"
    assert server.heard[-1].body == b"b=x%3By"
    assert server.heard[-1].headers["authorization"].startswith("PVEAPIToken=root@pam!helm=")


@pytest.mark.parametrize("encrypted", [False, True])
def test_one_connection_serves_many(encrypted: bool, certificate: Certificate) -> None:
    server = talk(well, reads_and_writes, certificate=certificate if encrypted else None)
    assert server.connections == 1


def test_a_connection_is_left_before_the_node_would_close_it() -> None:
    async def work(client: Client, server: Server, time: Time) -> None:
        for _ in range(2 * REQUESTS_A_CONNECTION + 1):
            await client.post("/x")

    server = talk(well, work)
    assert server.connections == 3
    per_connection = [sum(heard.connection == n for heard in server.heard) for n in range(3)]
    assert per_connection == [REQUESTS_A_CONNECTION, REQUESTS_A_CONNECTION, 1]


def test_connections_are_capped_and_shared() -> None:
    waiting: list[asyncio.Event] = []

    async def hold(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        event = asyncio.Event()
        waiting.append(event)
        if len(waiting) == 4:
            for each in waiting:
                each.set()
            waiting.clear()
        await event.wait()
        return await well(heard, writer)

    async def work(client: Client, server: Server, time: Time) -> None:
        await asyncio.gather(*(client.get("/x") for _ in range(40)))

    server = talk(hold, work, max_connections=4)
    assert server.most_open == 4
    assert server.connections == 4
    assert len(server.heard) == 40


def test_the_transport_alone_is_capped_too() -> None:
    async def main() -> int:
        async with serving(well) as server, StreamTransport(max_connections=2) as transport:
            url = f"http://127.0.0.1:{server.port}/x"
            requests = [httpx.Request("GET", url) for _ in range(20)]
            await asyncio.gather(*(transport.handle_async_request(request) for request in requests))
            return server.most_open

    assert asyncio.run(main()) == 2


def test_errors_close_the_connection() -> None:
    async def refuse(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer_bytes(None, "500 no such thing 'x'"))
        return True

    async def work(client: Client, server: Server, time: Time) -> None:
        for _ in range(2):
            with pytest.raises(ApiError, match="GET /x: 500 no such thing 'x'"):
                await client.get("/x")

    assert talk(refuse, work).connections == 2


FORMS = {
    "length": b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"data":"u"}',
    "chunked": b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\n{"dat\r\n7\r\na":"u"}\r\n0\r\nX:\r\n\r\n',
    "until closed": b'HTTP/1.1 200 OK\r\n\r\n{"data":"u"}',
    "connection: close": b'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{"data":"u"}',
    "http/1.0": b'HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\n{"data":"u"}',
    "no reason": b'HTTP/1.1 200\r\ncontent-length: 12\r\n\r\n{"data":"u"}',
    "after 100": b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{"data":"u"}',
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"
    % (len(gzip.compress(b'{"data":"u"}')), gzip.compress(b'{"data":"u"}')),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_answers(form: str) -> None:
    closing = form in ("until closed", "connection: close", "http/1.0")

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        # In two pieces, so that nothing depends on what arrives together.
        writer.write(FORMS[form][:30])
        await asyncio.sleep(0)
        writer.write(FORMS[form][30:])
        if form == "until closed":
            await writer.drain()
            writer.close()
            return False
        return True

    async def work(client: Client, server: Server, time: Time) -> None:
        assert [await client.get("/x") for _ in range(3)] == ["u"] * 3

    assert talk(answer, work).connections == (3 if closing else 1)


def test_reason_phrases_arrive_whole() -> None:
    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 401 Permission denied - invalid csrf token\r\nContent-Length: 0\r\n\r\n")
        return False

    async def work(client: Client, server: Server, time: Time) -> None:
        with pytest.raises(ApiError, match="401 Permission denied - invalid csrf token"):
            await client.get("/x")

    talk(answer, work)


BROKEN = {
    "nothing": (b"", "closed without an answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "closed without an answer"),
    "truncated body": (b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data":', "8 of 100 bytes"),
    "truncated chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc", "3 of 255 bytes"),
    "truncated chunk list": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "in the middle"),
    "bad chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunks are malformed"),
    "bad length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "Content-Length"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
    "endless head": (b"HTTP/1.1 200 OK\r\n" + b"x" * 600_000, "head is too long"),
    "bad gzip": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc", "compression"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_broken_answers(kind: str, method: str) -> None:
    text, words = BROKEN[kind]

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        if len(server_heard) == 0:
            server_heard.append(heard)
            writer.write(text)
            await writer.drain()
            writer.close()
            return False
        return await well(heard, writer)

    server_heard: list[Heard] = []

    async def work(client: Client, server: Server, time: Time) -> None:
        error = await fails(client, method)
        assert error.sent
        assert words in str(error)
        assert f"{method} /x" in str(error)
        # The client is none the worse for it.
        assert await client.get("/x")

    talk(answer, work)


def test_reads_are_repeated_after_a_drop_writes_are_not() -> None:
    async def drop_every_other(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        return heard.connection % 2 == 1 and await well(heard, writer)

    async def work(client: Client, server: Server, time: Time) -> None:
        assert await client.get("/x")
        assert len(server.heard) == 2

    talk(drop_every_other, work, retries=Retries())

    async def write(client: Client, server: Server, time: Time) -> None:
        assert (await fails(client, "POST")).sent
        assert len(server.heard) == 1

    talk(drop_every_other, write, retries=Retries())


def test_server_drops_before_reading() -> None:
    async def main() -> None:
        async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with listening(slam) as port, Client(f"http://127.0.0.1:{port}", TOKEN, retries=ONCE) as client:
            assert (await fails(client, "POST")).sent

    asyncio.run(main())


def test_refused_connection_was_not_sent() -> None:
    async def main() -> None:
        async with serving(well) as server:
            port = server.port
        time = Time()
        async with Client(
            f"http://127.0.0.1:{port}", TOKEN, retries=Retries(attempts=3), sleep=time.sleep, clock=time.clock
        ) as client:
            error = await fails(client, "POST")
        assert not error.sent
        assert "refused" in str(error)
        assert f"127.0.0.1:{port}" in str(error)
        assert "8006" in error.hint
        assert len(time.slept) == 2

    asyncio.run(main())


def test_plain_server_where_tls_is_meant() -> None:
    async def main() -> None:
        async def grumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with listening(grumble) as port, Client(f"https://127.0.0.1:{port}", TOKEN, retries=ONCE) as client:
            error = await fails(client, "POST")
        assert not error.sent
        assert "TLS" in error.hint

    asyncio.run(main())


def test_unknown_host() -> None:
    async def main() -> None:
        async with Client("https://no-such-host.invalid", TOKEN, retries=ONCE) as client:
            error = await fails(client, "POST")
        assert not error.sent
        assert "no-such-host.invalid:443" in str(error)

    asyncio.run(main())


def test_silence() -> None:
    async def never(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        await asyncio.Event().wait()
        return False

    async def work(client: Client, server: Server, time: Time) -> None:
        for method, times in (("GET", 3), ("POST", 1)):
            before = len(server.heard)
            error = await fails(client, method)
            assert error.sent
            assert "no answer in time" in str(error)
            assert "may still be done" in error.hint
            assert len(server.heard) - before == times

    talk(never, work, retries=Retries(attempts=3), timeouts=SHORT)


def test_body_that_stops_half_way() -> None:
    async def stall(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data":')
        await asyncio.Event().wait()
        return False

    async def work(client: Client, server: Server, time: Time) -> None:
        assert (await fails(client)).sent

    talk(stall, work, timeouts=SHORT)


def test_body_that_drips_for_ever() -> None:
    async def drip(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def work(client: Client, server: Server, time: Time) -> None:
        assert "no answer in time" in str(await fails(client))

    talk(drip, work, timeouts=Timeouts(read=5.0, total=0.1))


def test_handshake_that_never_ends() -> None:
    async def main() -> None:
        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        async with listening(mute) as port:
            timeouts = Timeouts(connect=0.05)
            async with Client(f"https://127.0.0.1:{port}", TOKEN, retries=ONCE, timeouts=timeouts) as client:
                error = await fails(client, "POST")
        assert not error.sent
        assert "timed out" in str(error)

    asyncio.run(main())


def close_after_first_answer() -> Behaviour:
    """Answers once on a connection and hangs up when the next request comes: the worst moment."""
    seen: set[int] = set()

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        if heard.connection in seen:
            return False
        seen.add(heard.connection)
        return await well(heard, writer)

    return behave


def test_stale_connection_is_replaced_for_a_read() -> None:
    async def work(client: Client, server: Server, time: Time) -> None:
        for _ in range(5):
            assert await client.get("/x")

    server = talk(close_after_first_answer(), work)
    assert server.connections == 5


def test_stale_connection_is_an_open_question_for_a_write() -> None:
    async def work(client: Client, server: Server, time: Time) -> None:
        assert await client.get("/x")
        error = await fails(client, "POST")
        assert error.sent
        assert sum(heard.line.startswith("POST") for heard in server.heard) == 1

    talk(close_after_first_answer(), work, retries=Retries())


def test_connection_closed_in_idleness_is_seen_before_a_write() -> None:
    async def once(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        await well(heard, writer)
        await writer.drain()
        writer.close()
        return False

    async def work(client: Client, server: Server, time: Time) -> None:
        for _ in range(5):
            assert await client.post("/x")
            # Until the server is through with it.
            while server.open:
                await asyncio.sleep(0)

    assert talk(once, work).connections == 5


def test_a_write_takes_no_connection_that_was_idle_for_long() -> None:
    async def work(client: Client, server: Server, time: Time) -> None:
        await client.get("/x")
        time.now += 3
        await client.get("/x")
        assert server.connections == 1
        time.now += 3
        await client.post("/x")
        assert server.connections == 2
        await client.get("/x")
        time.now += 60
        await client.get("/x")
        assert server.connections == 3

    talk(well, work)


def test_cancelling_gives_the_place_back() -> None:
    hold = asyncio.Event()

    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        if "/slow" in heard.line:
            await hold.wait()
        return await well(heard, writer)

    async def work(client: Client, server: Server, time: Time) -> None:
        for _ in range(3):
            task = asyncio.ensure_future(client.get("/slow"))
            before = len(server.heard)
            while len(server.heard) == before:
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert await client.get("/x")

    talk(behave, work, max_connections=1)
