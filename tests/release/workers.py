"""Starting the worker in other processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.helpers import ROOT

Process = subprocess.Popen[str]


def data_of(url: str) -> str:
    """The data directory of a worker: beside an SQLite file; else whatever the test has."""
    path = "/" + url.removeprefix("sqlite:///").lstrip("/")
    return os.path.dirname(path) if url.startswith("sqlite:") else os.environ["PVEHELM_DATA"]


def start(verb: str, url: str, *args: object) -> Process:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.release.worker", verb, url, *map(str, args)],
        cwd=ROOT,
        env={**os.environ, "PVEHELM_DATA": data_of(url)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line(process: Process) -> str:
    assert process.stdout is not None
    text = process.stdout.readline().strip()
    if not text:
        raise AssertionError(process.communicate()[1])
    return text


def tell(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


@contextmanager
def running(verb: str, url: str, *args: object) -> Iterator[Process]:
    process = start(verb, url, *args)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def crowd(verb: str, url: str, size: int, *args: object) -> list[str]:
    """The output of `size` workers at once; each also gets its number as first argument if it takes one."""
    processes = [start(verb, url, *(str(arg).replace("#", str(number)) for arg in args)) for number in range(size)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * size, "".join(errors for _, errors in outputs)
    return [output for output, _ in outputs]
