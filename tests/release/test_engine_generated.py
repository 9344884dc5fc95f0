"""What is made up by chance is made once; what is sensitive is sealed; what was looked up is recorded."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.release.lab import Lab
from tests.release.test_engine_secrets import everything_kept

VM = """
kind: VirtualMachine
metadata: {{ name: vm }}
spec:
  node: pve-node1
  template: debian-12-template
  {}
"""
PASSWORD = VM.format('cloudInit: { user: debian, password: {{ generate("password", "login", length=30) }} }')
KEYS = VM.format(
    """cloudInit:
    user: debian
    sshKeys: [{{ generate("ssh-key", "deploy").public }}]
  description: |
    {{ generate("uuid", "id") }} {{ generate("wireguard-key", "wg").public }} {{ generate("token", "t", bytes=8) }}
    {{ generate("certificate", "web", names=["a.example.org", "10.0.0.1"], days=30).certificate }}"""
)
RANDOM = VM.format(
    """memory: {{ Values.memory | default(1024) }}
  description: |
    secret {{ randAlphaNum(20) }} and {{ randAlphaNum(20) | b64enc }} and {{ randNumeric(3) }} {{ uuidv4() }}
    {{ randInt(0, 1000000) }} {{ shuffle("abcdefghijklmnop") }} {{ randBytes(12) }}"""
)


def wire(lab: Lab, name: str = "web", ref: str = "VirtualMachine/vm") -> dict[str, object]:
    return dict(lab.state.collection("qemu")[str(lab.vmid(name, ref))])


def description(lab: Lab) -> str:
    return str(lab.config(lab.vmid("web", "VirtualMachine/vm"))["description"])


def test_a_password_is_made_once_and_never_shown(lab: Lab) -> None:
    chart = lab.chart(PASSWORD)
    dry = lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json
    assert lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json == dry
    assert "secret://release/generated/login" in json.dumps(dry)
    assert "secret://release/generated/login" in lab.run("template", "web", chart).out
    lab.run("install", "web", chart)
    with lab.store() as store:
        password = store.get_secret(lab.key("web"), "generated/login")
    assert len(password) == 30
    assert "secret://release/generated/login" in lab.run("secret", "list", "web").out
    assert lab.run("secret", "show", "web", "login").out == password + "\n"
    assert lab.run("secret", "show", "web", "secret://release/generated/login").out == password + "\n"
    assert "did you mean login?" in lab.run("secret", "show", "web", "logni", code=1).err
    lab.settled("web", chart=chart)
    lab.run(
        "upgrade",
        "web",
        lab.chart(PASSWORD.replace("length=30", "length=40").replace("spec:", "spec:\n  memory: 2048")),
    )
    lab.run("rollback", "web", "1")
    with lab.store() as store:
        assert store.get_secret(lab.key("web"), "generated/login") == password
    shown = "".join(
        lab.run(*args).text
        for args in (
            ("get", "all", "web"),
            ("get", "manifest", "web"),
            ("status", "web", "-o", "json"),
            ("diff", "web"),
        )
    )
    assert password not in shown
    assert password.encode() not in everything_kept(lab)


def test_keys_and_certificates(lab: Lab) -> None:
    chart = lab.chart(KEYS)
    lab.run("install", "web", chart)
    text = description(lab)
    assert re.search(r"^[0-9a-f-]{36} [A-Za-z0-9+/]{43}= [0-9a-f]{16}$", text, re.MULTILINE)
    assert "-----BEGIN CERTIFICATE-----" in text
    assert "ssh-ed25519 AAAA" in lab.config(lab.vmid("web", "VirtualMachine/vm"))["sshkeys"].replace("%20", " ")
    lab.settled("web", chart=chart)
    with lab.store() as store:
        names = store.secret_names(lab.key("web"))
    assert {"generated/deploy/private", "generated/deploy/public", "generated/web/certificate"} <= set(names)


def test_random_texts_stay(lab: Lab) -> None:
    chart = lab.chart(RANDOM)
    dry = lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json
    assert lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json == dry
    assert lab.run("template", "web", chart).out == lab.run("template", "web", chart).out
    lab.run("install", "web", chart)
    text = description(lab).splitlines()[:2]
    secret = re.search(r"secret (\w{20}) and", text[0])
    assert secret
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    assert description(lab).splitlines()[:2] == text
    # Written otherwise around it, it is still the same.
    lab.run("upgrade", "web", lab.chart(RANDOM.replace("secret", "now")))
    assert description(lab).splitlines()[0] == text[0].replace("secret", "now")
    lab.run("rollback", "web", "1")
    assert description(lab).splitlines()[:2] == text
    assert secret[1] not in lab.run("get", "all", "web").out
    assert secret[1].encode() not in everything_kept(lab)


FROM_A_SEED = VM.format(
    """description: |
    {% set ca = genCA("ca", 30) %}{% set one = genSignedCert("one", ["10.0.0.1"], ["one.test"], 30, ca) %}
    {{ ca.Cert | sha256sum }} {{ one.Cert | sha256sum }} {{ genSelfSignedCert("x", none, none, 30).Cert | sha256sum }}
    {{ htpasswd("u", "p") }} {{ encryptAES("key", "text") | sha256sum }} {{ genPrivateKey("ecdsa") | sha256sum }}
    {{ genPrivateKey("ed25519") | sha256sum }}
    {{ genCAWithKey("k", 30, genPrivateKey("ecdsa")).Cert | sha256sum }}"""
)


def test_a_plan_shows_the_keys_that_the_install_makes(lab: Lab) -> None:
    chart = lab.chart(FROM_A_SEED)
    day = datetime.now(UTC).date()
    (made,) = lab.run("install", "web", chart, "--dry-run=server", "-o", "json").json["changes"]
    (told,) = [row["after"] for row in made["fields"] if row["leaf"] == "description"]
    lab.run("install", "web", chart)
    # A certificate begins with its day.
    assert description(lab).split()[: len(told.split())] == told.split() or datetime.now(UTC).date() != day
    lab.settled("web", chart=chart)


def test_template_says_that_its_random_values_are_none(lab: Lab) -> None:
    assert "7 random values are placeholders" in lab.run("template", "web", lab.chart(RANDOM)).err
    assert "placeholder" not in lab.run("template", "web", lab.chart(PASSWORD)).err


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ('generate("pasword", "x")', "generate does not know 'pasword'"),
        ('generate("password", "a/b")', "is no name"),
        ('generate("password", "x", len=3)', "has no option 'len'"),
        ('generate("password", "x", length=2)', "length is a number from 4"),
        ('generate("password", "x") | b64enc', "is a reference to a secret"),
        ('generate("certificate", "x", names="a")', "names is a list"),
    ],
)
def test_generate_refuses(lab: Lab, call: str, says: str) -> None:
    shown = lab.run("template", "web", lab.chart(VM.format(f"description: {{{{ {call} }}}}")), code=1).err
    assert says in shown


def test_a_flood_of_random_values_is_refused(lab: Lab) -> None:
    chart = lab.chart("{% for i in range(20000) %}{% set x = randAlphaNum(8) %}{% endfor %}")
    assert "more than 10000 random values" in lab.run("install", "web", chart, code=1).err
    with lab.store() as store:
        assert store.find(lab.key("web")) is None


SENSITIVE = {
    "properties": {
        "password": {"type": "string", "x-sensitive": True, "minLength": 5},
        "pin": {"type": "integer", "x-sensitive": True},
        "users": {"items": {"properties": {"word": {"x-sensitive": True}}}},
    }
}
WORD, OTHER = "correct-horse-battery", "staple-zebra-lamp"


def test_sensitive_values_are_sealed(lab: Lab) -> None:
    chart = lab.chart(
        VM.format(
            """description: >-
    p={{ Values.password }} pin={{ Values.pin + 1 }} {{ Values.users[0].word }}
    {{ sensitive(Values.password, "b64enc") }}"""
        )
    )
    Path(chart, "values.schema.json").write_text(json.dumps(SENSITIVE))
    Path(chart, "templates", "NOTES.txt").write_text("The password is {{ Values.password }}.")
    flags = ("--set", f"password={WORD},pin=987654321,users[0].word={OTHER}")
    shown = lab.run("template", "web", chart, *flags).text
    shown += lab.run("install", "web", chart, *flags, "--dry-run=server").text
    shown += lab.run("install", "web", chart, *flags, "-o", "json").text
    text = description(lab)
    assert text.startswith(f"p={WORD} pin=987654322 {OTHER} Y29ycm")
    lab.settled("web", chart=chart)
    for args in (
        ("get", "all", "web"),
        ("get", "values", "web"),
        ("get", "values", "web", "-a", "-o", "json"),
        ("get", "notes", "web"),
        ("status", "web"),
    ):
        shown += lab.run(*args).text
    shown += lab.run("upgrade", "web", chart, "--set", "other=1").text
    assert description(lab).startswith(f"p={WORD} pin=987654322 {OTHER}")
    shown += lab.run("upgrade", "web", chart, "--set", "password=another-one").text
    lab.run("rollback", "web", "1")
    assert description(lab).startswith(f"p={WORD} pin=987654322 {OTHER}")
    for word in (WORD, OTHER, "987654321"):
        assert word not in shown
        assert word.encode() not in everything_kept(lab)
    refused = lab.run("upgrade", "web", chart, "--set", "password=abc", code=1).text
    assert "abc" not in refused.replace("--set password", "")


def test_a_recorded_value_that_fits_no_more_says_so(lab: Lab) -> None:
    chart = lab.chart(VM.format("memory: {{ Values.memory }}"))
    lab.run("install", "web", chart, "--set", "memory=1024")
    Path(chart, "values.schema.json").write_text('{"properties": {"memory": {"minimum": 2048}}}')
    refused = lab.run("upgrade", "web", chart, code=1).err
    assert "from history: memory: 1024 is less than the minimum of 2048" in refused


LOOKS = """
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ (lookup("VirtualMachine", "vm").memory | default(512) | int) + 512 }}
  description: "{{ lookup("VirtualMachine", "debian-12-template").name | default("unseen") }}"
"""


def test_what_was_looked_up_is_recorded(lab: Lab) -> None:
    chart = lab.chart(LOOKS)
    lab.run("install", "web", chart)
    assert description(lab).startswith("unseen")
    lab.run("upgrade", "web", chart)
    with lab.store() as store:
        revision = store.revision(lab.key("web"), 2)
    assert str((revision.plan or {})["lookups"]["VirtualMachine/vm"]["memory"]) == "1024"
    assert int(lab.config(lab.vmid("web", "VirtualMachine/vm"))["memory"]) == 1536
    lab.run("upgrade", "web", chart, "--allow-lookup")
    assert description(lab).startswith("debian-12-template")


LOOKS_FOR_ALL = """
kind: Pool
metadata: {{ name: all }}
spec:
  comment: '{sought}'
---
kind: Pool
metadata: {{ name: other }}
"""


@pytest.mark.parametrize(
    ("engine", "sought"),
    [
        ("jinja2", '{% for one in lookup("Pool")["items"] | default([]) %}{{ one.name }} {% endfor %}'),
        ("gotpl", '{{ range (lookup "proxmox.io/v1" "Pool" "" "").items }}{{ .name }} {{ end }}'),
    ],
)
def test_all_of_a_kind_are_looked_up(lab: Lab, engine: str, sought: str) -> None:
    chart = lab.chart(LOOKS_FOR_ALL.format(sought=sought))
    Path(chart, "Chart.yaml").write_text(f"{{apiVersion: v2, name: app, version: 0.1.0, engine: {engine}}}")
    lab.run("apply", "-f", "-", "--set-name", "foreign", stdin="kind: Pool\nmetadata: { name: foreign }\n")

    def comment() -> str:
        return str(lab.state.collection("pools")["all"].get("comment", "")).split(" [")[0].strip()

    lab.run("install", "web", chart)
    assert comment() == ""
    lab.run("upgrade", "web", chart)
    assert comment() == "all other"
    lab.run("upgrade", "web", chart, "--allow-lookup")
    assert comment() == "all foreign other"


GOTPL = """
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ int .Values.memory }}
  cloudInit:
    user: debian
    password: {{ generate "password" "login" (dict "length" 30) | quote }}
    sshKeys: [{{ (generate "ssh-key" "deploy").public | quote }}]
  description: {{ printf "%s %s %v" (randAlphaNum 20) (uuidv4) .Values.pw | quote }}
"""


def gotpl(lab: Lab, source: str) -> str:
    chart = Path(lab.chart(source, values="memory: 1024\npw: x\n"))
    chart.joinpath("Chart.yaml").write_text("{apiVersion: v2, name: app, version: 0.1.0, engine: gotpl}")
    chart.joinpath("values.schema.json").write_text('{"properties": {"pw": {"x-sensitive": true}}}')
    return str(chart)


def test_the_same_in_the_other_dialect(lab: Lab) -> None:
    chart = gotpl(lab, GOTPL)
    flags = ("--set", f"pw={WORD}")
    dry = lab.run("install", "web", chart, *flags, "--dry-run=server", "-o", "json").json
    assert lab.run("install", "web", chart, *flags, "--dry-run=server", "-o", "json").json == dry
    shown = lab.run("install", "web", chart, *flags).text
    text = description(lab).splitlines()[0]
    assert re.fullmatch(rf"\w{{20}} [0-9a-f-]{{36}} {WORD}", text)
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    assert description(lab).splitlines()[0] == text
    shown += lab.run("get", "all", "web").text
    for word in (WORD, text[:20]):
        assert word not in shown
        assert word.encode() not in everything_kept(lab)
    assert len(lab.run("secret", "show", "web", "login").out) == 31


CERTIFICATES = """
{{- $ca := genCA "ca" 365 }}
{{- $cert := genSignedCert "web.example.org" (list "10.0.0.1") (list "web.example.org") 365 $ca }}
kind: VirtualMachine
metadata: { name: vm }
spec:
  node: pve-node1
  template: debian-12-template
  memory: {{ int .Values.memory }}
  description: {{ printf "%s %s %s" (sha256sum $cert.Cert) (htpasswd "joe" "x") ($cert.Key | b64enc) | quote }}
"""


def test_certificates_stay(lab: Lab) -> None:
    chart = gotpl(lab, CERTIFICATES)
    lab.run("install", "web", chart)
    text = description(lab).splitlines()[0]
    assert re.fullmatch(r"[0-9a-f]{64} joe:\$2a\$\S+ LS0tLS1CRUdJTi\S+", text)
    lab.settled("web", chart=chart)
    lab.run("upgrade", "web", chart, "--set", "memory=2048")
    assert description(lab).splitlines()[0] == text
    assert "LS0tLS1CRUdJTi" not in lab.run("get", "all", "web").out


def test_a_generated_secret_is_not_looked_into_in_the_other_dialect(lab: Lab) -> None:
    chart = gotpl(lab, VM.format('description: {{ generate "password" "x" | b64enc }}'))
    assert "is a reference to a secret" in lab.run("template", "web", chart, code=1).err
    chart = gotpl(lab, VM.format('description: {{ sensitive (generate "password" "x") "b64enc" }}'))
    assert "${secret://release/generated/x|b64enc}" in lab.run("template", "web", chart).out
