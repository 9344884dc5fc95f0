"""Secrets reach the wire and nothing else: not the store, not a plan, not an output."""

from __future__ import annotations

import sqlite3
import zlib
from contextlib import closing
from pathlib import Path

import pytest

from tests.release.lab import Lab

WORD = "correct-horse-battery"
OTHER = "staple-zebra-lamp"
VM = """
kind: VirtualMachine
metadata: { name: "{{ Release.Name }}-vm" }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ Values.memory | default(1024) }}
  cloudInit: { user: debian, password: {{ Values.password | toJson }} }
  description: {{ Values.text | default("plain") | toJson }}
"""
REFERENCE = "password=secret://env/VM_PASSWORD"


def everything_kept(lab: Lab) -> bytes:
    """All bytes of the data directory but the simulator's (the wire's other end), with compressed content unpacked."""
    kept = b""
    for path in Path(lab.data).rglob("*"):
        if path.is_file() and not path.name.startswith("simulator.db"):
            kept += path.read_bytes()
    with closing(sqlite3.connect(lab.data / "releases.db")) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in db.execute(f"SELECT * FROM {name}"):
                for cell in row:
                    if isinstance(cell, bytes):
                        try:
                            kept += zlib.decompress(cell)
                        except zlib.error:
                            kept += cell
                    else:
                        kept += str(cell).encode()
    return kept


@pytest.fixture
def outputs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that any command printed."""
    found: list[str] = []
    run = lab.run

    def noted(*args: str, **more: object) -> object:
        result = run(*args, **more)  # type: ignore[arg-type]
        found.append(result.text)
        return result

    monkeypatch.setattr(lab, "run", noted)
    return found


def test_a_secret_reaches_the_wire_only(lab: Lab, outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", WORD)
    chart = lab.chart(VM)
    lab.run("install", "web", chart, "--set", REFERENCE, "--dry-run=server")
    lab.run("install", "web", chart, "--set", REFERENCE, "--dry-run=server", "-o", "json")
    lab.run("install", "web", chart, "--set", REFERENCE, "-o", "json")
    vmid = lab.vmid("web", "VirtualMachine/web-vm")
    wire = lab.state.collection("qemu")[str(vmid)]
    assert "cipassword" in str(wire)
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    for args in (
        ("get", "values", "web", "-a"),
        ("get", "manifest", "web"),
        ("get", "all", "web"),
        ("status", "web", "-o", "json"),
        ("history", "web"),
    ):
        lab.run(*args)
    lab.run("rollback", "web", "1")
    monkeypatch.setenv("VM_PASSWORD", OTHER)
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "cipassword" in diff
    assert "<secret>" in diff
    assert "hmac" not in diff
    lab.run("upgrade", "web", chart)
    lab.settled("web", chart=chart)
    kept = everything_kept(lab)
    for word in (WORD, OTHER):
        assert word.encode() not in kept
        assert not any(word in text for text in outputs)
    assert b"secret://env/VM_PASSWORD" in kept


def test_a_secret_inside_a_text(lab: Lab, outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", WORD)
    monkeypatch.setenv("LICENCE", OTHER)
    chart = lab.chart(VM)
    flags = ("--set", REFERENCE, "--set-literal", "text=licence ${secret://env/LICENCE} here")
    lab.run("install", "web", chart, *flags)
    vmid = lab.vmid("web", "VirtualMachine/web-vm")
    assert f"licence {OTHER} here" in lab.config(vmid)["description"]
    lab.settled("web", chart=chart)
    mark = lab.config(vmid)["description"].splitlines()[-1]
    lab.set(vmid, description=f"meddled\n{mark}")
    diff = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "description" in diff
    lab.run("upgrade", "web", chart)
    assert f"licence {OTHER} here" in lab.config(vmid)["description"]
    # and a failure that quotes what was sent
    lab.set(vmid, description=f"meddled\n{mark}")
    lab.run("diff", "web")
    lab.run("diff", "web", "-o", "json")
    for word in (WORD, OTHER):
        assert word.encode() not in everything_kept(lab)
        assert not any(word in text for text in outputs)


def test_a_server_that_repeats_a_secret(lab: Lab, outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what is printed nor the revision, the journal or the audit trail has what the server quoted, not even
    as a filter made it."""
    monkeypatch.setenv("VM_PASSWORD", WORD)
    monkeypatch.setenv("LICENCE", OTHER)
    chart = lab.chart(VM)
    flags = ("--set", REFERENCE, "--set-literal", "text=licence ${secret://env/LICENCE|upper}")
    lab.fault("PUT /nodes/*/qemu/*/config", times=1, status=400, message=f"bad: '{WORD}', '{OTHER.upper()}'")
    failed = lab.run("install", "web", chart, *flags, code=1)
    assert "bad: '********', '<secret>'" in failed.err
    lab.run("status", "web", "--logs")
    lab.run("audit", "-o", "json")
    kept = everything_kept(lab)
    for word in (WORD, OTHER.upper()):
        assert not any(word in text for text in outputs), [text for text in outputs if word in text]
        assert word.encode() not in kept


def test_an_edit_resolves_references(lab: Lab, outputs: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LICENCE", OTHER)
    lab.run("api", "post", "/access/users", "userid=joe@pve", "comment=x")
    monkeypatch.setenv("EDITOR", "sed -i 's|comment: x|comment: secret://env/LICENCE|'")
    lab.fault("PUT /access/users/*", times=1, status=400, message=f"bad: '{OTHER}'")
    edit = ("edit", "user", "joe@pve", "--allow-privileged", "all")
    assert "bad: '<secret>'" in lab.run(*edit, code=1).err
    lab.run(*edit)
    assert f"comment: {OTHER}" in lab.run("api", "get", "/access/users/joe@pve").out
    assert OTHER.encode() not in everything_kept(lab)
    assert [text for text in outputs if OTHER in text] == outputs[-1:]


def test_what_live_shows_of_a_secret_is_not_shown(
    lab: Lab, outputs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live has the resolved text of a field that is made of a secret: a plan that changes it must not print it."""
    monkeypatch.setenv("VM_PASSWORD", WORD)
    monkeypatch.setenv("LICENCE", OTHER)
    chart = lab.chart(VM)
    lab.run("install", "web", chart, "--set", REFERENCE, "--set-literal", "text=licence ${secret://env/LICENCE}")
    monkeypatch.setenv("LICENCE", "a-new-one-that-nobody-knows")
    lab.run("diff", "web", "--detailed-exitcode", code=2)
    lab.run("diff", "web", "-o", "json")
    lab.run("upgrade", "web", chart, "--set", "text=plain")
    lab.run("rollback", "web", "1")
    kept = everything_kept(lab)
    for word in (OTHER, "a-new-one-that-nobody-knows"):
        assert not any(word in text for text in outputs), [text for text in outputs if word in text]
        assert word.encode() not in kept


def test_an_unset_variable_is_an_error_before_anything(lab: Lab) -> None:
    chart = lab.chart(VM)
    result = lab.run("install", "web", chart, "--set", REFERENCE, code=1)
    assert "secret://env/VM_PASSWORD" in result.err
    assert "VM_PASSWORD" in result.err
    assert lab.run("list", "-q").out == ""
    assert not lab.guests()


def test_a_variable_that_is_gone_later(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", WORD)
    chart = lab.chart(VM)
    lab.run("install", "web", chart, "--set", REFERENCE)
    monkeypatch.delenv("VM_PASSWORD")
    # nobody here can compare it: that is not drift
    diff = lab.run("diff", "web", "--detailed-exitcode", code=None)
    assert diff.code == 0, diff
    # uninstalling needs no secret
    lab.run("uninstall", "web", "--yes")
    assert not lab.guests()


def test_without_the_key_it_is_not_drift(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", WORD)
    chart = lab.chart(VM)
    lab.run("install", "web", chart, "--set", REFERENCE)
    keys = [path for path in Path(lab.data).iterdir() if path.name == "secrets.key"]
    assert keys
    for path in keys:
        path.unlink()
    diff = lab.run("diff", "web", "--detailed-exitcode", code=None)
    assert diff.code == 0, diff


def test_file_secrets(lab: Lab, tmp_path: Path) -> None:
    secret = tmp_path / "pw"
    secret.write_text(WORD + "\n")
    secret.chmod(0o600)
    chart = lab.chart(VM)
    lab.run("install", "web", chart, "--set", f"password=secret://file/{secret}")
    assert WORD.encode() not in everything_kept(lab)
    result = lab.run("install", "two", chart, "--set", f"password=secret://file/{tmp_path}/none", code=1)
    assert f"secret://file/{tmp_path}/none" in result.err or f"{tmp_path}/none" in result.err
    assert lab.run("list", "-q").out.split() == ["web"]


def test_a_chart_may_not_name_a_users_secret(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VM_PASSWORD", WORD)
    chart = lab.chart(VM, values="password: secret://env/VM_PASSWORD\n")
    result = lab.run("install", "web", chart, code=None)
    assert result.code in (1, 3)
    assert "secret://env/VM_PASSWORD" in result.err
    assert not lab.guests()


def test_a_token_is_kept_and_shown_to_nobody(lab: Lab, outputs: list[str]) -> None:
    user = "kind: User\nmetadata: { name: joe@pve }\nspec: { comment: Joe }\n"
    token = "kind: Token\nmetadata: { name: 'joe@pve!ci' }\nspec: { comment: CI, secret: 'secret://release/joe-ci' }\n"
    chart = lab.chart(user + "---\n" + token)
    lab.run("install", "web", chart, "--allow-privileged", "all")
    with lab.store() as store:
        secret = store.get_secret(lab.key("web"), "joe-ci")
    assert len(secret) == 36
    assert lab.api.as_token("joe@pve!ci", secret).get("/version").status == 200
    lab.settled("web", "--allow-privileged", "all", chart=chart)
    assert not any(secret in text for text in outputs)
    assert secret.encode() not in everything_kept(lab)
    lab.run("uninstall", "web", "--yes")
    assert lab.run("list", "-q").out == ""


CI = """
kind: User
metadata: { name: joe@pve }
---
kind: Token
metadata: { name: 'joe@pve!ci' }
spec: { comment: CI, secret: 'secret://release/joe-ci' }
"""
ALL = ("--allow-privileged", "all")


def accepted(lab: Lab) -> str:
    """The secret that the release keeps of its token, which the server takes."""
    with lab.store() as store:
        secret = store.get_secret(lab.key("web"), "joe-ci")
    assert lab.api.as_token("joe@pve!ci", secret).get("/version").status == 200
    return secret


@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_token_whose_secret_was_lost_on_the_way_is_made_anew(lab: Lab, drop: str) -> None:
    chart = lab.chart(CI)
    lab.fault("POST /access/users/*/token/*", drop=drop, times=1)
    lab.run("install", "web", chart, *ALL)
    assert not lab.has_faults()
    accepted(lab)
    lab.settled("web", *ALL, chart=chart)
    lab.sound("web")


def test_a_token_whose_secret_died_with_the_process_is_made_anew(lab: Lab) -> None:
    chart = lab.chart(CI)
    assert lab.killed("put_secret", "before", 1, "install", "web", chart, *ALL)
    lab.run("recover", "web", "--yes", *ALL, code=None)
    lab.run("upgrade", "web", chart, "-i", *ALL)
    accepted(lab)
    lab.settled("web", *ALL, chart=chart)
    # Made anew, it is the new secret that counts: the one that is kept is of the token before.
    lab.run("upgrade", "web", chart, "--replace", "Token/joe@pve!ci", "--yes", *ALL)
    assert lab.killed(
        "put_secret", "before", 1, "upgrade", "web", chart, "--replace", "Token/joe@pve!ci", "--yes", *ALL
    )
    lab.run("upgrade", "web", chart, *ALL)
    accepted(lab)


def test_a_token_that_can_not_be_removed_is_told(lab: Lab) -> None:
    chart = lab.chart(CI)
    assert lab.killed("put_secret", "before", 1, "install", "web", chart, *ALL)
    lab.fault("DELETE /access/users/*/token/*", status=403, times=1)
    lab.run("upgrade", "web", chart, "-i", *ALL)
    assert not lab.has_faults()
    assert "its secret was told once" in lab.run("plan", "upgrade", "web", chart, *ALL).out
    lab.sound("web")


def test_a_token_whose_secret_is_kept_already_stays(lab: Lab) -> None:
    chart = lab.chart(CI)
    # The user's outcome is the first one; the token's comes once its secret is kept.
    assert lab.killed("outcome", "before", 2, "install", "web", chart, *ALL)
    with lab.store() as store:
        kept = store.get_secret(lab.key("web"), "joe-ci")
    lab.run("upgrade", "web", chart, "-i", *ALL)
    assert accepted(lab) == kept


def test_a_token_whose_secret_is_not_here_is_told(lab: Lab) -> None:
    chart = lab.chart(CI)
    lab.run("install", "web", chart, *ALL)
    with lab.store() as store:
        store.db.execute("DELETE FROM secrets")
    plan = lab.run("plan", "upgrade", "web", chart, *ALL).out
    assert "Token/joe@pve!ci: its secret was told once, and not here: --replace Token/joe@pve!ci makes it anew" in plan
    lab.run("upgrade", "web", chart, "--replace", "Token/joe@pve!ci", "--yes", *ALL)
    accepted(lab)
    assert "its secret" not in lab.run("plan", "upgrade", "web", chart, *ALL).out


def test_a_reference_that_means_nothing_here(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lab.folder / "people.yaml"
    text = "kind: User\nmetadata: { name: amy@pve }\nspec: { comment: a, password: 'secret://env/AMY' }\n"
    file.write_text(text)
    monkeypatch.setenv("AMY", "a first password")
    lab.run("apply", "-f", str(file), *ALL)
    monkeypatch.delenv("AMY")
    # The one that was applied may be what it was: that is no drift, and is said.
    for command in (("diff", "people"), ("apply", "-f", str(file), *ALL)):
        assert "User/amy@pve: password can't be compared, and stays as it is" in lab.run(*command).text
    file.write_text(text.replace("comment: a", "comment: b"))
    lab.run("apply", "-f", str(file), *ALL)
    # Another one was asked for, and would not be done.
    file.write_text(text.replace("AMY", "BOB"))
    revisions = len(lab.history("people"))
    refused = lab.run("apply", "-f", str(file), *ALL, code=1)
    assert "User/amy@pve: password" in refused.err
    assert "BOB" in refused.err
    assert len(lab.history("people")) == revisions
    monkeypatch.setenv("BOB", "another password")
    lab.run("apply", "-f", str(file), *ALL)
    assert lab.api.login("amy@pve", "another password")


@pytest.mark.parametrize("source", ["template: debian-12-template", "memory: 512"])
def test_a_secret_within_a_property_string(lab: Lab, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.setenv("BRIDGE", "vmbr0")
    text = (
        "kind: VirtualMachine\nmetadata: { name: vm }\nspec:\n  node: pve-node1\n"
        f"  {source}\n  networks: [{{ bridge: {{{{ Values.bridge }}}}, tag: {{{{ Values.tag }}}} }}]\n"
    )
    chart = lab.chart(text)
    lab.run("install", "web", chart, "--set", "bridge=secret://env/BRIDGE,tag=5")
    vmid = lab.vmid("web", "VirtualMachine/vm")
    assert "bridge=vmbr0" in lab.config(vmid)["net0"]
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "tag=6")
    assert "bridge=vmbr0" in lab.config(vmid)["net0"]
    assert "tag=6" in lab.config(vmid)["net0"]
    lab.settled("web", chart=chart)
    assert b"bridge=vmbr0" not in everything_kept(lab)


@pytest.mark.parametrize(
    "given", ["secret://env/", "secret://env", "secret://Env/A", "x-${secret://env/A", "${secret://}"]
)
def test_what_looks_like_a_reference_is_no_password(lab: Lab, given: str, tmp_path: Path) -> None:
    values = tmp_path / "v.yaml"
    values.write_text(f'password: "{given}"\n')
    result = lab.run("install", "a", lab.chart(VM), "-f", str(values), code=1)
    assert "is no reference of a secret" in result.err or "secret://release/<name>" in result.err
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "apiVersion: proxmox.io/v1\nkind: VirtualMachine\nmetadata: { name: v }\nspec:\n  node: pve-node1\n"
        f'  template: debian-12-template\n  cloudInit: {{ user: debian, password: "{given}" }}\n'
    )
    assert "is no reference of a secret" in lab.run("apply", "-f", str(manifest), code=1).err
