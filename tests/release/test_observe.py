"""What a guest may say of its addresses."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import Any

import pytest

from pvehelm.release.addresses import barred, configured, is_usable
from pvehelm.release.reach import connect


@pytest.mark.parametrize("address", ["10.0.0.7", "192.0.2.1", "fd00::7", "::ffff:10.0.0.7"])
def test_an_address_to_reach_a_guest_by(address: str) -> None:
    assert is_usable(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "224.0.0.1",
        "255.255.255.255",
        "0.1.2.3",
        "100.100.100.200",
        "fd00:ec2::254",
        "169.254.1.1",
        "fe80::1%net0",
        "0.0.0.0",
        "nope",
    ],
)
def test_an_address_that_leads_elsewhere(address: str) -> None:
    assert not is_usable(address)


def test_this_machine_itself_is_not_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(PermissionError, match="own"):
        connect("127.0.0.1", server.getsockname()[1], 1.0)


@pytest.mark.parametrize(
    ("fields", "device", "found"),
    [
        ({"net0": {"ip": "10.0.0.5/24", "ip6": "fd00::5/64"}}, "net0", ["10.0.0.5", "fd00::5"]),
        ({"net1": {"bridge": "vmbr0"}, "ipconfig1": {"ip": "10.0.0.6/24", "ip6": "auto"}}, "net1", ["10.0.0.6"]),
        ({"net0": {"ip": "dhcp"}}, "net0", []),
        ({"net0": "virtio"}, "net0", []),
    ],
)
def test_what_the_configuration_gives_a_device(fields: dict[str, Any], device: str, found: list[str]) -> None:
    assert configured(fields, device) == found


def test_addresses_of_others_in_either_dress() -> None:
    others = {ip_address("10.0.0.1"): "node pve1"}
    assert barred("10.0.0.1", others) == "which is that of node pve1"
    assert barred("::ffff:10.0.0.1", others) == "which is that of node pve1"
    assert barred("64:ff9b::a00:1", others) == "which is that of node pve1"
    assert barred("10.0.0.2", others) == ""
