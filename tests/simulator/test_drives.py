"""Property strings, sizes, tags and volume names as a server writes them."""

from __future__ import annotations

import pytest

from pvehelm.api.schema import Operation, Schema
from pvehelm.simulator.behaviours import drives, properties, storages
from pvehelm.simulator.core import Failure


@pytest.fixture(scope="module")
def config() -> Operation:
    return Schema.load("9.2").operation("PUT", "/nodes/{node}/qemu/{vmid}/config")


@pytest.mark.parametrize(
    ("name", "sent", "stored"),
    [
        (
            "net0",
            "virtio=BC:24:11:00:00:01,firewall=0,bridge=vmbr0",
            "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=0",
        ),
        ("net0", "bridge=vmbr0,model=e1000,macaddr=BC:24:11:00:00:01", "e1000=BC:24:11:00:00:01,bridge=vmbr0"),
        ("net0", "virtio", "virtio"),
        ("scsi0", "ssd=1,discard=on,file=st:1,format=raw", "st:1,discard=on,ssd=1"),
        ("ide2", "none,media=cdrom", "none,media=cdrom"),
    ],
)
def test_rewritten(config: Operation, name: str, sent: str, stored: str) -> None:
    assert drives.show(config, name, drives.parse(config, name, sent)) == stored


def test_empty_cd_drives_are_cd_drives(config: Operation) -> None:
    assert drives.tidy(config, "ide2", "none") == "none,media=cdrom"
    assert drives.tidy(config, "scsi0", "st:1") == "st:1"


@pytest.mark.parametrize(
    ("size", "text"),
    [(1 << 30, "1G"), (3584 << 20, "3584M"), (528 << 10, "528K"), (1000, "1000"), (2 << 40, "2T"), (0, "0T")],
)
def test_sizes(size: int, text: str) -> None:
    assert properties.print_size(size) == text
    assert properties.parse_size(text) == size


@pytest.mark.parametrize(
    ("sent", "options", "stored"),
    [
        ("b,a;B c", {}, "a;b;c"),
        ("b,a;B", {"case_sensitive": True}, "B;a;b"),
        ("b,a,b", {"ordered": True}, "b;a"),
        ("", {}, ""),
    ],
)
def test_tags(sent: str, options: dict[str, bool], stored: str) -> None:
    assert properties.unique_tags(sent, **options) == stored


@pytest.mark.parametrize(
    ("config", "boot"),
    [
        ({}, " "),
        ({"scsi1": "a:1", "ide2": "none,media=cdrom", "net1": "virtio", "net0": "virtio"}, "order=scsi1;ide2;net0"),
        ({"virtio0": "a:1", "scsi3": "a:2", "ide3": "a:3"}, "order=ide3"),
        ({"efidisk0": "a:1", "net2": "virtio"}, "order=net2"),
    ],
)
def test_default_boot_order(config: dict[str, str], boot: str) -> None:
    operation = Schema.load("9.2").operation("PUT", "/nodes/{node}/qemu/{vmid}/config")
    assert drives.default_boot(operation, config) == boot


@pytest.mark.parametrize(
    ("file", "is_cloudinit"),
    [
        ("st:cloudinit", True),
        ("st:100/vm-100-cloudinit.qcow2", True),
        ("lvm:vm-100-cloudinit", True),
        ("st:100/vm-100-disk-0.raw", False),
        ("st:iso/cloudinit-seed.iso", False),
    ],
)
def test_cloudinit_drives(file: str, is_cloudinit: bool) -> None:
    assert drives.is_cloudinit({"file": file}) is is_cloudinit


@pytest.mark.parametrize(
    ("type", "name", "content", "format", "vmid", "base"),
    [
        ("dir", "100/vm-100-disk-0.raw", "images", "raw", 100, False),
        ("nfs", "100/base-100-disk-0.qcow2", "images", "qcow2", 100, True),
        ("dir", "9/base-9-disk-0.raw/101/vm-101-disk-0.qcow2", "images", "qcow2", 101, False),
        ("dir", "iso/debian.iso", "iso", "iso", None, False),
        ("dir", "vztmpl/debian-12_1_amd64.tar.zst", "vztmpl", "tzst", None, False),
        ("dir", "vztmpl/debian-12_1_amd64.tar.gz", "vztmpl", "tgz", None, False),
        ("dir", "backup/vzdump-lxc-200-2024_01_02-03_04_05.tar.gz", "backup", "tar.gz", 200, False),
        ("dir", "import/disk.qcow2", "import", "qcow2", None, False),
        ("dir", "snippets/user.yaml", "snippets", "snippet", None, False),
        ("lvmthin", "vm-100-disk-0", "images", "raw", 100, False),
        ("lvmthin", "base-100-disk-0", "images", "raw", 100, True),
        ("zfspool", "base-100-disk-0/vm-101-disk-0", "images", "raw", 101, False),
        ("zfspool", "subvol-200-disk-0", "images", "subvol", 200, False),
    ],
)
def test_volume_names(type: str, name: str, content: str, format: str, vmid: int | None, base: bool) -> None:
    found = storages.parse_volume({"type": type}, name)
    assert (found["content"], found["format"], found["vmid"], found["base"]) == (content, format, vmid, base)


@pytest.mark.parametrize(
    ("type", "name"), [("dir", "abc"), ("dir", "iso/x.txt"), ("lvmthin", "disk"), ("dir", "100/vm-100-disk-0")]
)
def test_names_that_are_none(type: str, name: str) -> None:
    with pytest.raises(Failure, match="unable to parse"):
        storages.parse_volume({"type": type}, name)


@pytest.mark.parametrize("release", ["8.4", "9.2"])
def test_storage_facts_agree_with_the_schema(release: str) -> None:
    create = Schema.load(release).operation("POST", "/storage")
    kind = create.param("type")
    assert kind is not None
    for name in kind.facts["enum"]:
        facts = storages.types()[name]
        assert set(facts["required"]) <= set(facts["options"])
        assert set(facts["content_default"]) <= set(facts["content_allowed"])
        assert set(facts["required"]) <= set(create.params)
    if release == "9.2":
        assert set.union(*(set(storages.types()[name]["options"]) for name in kind.facts["enum"])) <= set(create.params)
