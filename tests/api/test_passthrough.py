"""What reaches the host is privileged, however it is written; what stays within storages and mappings is not."""

from __future__ import annotations

import pytest

from pvehelm.api.kinds import Kinds
from pvehelm.api.schema import Schema
from pvehelm.chart.manifest import parse

KINDS = Kinds.load(Schema.load("9.2"))


def privileged(kind: str, spec: str) -> tuple[str, ...]:
    (resource,) = parse(f"kind: {kind}\nmetadata: {{ name: one }}\nspec: {{ node: pve1, {spec} }}\n", file="x")
    return tuple(KINDS.get(kind).lower(resource, lambda ref: "100").privileged)


@pytest.mark.parametrize(
    ("kind", "spec", "names"),
    [
        ("Container", "mounts: { mp0: { volume: /etc, path: /x } }", ("mp0",)),
        ("Container", 'mp1: "/root,mp=/y"', ("mp1",)),
        ("Container", 'mp2: "volume=/root,mp=/y"', ("mp2",)),
        ("Container", "dev0: /dev/sda", ("dev0",)),
        ("Container", "hookscript: local:snippets/x.sh", ("hookscript",)),
        ("Container", "mounts: { mp0: { storage: local-lvm, size: 1G, path: /srv } }", ()),
        ("Container", "image: /root/x.tar.zst, password: /not-a-path", ("ostemplate",)),
        ("Container", "features: { nesting: true }, rootfs: { storage: local-lvm, size: 1G }", ()),
        ("VirtualMachine", "args: -device foo", ("args",)),
        ("VirtualMachine", "scsi0: /dev/sda", ("scsi0",)),
        ("VirtualMachine", "disks: [{ slot: scsi1, file: /dev/sdb }]", ("scsi1",)),
        ("VirtualMachine", "scsi2: { file: 'local-lvm:0', import-from: /etc/shadow }", ("scsi2",)),
        ("VirtualMachine", 'hostpci0: "0000:01:00.0,pcie=1"', ("hostpci0",)),
        ("VirtualMachine", "hostpci0: { mapping: gpu }", ()),
        ("VirtualMachine", "hostpci0: { mapping: gpu, romfile: x.bin }", ("hostpci0",)),
        ("VirtualMachine", 'usb0: "host=1-1", usb1: "host=spice,usb3=1", usb2: { mapping: key }', ("usb0",)),
        ("VirtualMachine", "serial0: /dev/ttyS0, serial1: socket, parallel0: /dev/parport0", ("serial0", "parallel0")),
        ("VirtualMachine", 'rng0: "source=/dev/urandom", ide2: "local:iso/x.iso,media=cdrom"', ()),
    ],
)
def test_what_reaches_the_host(kind: str, spec: str, names: tuple[str, ...]) -> None:
    assert privileged(kind, spec) == names
