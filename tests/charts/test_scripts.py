"""The scripts of charts, run by a shell below a folder instead of the root; programs only write their calls down."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.actions.charts import prepare
from pvehelm.chart.chart import load
from pvehelm.chart.render import Capabilities, ReleaseInfo, render
from pvehelm.chart.values import ValueFlag
from tests.helpers import ROOT

PROGRAMS = ("apt-get", "cloud-init", "curl", "docker", "systemctl", "mount", "mountpoint", "resize2fs", "runuser")
STUB = """#!/bin/sh
echo "${0##*/} $*" >> "$LOG"
env | grep '^TOKEN=\\|^K3S_\\|^INSTALL_K3S_' | sort >> "$LOG.environment"
case "${0##*/} $*" in
    *" down") exit "${DOWN:-0}" ;;
    *"/ping -o "*) exit "${PING:-7}" ;;
    curl*) echo 'env | grep ^INSTALL_K3S_EXEC= >> "$LOG.environment"' > "${*##* -o }" ;;
esac
"""


class Machine:
    """A folder that stands for a machine's root."""

    def __init__(self, root: Path) -> None:
        self.root, self.programs, self.log = root / "root", root / "bin", root / "log"
        for folder in ("etc", "srv", "var/lib", "dev/disk/by-id", "run", "root"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1").touch()
        self.programs.mkdir()
        for name in PROGRAMS:
            (self.programs / name).write_text(STUB)
            (self.programs / name).chmod(0o755)

    def run(self, chart: str, values: dict[str, Any], **environment: str) -> list[str]:
        """Runs the scripts of ``chart`` in their order; what they have called, a line each."""
        prepared = prepare(load(ROOT / "charts" / chart), [ValueFlag("file", "v.yaml", yaml.safe_dump(values))])
        made = render(prepared.chart, dict(prepared.values), ReleaseInfo("r", "default"), Capabilities())
        hooks = [one for one in made.resources if one.kind == "GuestExec"]
        assert hooks
        self.log.write_text("")
        Path(f"{self.log}.environment").write_text("")
        for hook in sorted(hooks, key=lambda one: int(one.metadata.get("hookWeight", 0))):
            text = hook.spec["stdin"]
            text = re.sub(r"(?<![\w$.}/])/(etc|srv|var|dev|run|root)/", rf"{self.root}/\1/", text)
            done = subprocess.run(
                hook.spec["command"],
                input=text.replace('[ -b "$disk" ]', '[ -e "$disk" ]'),
                env={"PATH": f"{self.programs}:/usr/bin:/bin", "LOG": str(self.log), **environment},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
        return [line for line in self.log.read_text().splitlines() if not line.startswith(("mountpoint", "resize2fs"))]

    def read(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def environment(self) -> list[str]:
        return Path(f"{self.log}.environment").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def _stack(image: str) -> dict[str, Any]:
    return {"services": {"main": {"image": image, "ports": ["22:22"]}}}


def test_docker_host(machine: Machine) -> None:
    odd = "a'b$c\"d\\e"
    ours = {"STACKS": "none", "name": "x", "IFS": "b", "folder": "/etc"}  # names of the script's own
    variables = {"TOKEN": odd, "N1": 5, **ours}
    values = {"stacks": {"web": _stack("nginx"), "db": _stack("postgres")}, "variables": variables}
    calls = machine.run("docker-host", values)
    ups = [line.split(" -f ")[0] for line in calls if line.endswith("up -d --remove-orphans")]
    assert ups == ["docker compose -p db", "docker compose -p web"]
    # Whatever a Compose makes of .env, what it is given in the environment counts.
    assert set(machine.environment) == {f"TOKEN={odd}"}
    assert "name='x'" in machine.read("srv/stacks/.env").splitlines()
    assert (machine.root / "srv/stacks/.env").stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(machine.read("srv/stacks/web/compose.yaml")) == _stack("nginx")
    # Once more: the daemon is let be. Another configuration: it begins again. A stack that is not wanted goes down.
    assert "systemctl restart docker" not in machine.run("docker-host", values)
    changed = {"stacks": {"web": _stack("nginx")}, "docker": {"daemon": {"log-driver": "journald"}}}
    calls = machine.run("docker-host", changed, DOWN="1")
    assert "systemctl restart docker" in calls
    assert any(line.startswith("docker compose -p db ") and line.endswith(" down") for line in calls)
    # One that could not be taken down is not forgotten.
    assert (machine.root / "srv/stacks/db/compose.yaml").exists()
    machine.run("docker-host", changed)
    assert not (machine.root / "srv/stacks/db").exists()


def test_monitoring(machine: Machine) -> None:
    values = {"grafana": {"password": "gr'a$f"}}
    calls = machine.run("monitoring", values)
    assert [line.split(".yaml ")[1] for line in calls if " compose.yaml" in line.replace("/", " ")] == [
        "up -d --remove-orphans",
        "restart",
    ]
    assert machine.read("etc/monitoring/secret") == "gr'a$f\n"
    assert (machine.root / "etc/monitoring/secret").stat().st_mode & 0o777 == 0o600
    services = yaml.safe_load(machine.read("etc/monitoring/compose.yaml"))["services"]
    assert set(services) == {"prometheus", "grafana", "graphite"}
    jobs = yaml.safe_load(machine.read("etc/monitoring/prometheus.yaml"))["scrape_configs"]
    assert [job["job_name"] for job in jobs] == ["prometheus", "proxmox"]
    assert not any(line.endswith(" restart") for line in machine.run("monitoring", values))


def test_k3s(machine: Machine) -> None:
    values = {
        "servers": {"count": 1},
        "agents": {"count": 0},
        "k3s": {"version": "v1.31.5+k3s1", "disable": ["traefik"]},
    }
    calls = machine.run("k3s", values)
    assert [line.split()[:3] for line in calls if line.startswith("curl")] == [["curl", "-fsSL", "--retry"]]
    wanted = machine.read("etc/rancher/pvehelm")
    assert wanted.startswith("v1.31.5+k3s1 server --cluster-init ")
    assert "--disable=traefik" in wanted
    assert {"K3S_TOKEN=${secret://release/generated/join}", "INSTALL_K3S_VERSION=v1.31.5+k3s1"} <= set(
        machine.environment
    )
    # Nothing is fetched while it is as wanted.
    assert machine.run("k3s", values) == []


def test_a_first_server_that_is_made_anew(machine: Machine) -> None:
    values = {"servers": {"count": 3}, "agents": {"count": 0}}
    machine.run("k3s", values, PING="7")
    assert [line.split()[1] for line in machine.environment if "_EXEC=" in line] == [
        "--cluster-init",
        "--server=https://10.0.40.10:6443",
    ]
    anew = Machine(machine.root.parent / "anew")
    calls = anew.run("k3s", values, PING="0")
    assert [line.split()[4] for line in calls if "/ping" in line] == ["https://10.0.40.11:6443/ping"]
    joins = next(line.split()[1] for line in anew.environment if "_EXEC=" in line)
    assert joins == "--server=https://10.0.40.11:6443"
