"""What a user writes; type checkers accept it. (Not run.)"""

# pyright: strict
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, assert_type

from pvehelm import ProxmoxClient, SyncProxmoxClient
from pvehelm.api.methods import Async, Sync
from pvehelm.api.sdk.nodes import NodesRow
from pvehelm.api.sdk.nodes_qemu import QemuRow, QemuVmid, QemuVmidConfigData
from pvehelm.api.session import SyncTask
from pvehelm.api.task import Task


async def main() -> None:
    async with ProxmoxClient("pve1", token=("root@pam!helm", "secret"), fingerprint="AA:" * 31 + "AA") as pve:
        vm = pve.nodes("pve1").qemu(100)
        assert_type(vm, QemuVmid[Async])
        config = await vm.config.get()
        assert_type(config, QemuVmidConfigData)
        assert_type(config.cores, int | None)
        assert_type(config.net0, str | None)
        assert_type(config.digest, str)
        assert_type(config.numbered("net"), dict[int, Any])
        assert_type(await pve.nodes.get(), list[NodesRow])
        for guest in await pve.nodes("pve1").qemu.get(full=True):
            assert_type(guest, QemuRow)
            print(guest.vmid, guest.name)
        task = await pve.nodes("pve1").qemu.create(
            vmid=101,
            name="web",
            memory="2048",
            cores=2,
            net={0: {"model": "virtio", "bridge": "vmbr0"}, 1: "virtio,bridge=vmbr1"},
            net31="virtio",
            scsi0="local-lvm:8",
            numa=True,
            tags=["a", "b"],
            agent={"enabled": True},
            ostype="l26",
        )
        assert_type(task, Task)
        result = await task.wait(timeout=60)
        print(result.ok)
        async for line in task.log():
            print(line.upper())
        maybe = await vm.config.post(cores=4)
        assert_type(maybe, Task | None)
        assert_type(await vm.config.put(cores=4, delete=["net1"]), None)
        assert_type(await vm.config.update(numa={0: {"cpus": "0-1"}}), None)
        await pve.cluster.ha.rules.create(rule="a", type="node-affinity", resources=["vm:100"], nodes=["pve1"])
        await pve.access.users("a@pve").put(comment="x", enable=1)
        await pve.nodes("pve1").ceph.osd(1).in_.post()
        storage = pve.nodes("pve1").storage("local")
        assert_type(await storage.upload.post(content="iso", file=Path("debian.iso")), Task)
        assert_type(await storage.content.post(vmid=100, filename="vm-100-disk-1.raw", size="4G"), str)
        async for chunk in storage.file_restore.download.stream(volume="backup:1", filepath="Lw=="):
            print(len(chunk))
        async for text in pve.nodes("pve1").syslog.lines(limit=100):
            print(text.strip())
        assert_type(await pve.raw.nodes("pve1").qemu.get(), Any)
        assert_type(await pve.nodes("pve1").qemu.get(raw=True), Any)
        assert_type(await pve.request("GET", "/nodes"), Any)
        print(await asyncio.gather(pve.version.get(), pve.cluster.nextid.get()))
        older = await pve.task("UPID:pve1:0000A1B2:0000C3D4:66000000:qmstart:100:root@pam:")
        assert_type(older, Task)


def blocking() -> SyncProxmoxClient:
    with ProxmoxClient.sync("pve1", user="root@pam", password="secret", release="9.2") as pve:
        vm = pve.nodes("pve1").qemu(100)
        assert_type(vm, QemuVmid[Sync])
        assert_type(vm.config.get(), QemuVmidConfigData)
        task = vm.status.start.post()
        assert_type(task, SyncTask)
        task.wait()
        for line in task.log():
            print(line)
        for text in pve.nodes("pve1").tasks(str(task.upid)).log.lines():
            print(text)
        return pve
