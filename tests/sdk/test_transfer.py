"""Files up and down, in pieces, over real connections."""

from __future__ import annotations

import asyncio
import email
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from pvehelm import ProxmoxClient
from pvehelm.api.task import Task
from pvehelm.errors import ApiError, InvalidError, TransportError
from tests.api.serving import Behaviour, Heard, Server, answer_bytes, serving

UPID = "UPID:pve1:0000A1B2:0000C3D4:66000000:imgcopy::root@pam:"
SIZE = 5 * (1 << 20) + 17


def talk(behave: Behaviour, work: Callable[[ProxmoxClient], Awaitable[None]]) -> Server:
    async def main() -> Server:
        async with (
            serving(behave) as server,
            ProxmoxClient(
                f"http://127.0.0.1:{server.port}", token="root@pam!helm=secret", release="9.2", max_connections=2
            ) as pve,
        ):
            await work(pve)
        return server

    return asyncio.run(main())


async def takes(heard: Heard, writer: asyncio.StreamWriter) -> bool:
    writer.write(answer_bytes(UPID))
    return True


def parts(heard: Heard) -> dict[str, Message]:
    head = f"Content-Type: {heard.headers['content-type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + heard.body)
    found = {}
    for part in message.get_payload():
        assert isinstance(part, Message)
        found[str(part.get_param("name", header="content-disposition"))] = part
    return found


async def asynchronous(data: bytes) -> AsyncIterator[bytes]:
    yield data[:10]
    yield data[10:]


def piecewise(data: bytes) -> Iterator[bytes]:
    yield data[:1]
    yield data[1:]


class Pipe(io.RawIOBase):
    """A source that cannot go back."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.data.read(size)

    def seekable(self) -> bool:
        return False


DATA = bytes(range(256)) * 5000


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (lambda path: path, {}),
        (lambda path: str(path), {"filename": "other.iso"}),
        (lambda path: DATA, {"filename": "a.iso"}),
        (lambda path: io.BytesIO(DATA), {"filename": "a.iso"}),
        (lambda path: Pipe(DATA), {"filename": "a.iso", "size": len(DATA)}),
        (lambda path: asynchronous(DATA), {"filename": "a.iso", "size": len(DATA)}),
        (lambda path: piecewise(DATA), {"filename": "a.iso", "size": len(DATA)}),
    ],
    ids=["path", "text", "bytes", "file", "pipe", "asynchronous", "iterator"],
)
def test_upload(source: Callable[[Path], Any], options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "debian.iso"
    path.write_bytes(DATA)

    async def work(pve: ProxmoxClient) -> None:
        task = await pve.nodes("pve1").storage("local").upload.post(content="iso", file=source(path), **options)
        assert isinstance(task, Task)

    server = talk(takes, work)
    (heard,) = server.heard
    assert heard.line == "POST /api2/json/nodes/pve1/storage/local/upload HTTP/1.1"
    assert heard.headers["content-length"] == str(len(heard.body))
    assert "transfer-encoding" not in heard.headers
    found = parts(heard)
    assert list(found) == ["content", "filename"]
    assert found["content"].get_payload() == "iso"
    assert found["filename"].get_filename() == options.get("filename", "debian.iso")
    assert found["filename"].get_payload(decode=True) == DATA


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"file": b"x"}, "filename"),
        ({"file": 5, "filename": "a.iso"}, "file"),
        ({"file": "/nowhere/at/all"}, "file"),
        ({"file": iter([b"x"]), "filename": "a.iso"}, "size"),
        ({"file": b"x", "filename": 'a".iso'}, "filename"),
        ({"file": iter([b"x"]), "filename": "a.iso", "size": 2}, "file"),
        ({"file": iter([b"xyz"]), "filename": "a.iso", "size": 2}, "file"),
        ({"file": b"x", "filename": "a.iso", "content": "disk"}, "content"),
    ],
)
def test_uploads_that_cannot_be(options: dict[str, Any], where: str) -> None:
    async def work(pve: ProxmoxClient) -> None:
        with pytest.raises(InvalidError) as caught:
            await pve.nodes("pve1").storage("local").upload.post(**{"content": "iso", **options})
        assert where in [problem.where for problem in caught.value.problems]

    talk(takes, work)


def test_an_upload_that_is_refused_early(tmp_path: Path) -> None:
    path = tmp_path / "big.iso"
    path.write_bytes(b"x" * (16 << 20))

    async def main() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer_bytes(None, "413 upload too large"))
            await writer.drain()
            # As a proxy does: the rest is read and thrown away.
            while await reader.read(1 << 20):
                pass

        from tests.api.serving import listening

        async with (
            listening(refuse) as port,
            ProxmoxClient(f"http://127.0.0.1:{port}", token="root@pam!helm=secret", release="9.2") as pve,
        ):
            with pytest.raises(ApiError, match="413"):
                await pve.nodes("pve1").storage("local").upload.post(content="iso", file=path)

    asyncio.run(main())


def file_of(framing: str) -> Behaviour:
    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
        if framing == "chunked":
            writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
            for begin in range(0, SIZE, 1 << 20):
                piece = b"y" * min(1 << 20, SIZE - begin)
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            return True
        length = f"Content-Length: {SIZE}\r\n\r\n" if framing != "close" else "\r\n"
        writer.write(head + length.encode())
        left = SIZE // 2 if framing == "broken" else SIZE
        writer.write(b"y" * left)
        await writer.drain()
        if framing == "close":
            writer.write_eof()
        return framing == "length"

    return behave


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_download(framing: str) -> None:
    async def work(pve: ProxmoxClient) -> None:
        place = pve.nodes("pve1").storage("backup").file_restore.download
        for _ in range(3):  # More than there are connections: each is given back.
            count = 0
            async for piece in place.stream(volume="backup:backup/a", filepath="Lw=="):
                assert 0 < len(piece) < SIZE
                assert not piece.strip(b"y")
                count += len(piece)
            assert count == SIZE

    server = talk(file_of(framing), work)
    assert server.heard[0].line.startswith("GET /api2/json/nodes/pve1/storage/backup/file-restore/download?")


def test_a_download_that_breaks_off() -> None:
    async def work(pve: ProxmoxClient) -> None:
        place = pve.nodes("pve1").storage("backup").file_restore.download
        with pytest.raises(TransportError, match="broke off"):
            async for _ in place.stream(volume="backup:backup/a", filepath="Lw=="):
                pass

    talk(file_of("broken"), work)


def test_a_download_that_is_refused() -> None:
    async def behave(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer_bytes(None, "500 no such volume"))
        return False

    async def work(pve: ProxmoxClient) -> None:
        with pytest.raises(ApiError, match="no such volume"):
            async for _ in (
                pve.nodes("pve1").storage("bb").file_restore.download.stream(volume="bb:b/a", filepath="Lw==")
            ):
                pass

    talk(behave, work)


def test_the_whole_log_of_a_task() -> None:
    async def work(pve: ProxmoxClient) -> None:
        pieces = [piece async for piece in pve.nodes("pve1").tasks(UPID).log.stream()]
        assert len(b"".join(pieces)) == SIZE

    server = talk(file_of("length"), work)
    assert server.heard[0].line.endswith("/log?download=1 HTTP/1.1")


def test_one_colour_more(tmp_path: Path) -> None:
    """Without await, through the same core."""
    path = tmp_path / "a.iso"
    path.write_bytes(DATA)
    from tests.sdk.wire import Script

    transport = Script(lambda heard: UPID)
    with ProxmoxClient.sync("pve", token="root@pam!helm=secret", transport=transport) as pve:
        pve.nodes("pve1").storage("local").upload.post(content="iso", file=path)
        assert DATA in transport.heard[-1].body
