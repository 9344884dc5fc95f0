"""The roles of the quick start are enough for charts/web-app, on each release, over HTTPS with a token."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.docs.examples import blocks
from tests.helpers import ROOT
from tests.release.host import Host
from tests.release.lab import Lab

QUICK_START = ROOT / "docs" / "quick-start.md"
WEB_APP = str(ROOT / "charts/web-app")


@pytest.fixture(params=["8.4", "9.2"])
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(lab: Lab, release: str) -> Iterator[None]:
    """A served simulator; two contexts, ``root`` and the quick start's token, which is the current one."""
    served = Host(lab, "--pve-version", release, "--state", str(lab.folder / "served.db"))
    try:
        served.context("root")
        secret = [granted for line in pveum() if (granted := give(lab, line))]
        assert len(secret) == 1
        served.add("lab", "--token-id", "pvehelm@pve!cli", secret=secret[0])
        yield
    finally:
        served.stop()


def pveum() -> list[list[str]]:
    """The pveum commands of the quick start's block that makes the token, as words."""
    (block,) = [b.text for b in blocks(QUICK_START) if b.language == "sh" and "pveum user token" in b.text]
    return [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("pveum ")]


def give(lab: Lab, words: list[str]) -> str:
    """One of them as the API call it is; the token's secret if it makes one."""
    options = dict(pairwise(words))
    call: tuple[str, ...]
    match words:
        case ["role", "add", name, *_]:
            call = ("post", "access/roles", f"roleid={name}", f"privs={options['--privs']}")
        case ["user", "add", name, *_]:
            call = ("post", "access/users", f"userid={name}")
        case ["acl", "modify", path, *_]:
            call = ("put", "access/acl", f"path={path}", f"users={options['--users']}", f"roles={options['--roles']}")
        case ["user", "token", "add", user, token, *_]:
            call = ("post", f"access/users/{user}/token/{token}", f"privsep={options['--privsep']}")
        case _:
            raise AssertionError(f"the test knows no pveum {' '.join(words)}")
    result = lab.run("api", *call, "--context", "root", "-o", "json")
    return str(result.json["value"]) if "token" in words else ""


@pytest.mark.usefixtures("host")
def test_the_roles_are_enough(lab: Lab) -> None:
    lab.run("install", "web", WEB_APP)
    lab.run("upgrade", "web", WEB_APP, "--set", "replicas=3,web.memory=4096,backup.enabled=true")
    nodes = "nodes={pve-node1,pve-node2,pve-node3},web.storage=shared-nfs"
    lab.run("upgrade", "web", WEB_APP, "--set", f"{nodes},ha.enabled=true")
    assert lab.run("diff", "web", "--detailed-exitcode").code == 0
    lab.run("rollback", "web", "1", "--yes")
    lab.run("uninstall", "web", "--yes")
    assert lab.run("list", "-o", "json").json == []


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("missing", ["ChartGuests", "ChartStorage", "ChartNetwork", "ChartPools", "ChartCluster"])
def test_each_role_is_needed(lab: Lab, missing: str) -> None:
    path = next(words[2] for words in pveum() if words[:2] == ["acl", "modify"] and missing in words)
    taken = ("delete=1", f"path={path}", "users=pvehelm@pve", f"roles={missing}")
    lab.run("api", "put", "access/acl", *taken, "--context", "root")
    result = lab.run("install", "web", WEB_APP, code=1)
    assert "Traceback" not in result.text


@pytest.mark.usefixtures("host")
def test_confined_to_a_pool(lab: Lab) -> None:
    root = ("--context", "root")
    lab.run("api", "put", "access/acl", "delete=1", "path=/vms", "users=pvehelm@pve", "roles=ChartGuests", *root)
    lab.run("api", "put", "access/acl", "path=/pool/shop", "users=pvehelm@pve", "roles=ChartGuests,ChartPools", *root)
    lab.run("api", "post", "pools", "poolid=shop", *root)
    lab.run("api", "put", "pools", "poolid=shop", "vms=9000", *root)
    lab.run("install", "web", WEB_APP, "-n", "shop")
    lab.run("upgrade", "web", WEB_APP, "-n", "shop", "--set", "replicas=3,web.memory=4096")
    assert lab.run("diff", "web", "-n", "shop", "--detailed-exitcode").code == 0
    lab.run("uninstall", "web", "-n", "shop", "--yes")
