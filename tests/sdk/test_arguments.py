"""From keywords to the wire: what is sent, and every problem at once."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.api.arguments import prepare
from pvehelm.api.schema import Operation, Schema
from pvehelm.errors import InvalidError

CREATE = ("POST", "/nodes/{node}/qemu")
CONFIG = ("PUT", "/nodes/{node}/qemu/{vmid}/config")


def operation(key: tuple[str, str], release: str = "9.2") -> Operation:
    return Schema.load(release).operation(*key)


def sent(key: tuple[str, str], path: dict[str, Any], /, **given: Any) -> dict[str, Any]:
    return dict(prepare(operation(key), path, given).params)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"net": {0: {"model": "virtio", "bridge": "vmbr0"}}}, {"net0": "virtio,bridge=vmbr0"}),
        ({"net": {0: "virtio", "31": "e1000"}}, {"net0": "virtio", "net31": "e1000"}),
        ({"net5": "virtio"}, {"net5": "virtio"}),
        ({"net5": {"model": "virtio", "firewall": True}}, {"net5": "virtio,firewall=1"}),
        ({"net": {}}, {}),
        ({"net": {0: None}}, {}),
        ({"numa": True}, {"numa": True}),
        ({"numa": {0: {"cpus": "0-1", "memory": 512}}}, {"numa0": "cpus=0-1,memory=512"}),
        ({"numa": False, "numa1": "cpus=0"}, {"numa": False, "numa1": "cpus=0"}),
        ({"tags": ["a", "b"]}, {"tags": "a,b"}),
        ({"tags": {"b", "a"}}, {"tags": "a,b"}),
        ({"tags": "a;b"}, {"tags": "a;b"}),
        ({"agent": {"enabled": True, "fstrim_cloned_disks": False}}, {"agent": "1,fstrim_cloned_disks=0"}),
        ({"agent": 1}, {"agent": 1}),
        ({"cores": "4"}, {"cores": "4"}),
        ({"onboot": None}, {}),
        ({"amd_sev": {"type": "std"}}, {"amd-sev": "std"}),
        ({"amd-sev": "std"}, {"amd-sev": "std"}),
        ({"delete": ["net1", "tags"]}, {"delete": "net1,tags"}),
    ],
)
def test_what_is_sent(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert sent(CONFIG, {"node": "pve1", "vmid": 100}, **given) == wanted


def test_arrays_are_repeated_keys() -> None:
    pci = [{"id": "8086:0001", "node": "pve1", "path": "0000:00:01.0"}]
    made = sent(("POST", "/cluster/mapping/pci"), {}, id="gpu", map=pci)
    assert made == {"id": "gpu", "map": ["id=8086:0001,node=pve1,path=0000:00:01.0"]}
    made = sent(("POST", "/nodes/{node}/qemu/{vmid}/agent/exec"), {"node": "pve1", "vmid": 100}, command=["ls", "-l"])
    assert made == {"command": ["ls", "-l"]}


def test_path_values_are_encoded() -> None:
    key = ("GET", "/nodes/{node}/storage/{storage}/content/{volume}")
    made = prepare(operation(key), {"node": "pve1", "storage": "local", "volume": "local:iso/a b.iso"}, {})
    assert made.path == "/nodes/pve1/storage/local/content/local%3Aiso%2Fa%20b.iso"


def test_all_problems_at_once() -> None:
    given = {
        "net": {99: "virtio", 0: {"modl": "virtio"}, "x": "y", True: "z"},
        "scsi": "local-lvm:4",
        "core": 2,
        "cores": "many",
        "ostype": "linux",
        "amd_sev": {"type": "std"},
        "amd-sev": "std",
        "memory": {"a": 1},
        "node": "pve2",
    }
    with pytest.raises(InvalidError) as caught:
        prepare(operation(CREATE), {"node": "-"}, given)
    found = {problem.where: problem for problem in caught.value.problems}
    assert set(found) >= {
        "net[99]", "net0", "net['x']", "net[True]", "scsi", "core", "cores", "ostype", "amd-sev", "node", "vmid",
    }  # fmt: skip
    assert found["core"].hint == "did you mean 'cores'?"
    assert found["net0"].hint == "did you mean 'model'?"
    assert "0 to 31" in found["net[99]"].what
    assert "given twice" in found["amd-sev"].what
    assert found["vmid"].what.endswith("not optional")


def test_an_empty_name_is_no_path() -> None:
    with pytest.raises(InvalidError, match="wrong parameters"):
        prepare(operation(("GET", "/pools/{poolid}")), {"poolid": ""}, {})


def test_a_map_needs_a_property_string() -> None:
    with pytest.raises(InvalidError) as caught:
        sent(CONFIG, {"node": "pve1", "vmid": 100}, description={"a": 1})
    assert [problem.where for problem in caught.value.problems] == ["description"]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"type": "node-affinity", "nodes": ["pve1"]}, []),
        ({"type": "node-affinity"}, ["oneOf[node-affinity].nodes"]),
        ({"type": "resource-affinity", "affinity": "positive"}, []),
        ({"nodes": "pve1"}, ["nodes", "resources", "type"]),
    ],
)
def test_parameters_that_depend_on_a_type(given: dict[str, Any], wrong: list[str]) -> None:
    key = ("POST", "/cluster/ha/rules")
    common = {"rule": "together", "resources": ["vm:100", "vm:101"], **given}
    if not wrong:
        assert sent(key, {}, **common)["resources"] == "vm:100,vm:101"
        return
    with pytest.raises(InvalidError) as caught:
        sent(key, {}, **common)
    assert sorted(problem.where for problem in caught.value.problems) == wrong
