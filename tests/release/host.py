"""A simulator that another process serves over TLS."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys

from tests.helpers import ROOT
from tests.release.lab import Lab


class Host:
    """A simulator served by a process of its own, with more ``args`` on another state than the lab's."""

    def __init__(self, lab: Lab, *args: str) -> None:
        self.lab = lab
        self.args = args
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.fingerprint = ""
        self.start()

    def start(self) -> None:
        command = ["-m", "pvehelm", "simulator", "serve", "--port", str(self.port), *self.args]
        self.process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        assert self.process.stdout is not None
        self.process.stdout.readline()
        found = re.search(r"[0-9A-F]{2}(:[0-9A-F]{2}){31}", self.process.stdout.readline())
        assert found
        self.fingerprint = found[0]

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def context(self, name: str = "lab", *, fingerprint: str = "", password: str = "proxmox") -> None:
        self.add(name, "--user", "root@pam", secret=password, fingerprint=fingerprint)

    def add(self, name: str, *who: str, secret: str, fingerprint: str = "") -> None:
        """A context by the name, which becomes the current one."""
        host = ("--host", f"127.0.0.1:{self.port}", "--fingerprint", fingerprint or self.fingerprint)
        self.lab.run("context", "add", name, *host, "--secret-stdin", *who, stdin=f"{secret}\n")
