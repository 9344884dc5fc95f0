"""The pipelines of docs/publishing.md, run by a shell: git goes to a repository here, object storage is a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docs import examples
from tests.helpers import ROOT

PAGE = ROOT / "docs/publishing.md"
AWS = r"""
# aws s3 sync|cp FROM TO: s3://my-charts is the folder $BUCKET
shift; verb=$1 from=${2/s3:\/\/my-charts/$BUCKET} to=${3/s3:\/\/my-charts/$BUCKET}
mkdir -p "$(dirname "$to")"
if [ "$verb" = cp ]; then cp "$from" "$to"; exit; fi
mkdir -p "$to"
case "$*" in
    *'--include index.yaml'*) cp "$from"/index.yaml "$to" 2>/dev/null || true ;;
    *'--exclude index.*'*) cp "$from"/*.tgz "$to" ;;
    *) cp -r "$from"/. "$to" ;;
esac
"""

Shell = Callable[..., None]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Runs a script where charts/ is, with pvehelm, git and aws as a pipeline has them."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("pvehelm", f'exec {sys.executable} -m pvehelm "$@"'), ("aws", AWS)):
        (tools / name).write_text(f"#!/bin/bash\n{text}\n")
        (tools / name).chmod(0o755)
    for name in ("single-container", "docker-host"):
        shutil.copytree(ROOT / "charts" / name, tmp_path / "work/charts" / name)
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "git/me/infra.git")], check=True)
    (tmp_path / "gitconfig").write_text(f'[url "file://{tmp_path}/git/"]\n\tinsteadOf = https://git.example.org/\n')
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PVEHELM_", "GIT_"))},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PVEHELM_DATA": str(tmp_path / "data"),
        "PVEHELM_CONFIG": str(tmp_path / "config.yaml"),
        "PVEHELM_CACHE": str(tmp_path / "cache"),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "BUCKET": str(tmp_path / "bucket"),
    }

    def run(script: str, **variables: str) -> None:
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=tmp_path / "work",
            env={**environment, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    return run


def block(language: str, beginning: str) -> str:
    (found,) = [b.text for b in examples.blocks(PAGE) if b.language == language and b.text.startswith(beginning)]
    return found


def published(folder: Path, branch: str) -> set[str]:
    repository = folder / "git/me/infra.git"
    listed = subprocess.run(
        ["git", "-C", str(repository), "ls-tree", "-r", "--name-only", branch], capture_output=True, text=True
    )
    return set(listed.stdout.split())


PACKAGES = {"single-container-0.1.0.tgz", "docker-host-0.1.0.tgz"}


def test_github_pages(shell: Shell, tmp_path: Path) -> None:
    workflow = yaml.safe_load(block("yaml", "# .github"))
    (script,) = [s["run"] for s in workflow["jobs"]["publish"]["steps"] if s.get("name") == "Package and push"]
    script = script.replace("${{ github.repository }}", "me/infra").replace("github.com", "git.example.org")
    for _ in range(2):
        shell(script)
        assert published(tmp_path, "gh-pages") >= {*PACKAGES, "index.yaml", "index.html", "sparse/index.json"}
    log = ["git", "-C", str(tmp_path / "git/me/infra.git"), "rev-list", "--count", "gh-pages"]
    assert int(subprocess.run(log, capture_output=True, text=True, check=True).stdout) == len(PACKAGES)


def test_gitlab_pages(shell: Shell, tmp_path: Path) -> None:
    pipeline = yaml.safe_load(block("yaml", "# .gitlab"))
    steps = [s for s in pipeline["publish"]["script"] if not s.startswith(("pip ", "git config"))]
    shell(
        "\n".join(steps),
        CI_SERVER_HOST="git.example.org",
        CI_PROJECT_PATH="me/infra",
        CI_PAGES_URL="https://me.example.org/infra",
    )
    assert published(tmp_path, "charts") >= {*PACKAGES, "index.yaml", "index.html"}
    shell("git clone -q -b charts https://git.example.org/me/infra.git site")
    (tmp_path / "work/site/public").mkdir()
    shell("cd site\n" + "\n".join(pipeline["pages"]["script"]))
    entries = yaml.safe_load((tmp_path / "work/site/public/index.yaml").read_text())["entries"]
    assert entries["docker-host"][0]["urls"] == ["https://me.example.org/infra/docker-host-0.1.0.tgz"]


def test_object_storage(shell: Shell, tmp_path: Path) -> None:
    script = block("sh", "aws s3 sync")
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "index.yaml").write_text("apiVersion: v1\nentries: {}\n")
    shell(script)
    assert {place.name for place in bucket.glob("*.tgz")} == PACKAGES
    chart = tmp_path / "work/charts/docker-host/Chart.yaml"
    chart.write_text(chart.read_text().replace("version: 0.1.0", "version: 0.2.0"))
    shutil.rmtree(tmp_path / "work/site")
    shell(script)
    entries = yaml.safe_load((bucket / "index.yaml").read_text())["entries"]
    assert [entry["version"] for entry in entries["docker-host"]] == ["0.2.0", "0.1.0"]
    assert [entry["version"] for entry in entries["single-container"]] == ["0.1.0"]
    assert (bucket / "sparse/index.json").is_file()
