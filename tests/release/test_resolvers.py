"""Secrets from elsewhere: real resolvers against a Vault of a few lines, a stand-in for sops, keyrings in memory."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pvehelm.errors import InvalidError, NotFoundError, PvehelmError
from pvehelm.release.resolvers import everything, keyring_resolver
from pvehelm.release.secrets import Secrets
from tests.release.lab import Lab

WORD = "correct-horse-battery"
TOKEN = "hvs.for-the-test"
STORED = {"apps/web": {"password": WORD, "port": 5432, "deep": {"list": ["a", "b"]}, "dotted.key": "d"}}
SOPS = """#!{python}
import json, sys
arguments = sys.argv[1:]
assert arguments[0] == "--decrypt", arguments
text = open(arguments[-1]).read()
if not text.startswith("ENC["):
    sys.stderr.write("Error unmarshalling: sops metadata not found\\n")
    sys.exit(1)
print(text[4:-2] if "json" in arguments else "plain: " + text[4:-2])
"""


class Vault(BaseHTTPRequestHandler):
    """KV version 2 below the mount ``kv``."""

    def do_GET(self) -> None:
        path = self.path.removeprefix("/v1/kv/data/")
        if self.headers.get("X-Vault-Token") != TOKEN:
            self.answer(403, {"errors": ["permission denied"]})
        elif path == "odd":
            self.answer(200, {"data": {"password": WORD}})
        elif path == "broken":
            self.answer(500, {"errors": ["internal error"]})
        elif path in STORED:
            self.answer(200, {"data": {"data": STORED[path], "metadata": {"version": 1}}})
        else:
            self.answer(404, {"errors": []})

    def answer(self, status: int, data: Any) -> None:
        body = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def vault() -> Iterator[dict[str, str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Vault)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield {"VAULT_ADDR": f"http://127.0.0.1:{server.server_port}", "VAULT_TOKEN": TOKEN}
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def sops(tmp_path: Path) -> dict[str, str]:
    program = tmp_path / "bin" / "sops"
    program.parent.mkdir()
    program.write_text(SOPS.replace("{python}", sys.executable))
    program.chmod(0o755)
    (tmp_path / "secrets.yaml").write_text("ENC[" + json.dumps({"db": {"password": WORD}, "on": True}) + "]\n")
    (tmp_path / "plain.yaml").write_text("a: 1\n")
    return {"PATH": str(program.parent)}


def resolve(reference: str, environ: dict[str, str]) -> str:
    return str(Secrets(everything(environ)).resolve(f"<${{secret://{reference}}}>"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kv/apps/web#password", WORD),
        ("kv/apps/web#port", "5432"),
        ("kv/apps/web#deep.list[1]", "b"),
        ("kv/apps/web#dotted.key", "d"),
    ],
)
def test_vault(vault: dict[str, str], name: str, text: str) -> None:
    assert resolve(f"vault/{name}", vault) == f"<{text}>"


def test_vault_takes_the_token_that_login_left(vault: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".vault-token").write_text(TOKEN + "\n")
    environ = {"VAULT_ADDR": vault["VAULT_ADDR"], "HOME": str(tmp_path)}
    assert resolve("vault/kv/apps/web#password", environ) == f"<{WORD}>"


@pytest.mark.parametrize(
    ("name", "more", "error", "says"),
    [
        ("kv/apps/web", {}, InvalidError, "expected MOUNT/PATH#KEY"),
        ("kv#password", {}, InvalidError, "expected MOUNT/PATH#KEY"),
        ("kv/apps/web#nothing", {}, NotFoundError, "there is no 'nothing'"),
        ("kv/apps/web#deep", {}, InvalidError, "is no text"),
        ("kv/apps/web#deep[", {}, InvalidError, "is no key"),
        ("kv/apps/other#password", {}, NotFoundError, "no such secret"),
        ("kv/odd#password", {}, PvehelmError, "something else than a secret"),
        ("kv/broken#password", {}, PvehelmError, "does not answer"),
        ("kv/apps/web#password", {"VAULT_TOKEN": "wrong"}, PvehelmError, "may not read"),
        ("kv/apps/web#password", {"VAULT_TOKEN": "", "HOME": "/nowhere"}, PvehelmError, "VAULT_TOKEN is not set"),
        ("kv/apps/web#password", {"VAULT_ADDR": ""}, PvehelmError, "VAULT_ADDR is not set"),
        ("kv/apps/web#password", {"VAULT_ADDR": "http://127.0.0.1:1"}, PvehelmError, "does not answer"),
    ],
)
def test_vault_errors(
    vault: dict[str, str], name: str, more: dict[str, str], error: type[PvehelmError], says: str
) -> None:
    with pytest.raises(error, match=r"secret://vault/kv.*") as caught:
        resolve(f"vault/{name}", {**vault, **more})
    assert says in str(caught.value)
    assert "VAULT_ADDR" not in says or "https:" in caught.value.hint
    assert WORD not in str(caught.value) + caught.value.hint
    assert TOKEN not in str(caught.value) + caught.value.hint


def test_sops(sops: dict[str, str], tmp_path: Path) -> None:
    assert resolve(f"sops{tmp_path}/secrets.yaml#db.password", sops) == f"<{WORD}>"
    assert resolve(f"sops{tmp_path}/secrets.yaml#on", sops) == "<true>"
    assert resolve(f"sops{tmp_path}/secrets.yaml", sops).startswith("<plain: {")


@pytest.mark.parametrize(
    ("file", "more", "says"),
    [
        ("plain.yaml#db.password", {}, "sops cannot decrypt"),
        ("secrets.yaml#db.word", {}, "there is no 'db.word'"),
        ("absent.yaml#db", {}, "there is no file"),
        ("secrets.yaml#db.password", {"PATH": "/nowhere"}, "there is no sops program"),
    ],
)
def test_sops_errors(sops: dict[str, str], tmp_path: Path, file: str, more: dict[str, str], says: str) -> None:
    with pytest.raises(PvehelmError, match=says) as caught:
        resolve(f"sops{tmp_path}/{file}", {**sops, **more})
    assert WORD not in str(caught.value)


def test_keyring() -> None:
    keyring = pytest.importorskip("keyring")
    from keyring.backend import KeyringBackend
    from keyring.backends.fail import Keyring as Failing

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]
        kept = {("pvehelm/lab", "db"): WORD}  # noqa: RUF012

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    try:
        keyring.set_keyring(Memory())
        assert keyring_resolver("pvehelm/lab/db") == WORD
        with pytest.raises(NotFoundError, match="no such entry"):
            keyring_resolver("pvehelm/lab/web")
        with pytest.raises(InvalidError, match="SERVICE/USER"):
            keyring_resolver("db")
        keyring.set_keyring(Failing())
        with pytest.raises(PvehelmError, match="the keyring cannot be read"):
            keyring_resolver("pvehelm/lab/db")
    finally:
        keyring.set_keyring(before)


def test_from_vault_to_the_wire(lab: Lab, vault: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in vault.items():
        monkeypatch.setenv(name, text)
    chart = lab.chart(
        """
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  cloudInit: { user: debian, password: {{ Values.password | toJson }} }
"""
    )
    flag = "password=secret://vault/kv/apps/web#password"
    shown = lab.run("install", "web", chart, "--set", flag).text
    shown += lab.run("get", "all", "web").text
    assert WORD not in shown
    assert "secret://vault/kv/apps/web#password" in shown
    lab.settled("web", chart=chart)
    for words in (("install", "other"), ("upgrade", "web")):
        refused = lab.run(*words, chart, "--set", flag + "s", code=1).text
        assert "there is no 'passwords' in it" in refused
        assert WORD not in refused
    # Where Vault is out of reach, what is recorded cannot be compared, which is no drift.
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:1")
    lab.run("upgrade", "web", chart)
