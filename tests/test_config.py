"""Contexts: precedence, what goes to which host, files that others can't read, and all problems at once."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm import config
from pvehelm.config import Config, ContextConfig, Policy
from pvehelm.contextfile import RECONCILE
from pvehelm.errors import InvalidError, NotFoundError, PvehelmError, UsageError

LAB = ContextConfig(
    "lab",
    host="pve1",
    hosts=("pve2", "pve3"),
    port=8007,
    token_id="root@pam!ci",
    fingerprint="AA:BB",
    namespace="prod",
    policy=Policy(("Storage",)),
    cluster="CC",
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "conf" / "config.yaml")


@pytest.fixture
def lab(path: str) -> str:
    config.add_context(LAB, secret="s3cret", path=path)
    return path


def load(path: str, environ: dict[str, str] | None = None, **flags: Any) -> Config:
    return config.load(path, environ or {}, **flags)


# -- which context ---------------------------------------------------------------------------------------------


def test_without_a_file_it_is_the_simulator(path: str) -> None:
    loaded = load(path)
    assert loaded.context == ContextConfig("simulator")
    assert (loaded.context.is_simulator, loaded.context.namespace, loaded.context.urls) == (True, "default", ())
    assert not Path(path).exists()


def test_first_context_becomes_current(lab: str) -> None:
    loaded = load(lab)
    assert loaded.current == "lab"
    assert loaded.context == LAB._replace(secret="stored")
    assert loaded.credential() == "s3cret"
    assert loaded.context.urls == ("https://pve1:8007", "https://pve2:8007", "https://pve3:8007")
    assert set(loaded.sources.values()) == {"file"}
    config.add_context(ContextConfig("second", host="x"), path=lab)
    assert load(lab).current == "lab"
    config.add_context(ContextConfig("third", host="x"), path=lab, use=True)
    assert load(lab).current == "third"
    config.use_context("second", path=lab)
    contexts, current = config.list_contexts(lab)
    assert ([one.name for one in contexts], current) == (["simulator", "lab", "second", "third"], "second")
    config.remove_context("second", path=lab)
    assert load(lab).current == "simulator"


def test_flag_beats_environment_beats_file(lab: str) -> None:
    config.add_context(ContextConfig("other", host="pve9"), path=lab)
    environ = {"PVEHELM_CONTEXT": "other", "PVEHELM_NAMESPACE": "env"}
    assert load(lab, environ).context.name == "other"
    assert load(lab, environ, context="lab").context.name == "lab"
    assert load(lab, environ).context.namespace == "env"
    assert load(lab, environ, namespace="flag").context.namespace == "flag"
    loaded = load(lab, {"PVEHELM_STORE": "sqlite:////x.db", "PVEHELM_FINGERPRINT": "DD"}, store="sqlite:////y.db")
    assert (loaded.context.store, loaded.context.fingerprint, loaded.context.namespace) == (
        "sqlite:////y.db",
        "DD",
        "prod",
    )
    assert loaded.sources["store"] == "flag"
    assert loaded.sources["fingerprint"] == "PVEHELM_FINGERPRINT"
    assert loaded.sources["namespace"] == "file"


def test_unknown_contexts(lab: str) -> None:
    for flags, environ, where in [
        ({"context": "lba"}, {}, "--context"),
        ({}, {"PVEHELM_CONTEXT": "lba"}, "PVEHELM_CONTEXT"),
    ]:
        with pytest.raises(NotFoundError, match=f"{where}: there is no context 'lba'") as caught:
            load(lab, environ, **flags)
        assert "lab, simulator" in caught.value.hint
    for change in (config.use_context, config.remove_context):
        with pytest.raises(NotFoundError):
            change("lba", path=lab)
    with pytest.raises(InvalidError, match="built in"):
        config.remove_context("simulator", path=lab)


@pytest.mark.parametrize("name", ["", "simulator", " x", "a/b"])
def test_names_that_cannot_be_used(path: str, name: str) -> None:
    with pytest.raises(InvalidError, match="can't be a context's name"):
        config.add_context(ContextConfig(name, host="x"), path=path)


# -- another host ----------------------------------------------------------------------------------------------


def test_another_host_gets_nothing_of_the_context(lab: str) -> None:
    for loaded in (load(lab, {"PVEHELM_HOST": "evil:8007"}), load(lab, host="evil:8007")):
        context = loaded.context
        assert (context.host, context.port, context.hosts) == ("evil", 8007, ())
        assert (context.token_id, context.secret, context.fingerprint, context.cluster) == ("", "", "", "")
        assert context.policy == Policy()
        assert context.namespace == "prod"
        with pytest.raises(InvalidError, match="no secret is known"):
            loaded.credential()


def test_the_same_cluster_by_another_node(lab: str) -> None:
    assert load(lab, host="pve2:8007").context.secret == "stored"
    assert load(lab, host="pve2:9999").context.secret == ""


def test_a_context_by_flag_stays_with_its_host(lab: str) -> None:
    loaded = load(lab, {"PVEHELM_HOST": "elsewhere"}, context="lab")
    assert (loaded.context.host, loaded.credential()) == ("pve1", "s3cret")


def test_everything_by_environment(path: str) -> None:
    environ = {
        "PVEHELM_HOST": "[2001:db8::1]:443,pve2:443",
        "PVEHELM_TOKEN_ID": "ci@pve!x",
        "PVEHELM_TOKEN_SECRET": "t0ken",
        "PVEHELM_CA_FILE": "/ca.pem",
    }
    loaded = load(path, environ)
    assert loaded.context.urls == ("https://[2001:db8::1]:443", "https://pve2:443")
    assert (loaded.context.name, loaded.context.token_id, loaded.context.ca_file) == (
        "environment",
        "ci@pve!x",
        "/ca.pem",
    )
    assert loaded.credential() == "t0ken"
    assert "t0ken" not in repr(loaded)


@pytest.mark.parametrize(
    ("environ", "flags", "login"),
    [
        ({"PVEHELM_USER": "u@pam", "PVEHELM_PASSWORD": "p"}, {}, ("", "u@pam", "p")),
        ({"PVEHELM_TOKEN_SECRET": "t"}, {}, ("root@pam!ci", "", "t")),
        (
            {"PVEHELM_TOKEN_ID": "e@pam!t", "PVEHELM_USER": "e@pam", "PVEHELM_TOKEN_SECRET": "t"},
            {},
            ("e@pam!t", "", "t"),
        ),
        ({"PVEHELM_TOKEN_ID": "e@pam!t", "PVEHELM_PASSWORD": "p"}, {"user": "f@pam"}, ("", "f@pam", "p")),
        ({"PVEHELM_USER": "e@pam", "PVEHELM_TOKEN_SECRET": "t"}, {"token_id": "f@pam!t"}, ("f@pam!t", "", "t")),
        ({"PVEHELM_PASSWORD": "not for a token"}, {}, ("root@pam!ci", "", "s3cret")),
    ],
)
def test_logins(lab: str, environ: dict[str, str], flags: dict[str, str], login: tuple[str, str, str]) -> None:
    loaded = load(lab, environ, **flags)
    assert (loaded.context.token_id, loaded.context.user, loaded.credential()) == login


def test_another_user_does_not_get_the_stored_secret(lab: str) -> None:
    with pytest.raises(InvalidError, match="no secret is known") as caught:
        load(lab, user="someone@pam").credential()
    assert "PVEHELM_PASSWORD" in caught.value.hint


def test_token_and_user_by_flag(lab: str) -> None:
    with pytest.raises(UsageError):
        load(lab, user="u@pam", token_id="u@pam!t")


def test_the_simulator_needs_no_credentials(path: str) -> None:
    environ = {"PVEHELM_TOKEN_ID": "x@pam!t", "PVEHELM_TOKEN_SECRET": "t", "PVEHELM_NAMESPACE": "n"}
    assert load(path, environ).context == ContextConfig("simulator", namespace="n")


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("pve1", ("pve1", (), 8006)),
        ("https://pve1:8006/", ("pve1", (), 8006)),
        ("10.0.0.1:443", ("10.0.0.1", (), 443)),
        ("2001:db8::1", ("2001:db8::1", (), 8006)),
        ("[2001:db8::1]", ("2001:db8::1", (), 8006)),
        ("[2001:db8::1]:1", ("2001:db8::1", (), 1)),
        (" a , b ", ("a", ("b",), 8006)),
    ],
)
def test_hosts(text: str, result: tuple[str, tuple[str, ...], int]) -> None:
    assert config.parse_hosts(text) == result


@pytest.mark.parametrize(
    "text",
    ["", ",", "http://pve1", "a b", "user@host", "pve1:x", "pve1:0", "pve1:70000", "[::1", "[::1]x", "a:1,b:2", "a?b"],
)
def test_bad_hosts(text: str) -> None:
    with pytest.raises(UsageError, match="--host"):
        config.parse_hosts(text)


# -- secrets ---------------------------------------------------------------------------------------------------


def test_files_are_owner_only_and_hold_no_secret(lab: str) -> None:
    folder = Path(lab).parent
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "s3cret" not in Path(lab).read_text()
    assert json.loads((folder / "credentials.json").read_text()) == {"lab": "s3cret"}
    config.add_context(LAB._replace(secret="secret://env/X"), path=lab)
    assert "s3cret" not in (folder / "credentials.json").read_text()
    config.add_context(LAB, secret="again", path=lab)
    config.remove_context("lab", path=lab)
    assert json.loads((folder / "credentials.json").read_text()) == {}


def test_secret_references(path: str, tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("from file\n")
    secret.chmod(0o600)
    for reference, environ in [("secret://env/PW", {"PW": "from env"}), (f"secret://file{secret}", {})]:
        config.add_context(LAB._replace(secret=reference), path=path)
        assert load(path, environ).credential() == f"from {reference.split('/')[2]}"
    secret.chmod(0o640)
    with pytest.raises(InvalidError, match="others may read it"):
        load(path).credential()


@pytest.mark.parametrize(
    ("reference", "what"),
    [
        ("secret://env/NOT_SET", "NOT_SET is not set"),
        ("secret://file/nowhere/token", "/nowhere/token does not exist"),
        ("secret://vault/x", "'vault' is no place"),
        ("stored", "is gone from"),
        ("", "no secret is known"),
    ],
)
def test_missing_secrets(path: str, reference: str, what: str) -> None:
    config.add_context(LAB._replace(secret=reference), path=path)
    with pytest.raises(InvalidError, match=what):
        load(path).credential()


def test_damaged_credentials(lab: str) -> None:
    file = Path(lab).parent / "credentials.json"
    for text in ("{", "[]", '{"lab": 1}'):
        file.write_text(text)
        with pytest.raises(InvalidError, match="damaged"):
            load(lab).credential()
    file.chmod(0o644)
    with pytest.raises(InvalidError, match="others may read"):
        load(lab).credential()


# -- the file --------------------------------------------------------------------------------------------------

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)
CONTEXTS = st.builds(
    ContextConfig,
    name=st.just("x"),
    host=NAMES,
    hosts=st.lists(NAMES, max_size=2).map(tuple),
    port=st.integers(1, 65535),
    token_id=st.just(""),
    user=st.text(max_size=8),
    secret=st.text(max_size=8),
    fingerprint=st.text(max_size=8),
    namespace=NAMES,
    policy=st.builds(Policy, st.lists(NAMES, max_size=2).map(tuple), st.sampled_from(["", *RECONCILE])),
    cluster=st.text(max_size=8),
)


@given(CONTEXTS)
def test_what_is_saved_is_loaded(tmp_path_factory: pytest.TempPathFactory, context: ContextConfig) -> None:
    path = str(tmp_path_factory.mktemp("config") / "config.yaml")
    config.add_context(context, path=path)
    assert config.list_contexts(path)[0][1] == context


def test_yaml_by_hand(path: str) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(
        "current: lab\ncontexts:\n  lab: {host: pve1, port: 8007, policy: {allow_privileged: [Storage]}}\n"
    )
    assert load(path).context == ContextConfig("lab", host="pve1", port=8007, policy=Policy(("Storage",)))
    config.add_context(ContextConfig("b", host="x"), path=path)
    assert load(path).context.name == "lab"
    assert Path(path).read_text().startswith("#")


def test_an_empty_file(path: str) -> None:
    Path(path).parent.mkdir()
    for text in ("", "# nothing\n", "{}", "contexts:\n"):
        Path(path).write_text(text)
        assert load(path).context.is_simulator


def test_all_problems_at_once(path: str) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(
        """current: gone
extra: 1
contexts:
  a: {hots: x, port: "8006", hosts: pve1, host: 1}
  b: [1]
  c: {host: x, policy: {allow: all}, user: u@pam, token_id: u@pam!t}
"""
    )
    with pytest.raises(InvalidError) as caught:
        load(path)
    found = {problem.where.removeprefix(f"{path}: "): problem for problem in caught.value.problems}
    assert found.keys() == {
        "extra",
        "current",
        "contexts.a.hots",
        "contexts.a.port",
        "contexts.a.hosts",
        "contexts.a.host",
        "contexts.b",
        "contexts.c.policy",
        "contexts.c",
    }
    assert found["contexts.a.hots"].hint in ("did you mean 'hosts'?", "did you mean 'host'?")


@pytest.mark.parametrize(
    ("text", "what"),
    [("a: [1\nb: 2\n", ":2:2: "), ("- 1\n", "must be a map"), ("contexts: [1]\n", "configuration is wrong")],
)
def test_broken_files(path: str, text: str, what: str) -> None:
    Path(path).parent.mkdir()
    Path(path).write_text(text)
    with pytest.raises(InvalidError) as caught:
        load(path)
    assert path in str(caught.value)
    assert what in str(caught.value)


def test_unreadable_and_unwritable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidError, match="cannot be read"):
        load(str(tmp_path))
    with pytest.raises(PvehelmError, match="cannot be written"):
        config.add_context(LAB, path=str(tmp_path / "file" / "config.yaml"))


def test_many_writers_lose_nothing(path: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [
            pool.submit(config.add_context, ContextConfig(f"c{number}", host="x"), secret=str(number), path=path)
            for number in range(24)
        ]:
            done.result()
    assert len(config.list_contexts(path)[0]) == 25
    assert load(path, context="c23").credential() == "23"


# -- the cluster's id, directories, env ------------------------------------------------------------------------


def test_cluster_is_remembered(lab: str, tmp_path: Path) -> None:
    loaded = load(lab)
    assert config.known_cluster(loaded) == "CC"
    config.remember_cluster(loaded, "NEW")
    assert config.known_cluster(load(lab)) == "NEW"
    assert load(lab).credential() == "s3cret"
    environ = {"PVEHELM_HOST": "pve9", "PVEHELM_DATA": str(tmp_path / "data")}
    assert config.known_cluster(load(lab, environ)) == ""
    config.remember_cluster(load(lab, environ), "ANON")
    assert config.known_cluster(load(lab, environ)) == "ANON"
    assert config.known_cluster(load(lab, {**environ, "PVEHELM_HOST": "pve8"})) == ""


@pytest.mark.parametrize(
    ("environ", "config_file", "data", "cache"),
    [
        ({"HOME": "/h"}, "/h/.config/pvehelm/config.yaml", "/h/.local/share/pvehelm", "/h/.cache/pvehelm"),
        (
            {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "relative"},
            "/c/pvehelm/config.yaml",
            "/d/pvehelm",
            "/h/.cache/pvehelm",
        ),
        ({"PVEHELM_CONFIG": "/x/my.yaml", "PVEHELM_DATA": "/y", "PVEHELM_CACHE": "/z"}, "/x/my.yaml", "/y", "/z"),
        ({"PVEHELM_CONFIG": "/tmp", "HOME": "/h"}, "/tmp/config.yaml", "/h/.local/share/pvehelm", "/h/.cache/pvehelm"),
    ],
)
def test_directories(environ: dict[str, str], config_file: str, data: str, cache: str) -> None:
    assert (config.config_file(environ), config.data_dir(environ), config.cache_dir(environ)) == (
        config_file,
        data,
        cache,
    )
    assert config.config_dir(environ) == str(Path(config_file).parent)


def test_the_shortcut_agrees_with_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/h")
    for ours, theirs in [
        (config.data_dir, platformdirs.user_data_dir),
        (config.cache_dir, platformdirs.user_cache_dir),
        (config.config_dir, platformdirs.user_config_dir),
    ]:
        assert ours({"HOME": "/h"}) == theirs("pvehelm", appauthor=False)


def test_env(lab: str) -> None:
    environ = {"PVEHELM_KEY": "a very secret key", "PVEHELM_DATA": "/d", "HOME": "/h"}
    shown = config.env(load(lab, environ))
    assert shown["PVEHELM_HOST"] == "pve1:8007,pve2:8007,pve3:8007"
    assert (shown["PVEHELM_KEY"], shown["PVEHELM_TOKEN_SECRET"], shown["PVEHELM_PASSWORD"]) == ("<set>", "<set>", "")
    assert shown["PVEHELM_STORE"] == "sqlite:////d/releases.db"
    assert list(shown) == sorted(shown)
    assert load(lab, {**environ, "PVEHELM_HOST": shown["PVEHELM_HOST"]}).context.secret == "stored"
