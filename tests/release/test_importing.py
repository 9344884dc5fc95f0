"""Objects that are there become manifests and charts whose first plan changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pvehelm.actions.importing import Selection, import_objects
from tests.helpers import ROOT
from tests.release.lab import Lab, with_context

CASES = yaml.safe_load((ROOT / "tests" / "release" / "imports.yaml").read_text(encoding="utf-8"))
EVERYTHING = str(ROOT / "tests" / "charts" / "every-kind")
TAKING = ("--take-ownership", "all", "--allow-privileged", "all")


def at(document: Any, path: str) -> Any:
    for part in path.split("."):
        document = (document[int(part) :] or [None])[0] if isinstance(document, list) else document.get(part)
        if document is None:
            return None
    return document


def untouched(plan: dict[str, Any]) -> bool:
    """Whether a plan changes no field of anything: at most it marks what it takes over."""
    return not plan["problems"] and not plan["refusals"] and not any(change["fields"] for change in plan["changes"])


def make(lab: Lab, case: dict[str, Any]) -> None:
    for method, path, params in case["calls"]:
        lab.api.ok(method, path, **params)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_was_made_by_hand(lab: Lab, case: dict[str, Any], tmp_path: Path) -> None:
    make(lab, case)
    file, folder = str(tmp_path / "found.yaml"), str(tmp_path / "drawn")
    words = [*case["import"], *(("--scope", case["scope"]) if "scope" in case else ())]
    lab.run("import", *words, "-o", "manifests", file)
    text = Path(file).read_text(encoding="utf-8")
    documents = list(yaml.safe_load_all(text))
    for path, value in case.get("has", {}).items():
        assert at(documents[0], path) == value, f"{path} in\n{text}"
    for path, value in case.get("second", {}).items():
        assert at(documents[1], path) == value, f"{path} in\n{text}"
    assert [path for path in case.get("lacks", ()) if at(documents[0], path) is not None] == [], text
    assert [note for note in case.get("notes", ()) if note not in text] == []
    assert [ref for ref in case.get("refers", ()) if text.count(ref) < len(documents) - 1] == [], text
    assert "do-not-write-me" not in text

    dry = lab.run("apply", "-f", file, *TAKING, "--dry-run", "-o", "json").json
    assert untouched(dry), dry
    before = configs(lab, documents)
    lab.run("apply", "-f", file, *TAKING)
    assert configs(lab, documents) == before
    lab.run("plan", "-f", file, "--detailed-exitcode", "--allow-privileged", "all")
    lab.run("uninstall", "found", "--keep-resources", "--allow-privileged", "all")

    lab.run("import", *words, "-o", "chart", folder, "--name", "drawn")
    lab.run("lint", folder)
    values = yaml.safe_load((Path(folder) / "values.yaml").read_text(encoding="utf-8"))
    if "values" in case:
        assert values == case["values"]
    assert "secret://" not in "".join(path.read_text() for path in Path(folder).rglob("*.yaml")).replace(
        "--set secrets.NAME=secret://env/VARIABLE", ""
    )
    dry = lab.run("install", "drawn", folder, *TAKING, "--dry-run", "-o", "json").json
    assert untouched(dry), dry
    lab.run("install", "drawn", folder, *TAKING)
    lab.run("plan", "upgrade", "drawn", folder, "--detailed-exitcode", "--allow-privileged", "all")
    assert configs(lab, documents) == before


def configs(lab: Lab, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the server has of the guests, but for the marks."""
    found = []
    for document in documents:
        flavour = {"VirtualMachine": "qemu", "Container": "lxc"}.get(document["kind"])
        if flavour:
            spec = document["spec"]
            config = lab.api.get(f"/nodes/{spec['node']}/{flavour}/{spec['vmid']}/config").data
            text = str(config.get("description", "")).partition("<!-- pvehelm")[0].strip()
            found.append(
                {key: value for key, value in config.items() if key not in ("digest", "description")} | {"": text}
            )
    return found


@pytest.mark.parametrize("form", ["manifests", "chart"])
def test_a_cluster_with_every_kind(lab: Lab, form: str, tmp_path: Path) -> None:
    lab.run("install", "all", EVERYTHING, "--allow-privileged", "all", "-n", "default")
    owned = {owned.kind for owned in lab.inventory("all")}
    lab.run("uninstall", "all", "--keep-resources", "--allow-privileged", "all", "-n", "default")
    folder = str(tmp_path / "world")
    lab.run("import", "--all", "--scope", "all", "-o", form, folder)
    verb = ("apply", "-f", folder) if form == "manifests" else ("install", "world", folder)
    plan = lab.run(*verb, *TAKING, "--dry-run", "-o", "json").json
    assert untouched(plan), plan
    assert owned - {change["kind"] for change in plan["changes"]} <= {"Image", "Volume"}
    lab.run(*verb, *TAKING)
    again = ("plan", "-f", folder) if form == "manifests" else ("plan", "upgrade", "world", folder)
    lab.run(*again, "--detailed-exitcode", "--allow-privileged", "all")


def test_one_more_of_a_group_is_one_more_entry(lab: Lab, tmp_path: Path) -> None:
    (case,) = [case for case in CASES if case["name"] == "several-alike"]
    make(lab, case)
    folder = str(tmp_path / "web")
    lab.run("import", "vm", "web-0", "web-1", "web-2", "-o", "chart", folder)
    lab.run("install", "web", folder, *TAKING)
    entry = '{"node":"pve-node1","cpuCores":2,"disk0Size":"4G","memory":1024,"network0Tag":20}'
    lab.run("upgrade", "web", folder, "--set-json", f"web.web-3={entry}")
    assert len(lab.inventory("web")) == 4
    wrong = lab.run("upgrade", "web", folder, "--set", "web.web-3.memroy=4", code=None)
    assert wrong.code
    assert "memroy" in wrong.err


def test_one_request_for_each_guest(lab: Lab, tmp_path: Path) -> None:
    """What a thousand guests cost follows from two counts."""

    def requests(count: int) -> int:
        for vmid in range(300, 300 + count):
            lab.api.post("/nodes/pve-node1/qemu", vmid=vmid, name=f"vm{vmid}", memory=512)
        return int(with_context(lambda ctx: import_objects(ctx, Selection(everything=True))).requests)

    few, more = requests(2), requests(42)
    assert more - few == 40
    assert few < 120


def test_what_goes_wrong(lab: Lab, tmp_path: Path) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=201, name="one", memory=512)
    told = {
        ("import",): (64, "import takes objects, or --all"),
        ("import", "vm/201", "--all"): (64, "import takes objects, or --all"),
        ("import", "201"): (64, "of which kind?"),
        ("import", "vm/999"): (1, "there is no VirtualMachine '999'"),
        ("import", "vm/201", "-o", "chart", "-"): (64, "a chart is a folder"),
        ("import", "vm/201", "-o", "chart", str(tmp_path / "x"), "--name", "no name"): (64, "is no chart name"),
        ("import", "vm/201", "-o", "terraform", str(tmp_path / "y")): (64, "unknown form"),
        ("import", "vm/201", "--owned"): (64, "--owned goes with --all"),
        ("import", "--all", "-l", "nothing-has-this"): (1, "there is nothing to import"),
    }
    for args, (code, words) in told.items():
        result = lab.run(*args, code=None)
        assert (result.code, words in result.err) == (code, True), result
    assert "a node has no manifest" in lab.run("import", "node/pve-node1", code=64).err
    assert "key is required" in lab.run("import", "subscriptions", code=1).err
    file = str(tmp_path / "one.yaml")
    lab.run("import", "vm/201", "-o", "manifests", file)
    assert "already there" in lab.run("import", "vm/201", "-o", "manifests", file, code=64).err
    lab.run("import", "vm/201", "-o", "manifests", file, "--force")
    assert "name: one" in lab.run("import", "vm", "201").out


def test_what_can_not_be_read_is_told_and_the_rest_is_written(lab: Lab, tmp_path: Path) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=201, name="one", memory=512)
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=202, name="two", memory=512)
    faults = {
        "GET /access/users": "403",
        "GET /nodes/pve-node1/qemu/202/pending": "500",
        "GET /cluster/ceph/flags": "500",
    }
    for match, status in faults.items():
        lab.run("simulator", "faults", "add", "--match", match, "--status", status, "--times", "99")
    result = lab.run("import", "--all", "-o", "manifests", str(tmp_path / "all"))
    for words in (
        "not read: Users: ",
        "left out: VirtualMachine/two (VMID 202): it can't be read",
        "left out: CephFlags",
    ):
        assert words in result.err, result
    assert "name: one" in (tmp_path / "all" / "virtualmachines.yaml").read_text()
    assert lab.run("import", "vm", "201", "202", code=1).out.startswith("apiVersion")


def test_what_belongs_to_releases(lab: Lab, tmp_path: Path) -> None:
    lab.api.ok("POST", "/nodes/pve-node1/qemu", vmid=201, name="one", memory=512)
    lab.run("adopt", "vm/201", "--release", "pets")
    result = lab.run("import", "--all")
    assert "default/pets: 1 object of this release" in result.err
    assert "name: one" not in result.out
    assert "name: one" in lab.run("import", "--all", "--owned").out
    assert "# belongs to release default/pets" in lab.run("import", "vm/201").out
