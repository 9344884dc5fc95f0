"""Every chart: linted, rendered with each of its ci/ files, installed, upgraded, rolled back and removed."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pvehelm.simulator.world import World, differences, world
from tests.charts import repo
from tests.helpers import ROOT
from tests.release.lab import Lab

OWN = Path(__file__).parent
ALL = sorted(place.parent for place in (ROOT / "charts").glob("*/Chart.yaml"))
LIBRARIES = [ROOT / "charts/common"]
FIRST_PARTY = [chart for chart in ALL if chart not in LIBRARIES]
EVERY_KIND = OWN / "every-kind"
CHARTS = [*FIRST_PARTY, EVERY_KIND]
#: Debian's shellcheck, where it is installed; not every script uses every variable.
LINTERS = [["shellcheck", "--shell=sh", "--severity=warning", "--exclude=SC2034", "-"]] * bool(
    shutil.which("shellcheck")
)
CI_FILES = [(chart, file) for chart in CHARTS for file in sorted((chart / "ci").glob("*.yaml"))]
#: The kinds that the first release promises.
PROMISED = {
    *("VirtualMachine", "Container", "Pool", "Storage", "Image", "SecurityGroup", "FirewallRules", "FirewallOptions"),
    *("IPSet", "Alias", "HAResource", "HARule", "BackupJob", "User", "Group", "Role", "AccessControl", "Token"),
}


#: What has to be allowed by name: commands in guests, and what reaches beyond a release.
PRIVILEGED = {
    **{name: {"GuestExec"} for name in ("k3s", "postgresql", "docker-host")},
    "monitoring": {"GuestExec", "MetricServer"},
    "network-base": {"Zone", "VNet", "Subnet"},
    "backup-policy": {"BackupJob"},
}


@dataclass(frozen=True)
class Life:
    """A chart's way through its revisions."""

    chart: Path
    first: tuple[str, ...]  # flags of the installation
    changes: tuple[tuple[str, ...], ...]  # flags of each upgrade; all of it can be undone
    allow: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()  # flags of the removal


LIVES = {
    "web-app": Life(
        ROOT / "charts/web-app",
        (),
        (
            ("--set", "replicas=3,web.memory=4096,web.tags={edge}", "--set", "cloudInit.user=admin"),
            ("--set", "ha.enabled=true,ha.keepApart=false,backup.enabled=true"),
            ("--set", "firewall.ssh={192.168.0.0/16},web.vlan=20,web.port=8443,database.memory=2048"),
            ("--set", "ha.enabled=false,backup.enabled=false,firewall.enabled=false"),
        ),
    ),
    "web-app-full": Life(
        ROOT / "charts/web-app",
        ("-f", str(ROOT / "charts/web-app/ci/full-values.yaml")),
        (
            ("--set", "ha.maxRestart=1,web.cores=4"),
            ("--set", "backup.schedule=03:00,firewall.allowFrom={10.9.0.0/16}"),
        ),
    ),
    "single-container": Life(
        ROOT / "charts/single-container",
        (),
        (("--set", "cores=2,memory=1024,swap=0,tags={a,b}"), ("--set", "network.ip=10.0.0.5/24,onboot=false")),
    ),
    "k3s": Life(
        ROOT / "charts/k3s",
        (),
        (
            ("--set", "agents.count=3,k3s.version=v1.31.5+k3s1,firewall.api={10.1.0.0/16}"),
            ("--set", "provision.enabled=false,firewall.enabled=false,backup.enabled=true,servers.memory=8192"),
        ),
        ("--allow-privileged", "GuestExec"),
    ),
    "postgresql": Life(
        ROOT / "charts/postgresql",
        ("--set", "postgresql.password=secret://env/EVERY_KIND_PASSWORD"),
        (
            ("--set", "replicas=2,postgresql.clients={10.9.0.0/16}"),
            ("--set", "firewall.enabled=false,backup.keepDaily=3"),
        ),
        ("--allow-privileged", "GuestExec", "--allow-destroy", "VirtualMachine/web-pg-2"),
        ("--allow-destroy", "VirtualMachine/web-pg-0", "--allow-destroy", "VirtualMachine/web-pg-1"),
    ),
    "docker-host": Life(
        ROOT / "charts/docker-host",
        (),
        (
            ("--set", "replicas=2,variables.TOKEN=secret://env/EVERY_KIND_PASSWORD,firewall.ports[0].port=8080"),
            ("--set", "provision.enabled=false,backup.enabled=true,network.vlan=9"),
        ),
        ("--allow-privileged", "GuestExec", "--allow-destroy", "VirtualMachine/web-docker-1"),
        ("--allow-destroy", "VirtualMachine/web-docker-0"),
    ),
    "monitoring": Life(
        ROOT / "charts/monitoring",
        (),
        (
            ("--set", "metrics.port=2003,prometheus.targets.nodes={10.0.0.11:9100},grafana.port=80"),
            ("--set", "metrics.enabled=false,backup.enabled=true"),
        ),
        ("--allow-privileged", "GuestExec", "--allow-privileged", "MetricServer"),
        ("--allow-destroy", "VirtualMachine/web-monitoring"),
    ),
    "container-fleet": Life(
        ROOT / "charts/container-fleet",
        (),
        (
            (
                "--set",
                "containers.web.memory=256,containers.cache.order=2,containers.cache.ip=10.0.0.9/24,backup.enabled=true",
            ),
        ),
        (),
        ("--allow-destroy", "Container/web-db"),
    ),
    "network-base": Life(
        ROOT / "charts/network-base",
        (),
        (
            (
                "--set",
                "vnets.apps.alias=Web,aliases.monitor=10.0.0.50,groups.web[0].from=monitor,datacenter.manage=true",
            ),
            ("--set", "vnets.data=null,ipsets.admins={10.0.0.0/24,!10.0.0.66}"),
        ),
        tuple(word for kind in ("Zone", "VNet", "Subnet", "FirewallOptions") for word in ("--allow-privileged", kind)),
    ),
    "backup-policy": Life(
        ROOT / "charts/backup-policy",
        (),
        (("--set", "jobs.weekly.schedule=sat 05:00,jobs.weekly.all=true,defaults.keep.daily=2"),),
        ("--allow-privileged", "BackupJob"),
    ),
    "every-kind": Life(
        EVERY_KIND,
        ("--set", "password=secret://env/EVERY_KIND_PASSWORD"),
        (("-f", str(EVERY_KIND / "ci/changed-values.yaml")),),
        ("--allow-privileged", "all"),
    ),
}


def ids(chart: Path) -> str:
    return chart.name


@pytest.fixture(autouse=True)
def password(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERY_KIND_PASSWORD", "correct horse")


@pytest.mark.parametrize("chart", [*CHARTS, *LIBRARIES], ids=ids)
def test_lint(lab: Lab, chart: Path) -> None:
    result = lab.run("lint", "--strict", str(chart))
    assert not re.search(r"\[(WARNING|ERROR)\]", result.text), result


@pytest.mark.parametrize(
    ("chart", "file"), CI_FILES, ids=lambda p: p.parent.parent.name + "-" + p.stem if p.suffix else ""
)
def test_every_ci_file_renders_and_installs(lab: Lab, chart: Path, file: Path) -> None:
    before = world(lab.state)
    assert lab.run("lint", str(chart), "-f", str(file)).code == 0
    rendered = lab.run("template", "ci", str(chart), "-f", str(file)).out
    assert all(d["apiVersion"] == "proxmox.io/v1" for d in yaml.safe_load_all(rendered) if d)
    lab.run("install", "ci", str(chart), "-f", str(file), "--allow-privileged", "all")
    settled(lab, "ci", chart, ("--allow-privileged", "all"))
    lab.run("uninstall", "ci", "--yes")
    assert differences(before, world(lab.state)) == []


@pytest.mark.parametrize("name", LIVES)
def test_life(lab: Lab, name: str) -> None:
    life = LIVES[name]
    chart = str(life.chart)
    empty = world(lab.state)
    lab.run("install", "web", chart, *life.first, *life.allow)
    settled(lab, "web", life.chart, life.allow)
    lab.sound("web")
    first, owned = world(lab.state), fields(lab)
    for change in life.changes:
        before = world(lab.state)
        lab.run("upgrade", "web", chart, *change, *life.allow, "--yes")
        settled(lab, "web", life.chart, life.allow)
        lab.sound("web")
        assert differences(before, world(lab.state)), f"{change} changed nothing"
    lab.run("rollback", "web", "1", "--yes", *life.allow)
    assert lab.run("diff", "web", "--detailed-exitcode").code == 0
    assert fields(lab) == owned
    assert differences(first, world(lab.state)) == []
    last = lab.history("web")[-1]
    assert (last["description"], last["rollback_revision"]) == ("Rollback to 1", 1)
    lab.sound("web")
    lab.run("uninstall", "web", "--yes", *life.remove)
    lab.sound()
    assert differences(empty, world(lab.state)) == []
    assert lab.run("list", "-o", "json").json == []


def test_what_only_grows(lab: Lab) -> None:
    lab.run("install", "web", str(EVERY_KIND), "--allow-privileged", "all")
    lab.run(
        "upgrade", "web", str(EVERY_KIND), "--allow-privileged", "all", "-f", str(EVERY_KIND / "ci/grown-values.yaml")
    )
    settled(lab, "web", EVERY_KIND, ("--allow-privileged", "all"))
    result = lab.run("rollback", "web", "1", "--yes", "--allow-privileged", "all", code=1)
    assert result.err.count("can't shrink") == 4, result


@pytest.mark.parametrize("value", ["mount={size: 2G, path: /var/lib/data, backup: false}", "text="])
def test_small_changes_settle(lab: Lab, value: str) -> None:
    key, _, text = value.partition("=")
    lab.run("install", "web", str(EVERY_KIND), "--allow-privileged", "all")
    file = lab.folder / "values.yaml"
    file.write_text(yaml.safe_dump({"ct": {key: yaml.safe_load(text) or ""}}))
    lab.run("upgrade", "web", str(EVERY_KIND), "-f", str(file), "--allow-privileged", "all")
    settled(lab, "web", EVERY_KIND, ("--allow-privileged", "all"))


def test_a_volume_put_back_before_the_restart(lab: Lab) -> None:
    chart = str(ROOT / "charts/single-container")
    lab.run("install", "box", chart)
    for size in ("2G", "", "2G"):
        lab.run("upgrade", "box", chart, "--set", f"data.size={size}")
        settled(lab, "box", ROOT / "charts/single-container")


def test_what_an_administrator_changed_survives(lab: Lab) -> None:
    chart = str(ROOT / "charts/web-app")
    lab.run("install", "web", chart)
    vmid, ct = lab.vmid("web", "VirtualMachine/web-web-0"), lab.vmid("web", "Container/web-db")
    lab.set(vmid, protection=0, startup="order=7", scsi1="local-lvm:4", memory=8192)
    lab.set(ct, nameserver="10.0.0.53", memory=4096)
    lab.api.ok("POST", "/cluster/firewall/aliases", name="mine", cidr="10.0.0.1")
    shown = lab.run("diff", "web", "--detailed-exitcode", code=2).out
    assert "memory: 8192 -> 2048" in shown
    assert "memory: 4096 -> 1024" in shown
    assert "startup" not in shown
    assert "scsi1" not in shown
    lab.run("upgrade", "web", chart, "--set", "replicas=3")
    lab.run("rollback", "web", "1", "--yes")
    assert lab.run("diff", "web", "--detailed-exitcode").code == 0
    config = lab.config(vmid)
    assert str(config["memory"]) == "2048"
    assert config["startup"] == "order=7"
    assert config["scsi1"].startswith("local-lvm:vm-")
    assert lab.config(ct)["nameserver"] == "10.0.0.53"
    assert lab.api.ok("GET", "/cluster/firewall/aliases")[0]["name"] == "mine"


def test_web_app_is_there_several_times(lab: Lab) -> None:
    chart = str(ROOT / "charts/web-app")
    everything = ("--set", "nodes={pve-node1,pve-node2},web.storage=shared-nfs,ha.enabled=true,backup.enabled=true")
    places = [("production-web-1", "default"), ("production-web-2", "default"), ("web", "shop"), ("web", "default")]
    for name, namespace in [*places, ("a.b", "default"), ("a-b", "default"), ("x" * 53, "default")]:
        lab.run("install", name, chart, *everything, "-n", namespace, "--create-namespace")
        assert lab.run("diff", name, "-n", namespace, "--detailed-exitcode").code == 0


def test_every_kind_uses_every_kind(lab: Lab) -> None:
    rendered = lab.run("template", "web", str(EVERY_KIND)).out
    used = {document["kind"] for document in yaml.safe_load_all(rendered) if document}
    assert used == PROMISED


@pytest.mark.parametrize("chart", FIRST_PARTY, ids=ids)
def test_first_party_charts_need_no_other_permission(lab: Lab, chart: Path) -> None:
    needed = PRIVILEGED.get(chart.name, set())
    result = lab.run("install", "web", str(chart), "--dry-run", code=None)
    assert "Plan: " in result.out
    assert set(re.findall(r"--allow-privileged (\w+)", result.text)) == needed
    for kind in needed:
        assert f"--allow-privileged {kind}" in (chart / "README.md").read_text()


@pytest.mark.parametrize("chart", FIRST_PARTY, ids=ids)
def test_first_party_charts_are_complete(chart: Path) -> None:
    for name in ("README.md", "values.yaml", "values.schema.json", "templates/NOTES.txt", "icon.svg"):
        assert (chart / name).is_file(), f"{chart.name} has no {name}"
    assert list((chart / "ci").glob("*.yaml"))


@pytest.mark.parametrize("chart", ALL, ids=ids)
def test_every_chart_has_tests(chart: Path) -> None:
    assert list((chart / "tests").glob("*_test.yaml"))


@pytest.mark.parametrize("chart", ALL, ids=ids)
def test_what_charts_hold_of_others_is_as_it_is_there(lab: Lab, chart: Path) -> None:
    definition = (chart / "Chart.yaml").read_text()
    hint = "run python -m tests.charts.repo"
    assert repo.with_icon(definition, chart / "icon.svg") == definition, hint
    assert repo.outdated(chart) == [], hint
    if chart not in LIBRARIES:
        lab.run("schema", "values", str(chart), "--check")
        lab.run("chart", "docs", str(chart), "--check")


@pytest.mark.parametrize(("chart", "file"), [(c, f) for c, f in CI_FILES if c.name in PRIVILEGED], ids=str)
def test_scripts_are_scripts(lab: Lab, chart: Path, file: Path) -> None:
    shell = shutil.which("dash") or "sh"
    for flags in ((), ("-f", str(file))):
        rendered = lab.run("template", "x", str(chart), *flags).out
        for document in yaml.safe_load_all(rendered):
            if document and document["kind"] == "GuestExec":
                for check in ([shell, "-n"], *LINTERS):
                    done = subprocess.run(check, input=document["spec"]["stdin"], capture_output=True, text=True)
                    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("chart", ALL, ids=ids)
def test_suites_hold_for_8_4(lab: Lab, chart: Path) -> None:
    result = lab.run("chart", "test", str(chart), "--pve-version", "8.4", code=None)
    assert result.code == 0, result


@pytest.mark.parametrize("chart", LIBRARIES, ids=ids)
def test_suites_of_libraries_hold(lab: Lab, chart: Path) -> None:
    result = lab.run("chart", "test", str(chart), code=None)
    assert result.code == 0, result


def settled(lab: Lab, release: str, chart: Path, allow: tuple[str, ...] = ()) -> None:
    """The second plan is empty, and the same upgrade writes no revision."""
    result = lab.run("diff", release, "--detailed-exitcode", code=None)
    assert result.code == 0, result
    before = lab.history(release)
    again = lab.run("upgrade", release, str(chart), *allow)
    assert "nothing to do" in again.text, again
    assert lab.history(release) == before


def fields(lab: Lab) -> World:
    return {ref: dict(owned.fields) for ref, owned in lab.inventory("web").entries.items()}
