"""Files that are uploaded: through the client in process, and over HTTPS."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from pvehelm import ProxmoxClient
from pvehelm.errors import ApiError, TaskError
from pvehelm.simulator.core import Simulator
from pvehelm.simulator.requests import BodyError, parse_upload
from pvehelm.simulator.state import State
from pvehelm.simulator.transport import SimulatorTransport
from tests.simulator.api import Api, api

DATA = bytes(range(256)) * 4000  # more than the bodies of other calls may have
SUM = hashlib.sha256(DATA).hexdigest()


def upload(path: Path, **params: Any) -> list[dict[str, Any]]:
    """Upload a file as an ISO image; the images that are there afterwards."""

    async def work() -> Any:
        transport = SimulatorTransport(Simulator(State(":memory:")))
        async with ProxmoxClient("sim", user="root@pam", password="proxmox", transport=transport) as pve:
            storage = pve.nodes("pve-node1").storage("local")
            task = await storage.upload.post(content="iso", file=path, **params)
            await task.wait()
            return await storage.content.get(content="iso")

    return [dict(row) for row in asyncio.run(work())]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "debian.iso"
    path.write_bytes(DATA)
    return path


def test_a_file_arrives(image: Path) -> None:
    (row,) = [row for row in upload(image) if row["volid"] == "local:iso/debian.iso"]
    assert row["size"] == len(DATA)
    assert upload(image, checksum=SUM, checksum_algorithm="sha256")


def test_a_file_that_is_not_what_it_should_be(image: Path) -> None:
    with pytest.raises(TaskError, match="checksum mismatch"):
        upload(image, checksum="00" * 32, checksum_algorithm="sha256")


def test_a_file_of_another_kind(image: Path) -> None:
    with pytest.raises(ApiError, match="extension") as caught:
        upload(image.rename(image.with_suffix(".txt")))
    assert "filename" in caught.value.errors


@pytest.fixture
def root() -> Api:
    return api(base="default")


def test_an_upload_without_a_file(root: Api) -> None:
    answer = root.post("/nodes/pve-node1/storage/local/upload", content="iso", filename="a.iso")
    assert (answer.status, answer.message.strip()) == (500, "missing temporary file name")


def test_other_calls_take_no_files(root: Api) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="poolid"\r\n\r\np\r\n--x--\r\n'
    headers = {**root.headers, "content-type": "multipart/form-data; boundary=x"}
    assert root.send("POST", "/pools", headers=headers, body=body).status == 506


def test_the_parts_of_a_body() -> None:
    shown = b"--x\r\nContent-Disposition: form-data; name="
    body = shown + b'"content"\r\n\r\niso\r\n' + shown + b'"filename"; filename="a.iso"\r\n\r\n'
    body += b"1\r\n--y\r\n2\r\n--x--\r\n"
    fields, file = parse_upload({"content-type": 'multipart/form-data; boundary="x"'}, body)
    assert (fields["content"], fields["filename"], file) == ("iso", "a.iso", b"1\r\n--y\r\n2")
    for broken, kind in ((body[:-9], "boundary=x"), (body, "boundary=z"), (body, "")):
        with pytest.raises(BodyError):
            parse_upload({"content-type": f"multipart/form-data; {kind}"}, broken)
