"""GitOps: releases that follow a repository; bad commits are told and not applied, the last good one stays."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvehelm.chart import sandbox
from pvehelm.release.policy import Memory
from tests.reconcile.repository import Repository
from tests.release.charts import SCALED
from tests.release.lab import Lab

POOL = "kind: Pool\nmetadata: {{ name: {name} }}\nspec: {{ comment: {comment} }}\n"


class Followed:
    """A release that follows a repository with a chart in it."""

    def __init__(self, lab: Lab, repository: Repository) -> None:
        self.lab, self.repository = lab, repository
        self.file = lab.folder / "syncs.yaml"
        self.repository.chart("charts/app", lab.chart(SCALED))
        self.first = self.repository.commit({"prod.yaml": "memory: 640\n"})
        self.declare("policy: repair, values: [prod.yaml]")

    def declare(self, more: str, what: str = "chart: charts/app") -> None:
        spec = ", ".join(part for part in (f"repository: '{self.repository.address}'", what, more) if part)
        self.file.write_text(f"kind: Sync\nmetadata: {{ name: web }}\nspec: {{ {spec} }}\n")

    def once(self, code: int = 0) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.lab.run(
            "reconcile", "--once", "-f", str(self.file), "-o", "json", code=code
        ).json
        return rows

    def look(self, code: int = 0) -> dict[str, Any]:
        """What came of the sync itself."""
        return self.once(code)[0]

    def memory(self, ref: str = "VirtualMachine/web-0") -> int:
        return int(self.lab.config(self.lab.vmid("web", ref))["memory"])


@pytest.fixture
def web(lab: Lab, repository: Repository) -> Followed:
    return Followed(lab, repository)


def test_a_commit_is_applied_once(web: Followed) -> None:
    row = web.look()
    assert (row["result"], row["commit"], row["revision"]) == ("synced", web.first, 1)
    assert web.memory() == 640
    current = web.lab.history("web")[-1]
    assert web.first[:12] in current["description"]
    assert web.look()["result"] == "in-sync"
    assert len(web.lab.history("web")) == 1


def test_a_new_commit_is_the_next_revision(web: Followed) -> None:
    web.look()
    second = web.repository.commit({"prod.yaml": "memory: 768\n"})
    assert web.look()["commit"] == second
    assert web.memory() == 768
    assert [r["status"] for r in web.lab.history("web")] == ["superseded", "deployed"]
    web.repository.commit({"README": "nothing that matters\n"})
    assert web.look()["result"] == "synced"
    assert len(web.lab.history("web")) == 2
    web.lab.settled("web")
    web.lab.sound("web")


def test_a_changed_declaration_is_applied(web: Followed) -> None:
    web.look()
    web.declare("policy: repair, values: [prod.yaml], set: { memory: 896 }")
    assert web.look()["result"] == "synced"
    assert web.memory() == 896


def test_what_somebody_changes_on_the_server_is_repaired(web: Followed) -> None:
    web.look()
    web.lab.set(web.lab.vmid("web", "VirtualMachine/web-0"), memory=2048)
    sync, look = web.once()
    assert (sync["result"], look["result"]) == ("in-sync", "repaired")
    assert web.memory() == 640


def test_what_somebody_upgrades_by_hand_goes_back_to_the_commit(web: Followed) -> None:
    web.look()
    web.lab.run("upgrade", "web", web.lab.chart(SCALED), "--set", "memory=1024")
    assert web.look()["result"] == "synced"
    assert web.memory() == 640


def test_what_somebody_uninstalls_comes_back(web: Followed) -> None:
    web.look()
    web.lab.run("uninstall", "web", "--yes")
    assert web.look()["result"] == "synced"
    assert len(web.lab.guests()) == 2


def test_observe_says_what_a_commit_would_do(web: Followed) -> None:
    web.declare("values: [prod.yaml]")
    row = web.look()
    assert row["result"] == "drifted"
    assert "2 to create" in row["message"]
    assert not web.lab.guests()


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"prod.yaml": "memory: [\n"}, "prod.yaml"),
        ({"prod.yaml": "memory: much\n"}, "memory"),
        ({"prod.yaml": ""}, "there is no prod.yaml in the repository"),
        ({"charts/app/templates/all.yaml": "{{ nothing }}"}, "nothing"),
        ({"charts/app/Chart.yaml": "name: [\n"}, "Chart.yaml"),
    ],
    ids=["yaml", "type", "gone", "template", "chart"],
)
def test_a_bad_commit_is_told_and_not_applied(web: Followed, files: dict[str, str], what: str) -> None:
    web.look()
    bad = web.repository.commit(files)
    rows = web.once(code=1)
    assert (rows[0]["result"], rows[0]["commit"]) == ("bad", bad)
    assert what in rows[0]["message"] + str(rows[0]["left"])
    assert "pvehelm-git" not in str(rows)
    # What the last good one made stays, and is kept as it is.
    assert rows[1]["result"] == "in-sync"
    assert web.memory() == 640
    (state,) = web.lab.run("reconcile", "status", "-o", "json").json
    assert (state["sync"]["commit"], state["sync"]["bad"]) == (web.repository.git("rev-parse", "HEAD~1"), bad)
    assert f"(bad: {bad[:12]})" in web.lab.run("reconcile", "status").out
    web.repository.git("revert", "--no-edit", "HEAD")
    assert web.look()["result"] == "synced"
    assert len(web.lab.history("web")) == 1


def test_what_destroys_needs_prune(web: Followed) -> None:
    web.look()
    web.repository.commit({"prod.yaml": "memory: 640\nreplicas: 1\n"})
    row = web.look(code=1)
    assert row["result"] == "refused"
    assert "which only repair-and-prune does" in row["message"]
    assert len(web.lab.guests()) == 2
    web.declare("policy: repair-and-prune, values: [prod.yaml]")
    assert web.look()["result"] == "synced"
    assert len(web.lab.guests()) == 1


def test_a_failure_half_way_goes_back_to_the_last_good_commit(web: Followed) -> None:
    web.look()
    vmid = web.lab.vmid("web", "VirtualMachine/web-1")
    web.repository.commit({"prod.yaml": "memory: 768\n"})
    web.lab.fault(f"POST /nodes/*/qemu/{vmid}/config", status=500, times=1)
    web.lab.fault(f"PUT /nodes/*/qemu/{vmid}/config", status=500, times=1)
    row = web.look(code=1)
    assert row["result"] == "failed"
    assert "was undone" in row["message"]
    assert web.memory() == 640
    web.lab.clear_faults()
    assert web.look()["result"] == "synced"
    assert web.memory() == 768
    assert web.memory("VirtualMachine/web-1") == 768


def test_killed_while_a_commit_is_applied(web: Followed) -> None:
    web.look()
    web.repository.commit({"prod.yaml": "memory: 768\n"})
    assert web.lab.killed("outcome", "before", 2, "reconcile", "--once", "-f", str(web.file))
    web.look()
    assert (web.memory(), web.memory("VirtualMachine/web-1")) == (768, 768)
    web.lab.settled("web")
    web.lab.sound("web")


def test_a_repository_that_cannot_be_reached(web: Followed) -> None:
    web.look()
    web.repository.folder.rename(web.repository.folder.with_name("away"))
    web.lab.set(web.lab.vmid("web", "VirtualMachine/web-0"), memory=2048)
    sync, look = web.once(code=1)
    assert (sync["result"], look["result"]) == ("failed", "repaired")
    assert "does not appear to be a git repository" in web.lab.run("reconcile", "status").out


def test_references_resolve_only_where_the_declaration_says_so(web: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS", "1024")
    web.repository.commit({"prod.yaml": "memory: secret://env/CREDENTIALS\n"})
    row = web.look(code=1)
    assert row["result"] == "bad"
    assert not web.lab.guests()
    assert "1024" not in str(row)


def test_paths_stay_in_the_repository(web: Followed, tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("memory: 1024\n")
    (web.repository.folder / "prod.yaml").unlink()
    (web.repository.folder / "prod.yaml").symlink_to(tmp_path / "outside.yaml")
    web.repository.commit({})
    row = web.look(code=1)
    assert (row["result"], "leads out of the repository" in row["message"]) == ("bad", True)


# -- manifests -------------------------------------------------------------------------------------------------------


def test_manifests_are_a_set(lab: Lab, repository: Repository) -> None:
    web = Followed(lab, repository)
    pools = {f"pools/{name}.yaml": POOL.format(name=name, comment="one") for name in ("a", "b")}
    repository.commit(pools)
    web.declare("policy: repair", "manifests: [pools]")
    assert web.look()["result"] == "synced"
    assert {"a", "b"} <= set(lab.state.collection("pools"))
    repository.commit({"pools/a.yaml": POOL.format(name="a", comment="two"), "pools/b.yaml": ""})
    assert web.look(code=1)["result"] == "refused"
    web.declare("policy: repair-and-prune", "manifests: [pools]")
    assert web.look()["result"] == "synced"
    pools_now = lab.state.collection("pools")
    assert "b" not in pools_now
    assert pools_now["a"]["comment"] == "two"


# -- signatures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    made = []
    for name in ("ann", "bob"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
        made.append(tmp_path / name)
    return made[0], made[1]


def signed(repository: Repository, key: Path, files: dict[str, str]) -> str:
    repository.git("config", "gpg.format", "ssh")
    repository.git("config", "user.signingkey", str(key))
    return repository.commit(files, "--gpg-sign")


def test_only_commits_of_the_signers_count(web: Followed, keys: tuple[Path, Path]) -> None:
    ann, bob = keys
    public = Path(f"{ann}.pub").read_text().strip()
    web.declare(f"policy: repair, values: [prod.yaml], signers: ['{public}']")
    row = web.look(code=1)
    assert row["result"] == "bad"
    assert row["message"].endswith("is not signed by an allowed signer; it is not signed, or not rightly")
    assert row["message"].count("commit ") == 1, "said once"
    assert not web.lab.guests()
    good = signed(web.repository, ann, {"prod.yaml": "memory: 704\n"})
    assert (web.look()["commit"], web.memory()) == (good, 704)
    signed(web.repository, bob, {"prod.yaml": "memory: 800\n"})
    row = web.look(code=1)
    assert (row["result"], web.memory()) == ("bad", 704)
    assert "it is signed by somebody else" in str(row["left"])
    assert web.once(code=1)[1]["result"] == "in-sync"


def test_openpgp_signatures(web: Followed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg = ["gpg", "--batch", "--quiet", "--passphrase", ""]
    try:
        subprocess.run([*gpg, "--quick-gen-key", "Ann <ann@example.org>", "ed25519", "sign", "never"], check=True)
        public = subprocess.run(["gpg", "--armor", "--export"], capture_output=True, text=True, check=True).stdout
        web.repository.commit({"prod.yaml": "memory: 704\n"}, "--gpg-sign")
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=True)
    quoted = "\\n".join(public.splitlines())
    web.declare(f'policy: repair, values: [prod.yaml], signers: ["{quoted}"]')
    assert (web.look()["result"], web.memory()) == ("synced", 704)
    web.repository.commit({"prod.yaml": "memory: 800\n"})
    assert (web.look(code=1)["result"], web.memory()) == ("bad", 704)


def test_an_older_commit_that_was_pushed_again_does_not_count(web: Followed, keys: tuple[Path, Path]) -> None:
    ann, _ = keys
    public = Path(f"{ann}.pub").read_text().strip()
    web.declare(f"policy: repair, values: [prod.yaml], signers: ['{public}']")
    old = signed(web.repository, ann, {"prod.yaml": "memory: 704\n"})
    assert web.look()["result"] == "synced"
    new = signed(web.repository, ann, {"prod.yaml": "memory: 768\n"})
    signed(web.repository, ann, {"README": "one more\n"})
    new = signed(web.repository, ann, {"README": "and another\n"})
    assert (web.look()["commit"], web.memory()) == (new, 768)
    web.repository.git("reset", "--quiet", "--hard", old)
    # As an earlier version has left it, which did not write the repository down.
    with web.lab.store() as store:
        memory = Memory(store)
        memory.set_synced(web.lab.key("web"), replace(memory.synced(web.lab.key("web")), source=""))
    row = web.look(code=1)
    assert (row["result"], web.memory()) == ("bad", 768)
    assert row["message"].count(f"commit {old[:12]} does not come after {new[:12]}") == 1, "said once"
    # On top of the old one it is another history all the same.
    signed(web.repository, ann, {"prod.yaml": "memory: 800\n"})
    assert (web.look(code=1)["result"], web.memory()) == ("bad", 768)
    web.declare(f"policy: repair, values: [prod.yaml], signers: ['{public}'], allowRewind: true")
    assert (web.look()["result"], web.memory()) == ("synced", 800)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the files in ``served``."""
    (tmp_path / "served").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path / "served"))

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_published_chart_is_the_one_that_was_declared(
    lab: Lab, repository: Repository, keys: tuple[Path, Path], tmp_path: Path, served: str
) -> None:
    web, (ann, _) = Followed(lab, repository), keys
    lab.run("package", lab.chart(SCALED), "-d", str(tmp_path / "served"))
    (package,) = tmp_path.glob("served/*.tgz")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    public = Path(f"{ann}.pub").read_text().strip()
    chart = f"chart: '{served}/{package.name}'"
    web.declare(f"policy: repair, signers: ['{public}']", chart)
    refused = web.lab.run("reconcile", "--once", "-f", str(web.file), code=1)
    assert "a chart by its address is not covered by the signature of a commit" in refused.err
    signed(web.repository, ann, {"prod.yaml": "memory: 704\n"})
    web.declare(f"policy: repair, values: [prod.yaml], signers: ['{public}'], digest: 'sha256:{digest}'", chart)
    assert (web.look()["result"], web.memory()) == ("synced", 704)
    web.declare(f"policy: repair, digest: 'sha256:{'0' * 64}'", chart)
    row = web.look(code=1)
    assert (row["result"], f"its digest is sha256:{digest}" in str(row)) == ("bad", True)
    web.declare(f"policy: repair, signers: ['{public}'], chartSigners: ['{public}']", chart)
    row = web.look(code=1)
    assert (row["result"], "it is not signed" in str(row)) == ("bad", True), row
    lab.run("package", lab.chart(SCALED), "-d", str(package.parent), "--sign", "--key", str(ann))
    assert web.look()["result"] == "synced"


def test_no_child_that_renders_rests_between_rounds(web: Followed) -> None:
    web.lab.run("install", "x", web.lab.chart(SCALED), "--dry-run")
    assert sandbox._resting
    web.look()
    assert not sandbox._resting
