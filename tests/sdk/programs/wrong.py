"""Calls that type checkers reject, each on a line of its own that says so. (Not run.)"""

# pyright: strict
# ruff: noqa: B018
from __future__ import annotations

from pvehelm import ProxmoxClient


async def main(pve: ProxmoxClient) -> None:
    vm = pve.nodes("pve1").qemu(100)
    await pve.node.get()  # wrong: no such segment
    await pve.nodes("pve1").qemus.get()  # wrong: no such segment
    await pve.nodes.qemu.get()  # wrong: a node is needed first
    await pve.nodes("pve1").status()  # wrong: a path is no method
    await pve.nodes("pve1").put()  # wrong: no such method
    await pve.version.create()  # wrong: no such method
    await pve.nodes([1]).get()  # wrong: no name of a node
    await vm.config.get(curent=True)  # wrong: no such parameter
    await vm.config.get(current="yes")  # wrong: no boolean
    await vm.config.get("current")  # wrong: keywords only
    await pve.nodes("pve1").qemu.post(name="a")  # wrong: vmid is missing
    await pve.nodes("pve1").qemu.post(vmid=100, coress=2)  # wrong: no such parameter
    await pve.nodes("pve1").qemu.post(vmid="a hundred")  # wrong: no number
    await pve.nodes("pve1").qemu.post(vmid=100, net32="virtio")  # wrong: no such index
    await pve.nodes("pve1").qemu.post(vmid=100, net=["virtio"])  # wrong: a map by index
    await pve.nodes("pve1").qemu.post(vmid=100, net={"0": "virtio"})  # wrong: a map by number
    await pve.nodes("pve1").qemu.post(vmid=100, ostype="linux")  # wrong: not one of the words
    await pve.nodes("pve1").qemu.post(vmid=100, agent=["enabled"])  # wrong: no property string
    await pve.cluster.ha.rules.create(rule="a")  # wrong: type is missing
    await pve.nodes("pve1").storage("local").upload.post(content="iso")  # wrong: file is missing
    vm.config.get().cores  # wrong: not awaited
    (await vm.config.get()).corse  # wrong: no such key
    (await vm.config.get()).cores + 1  # wrong: may be None
    (await vm.config.put(cores=2)).wait()  # wrong: no task
    (await vm.status.start.post()).await_()  # wrong: no such method of a task
    for _ in pve.nodes("pve1").syslog.lines():  # wrong: an asynchronous iterator
        pass


def blocking() -> None:
    pve = ProxmoxClient.sync("pve1", tokn="x")  # wrong: no such argument
    ProxmoxClient("pve1", port="8006")  # wrong: no number
    ProxmoxClient()  # wrong: no host
    pve.nodes("pve1").qemu(100).status.start.post().wait().okay  # wrong: no such attribute
    pve.cluster.nextid.get().nothing  # wrong: no such attribute
