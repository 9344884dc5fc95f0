"""What a plan's credentials may not do is said before any call."""

from __future__ import annotations

from typing import Any

import pytest

from pvehelm.api import rights
from pvehelm.api.kind import Step
from pvehelm.api.schema import Schema

EVERYTHING = {"/": dict.fromkeys(["Sys.Audit", "Sys.Modify", "VM.Allocate", "SDN.Allocate", "Datastore.Allocate"], 1)}


def told(kind: str, step: Step, permissions: Any, who: str = "joe@pve!ci") -> list[str]:
    return [p.what for p in rights.problems(Schema.load("9.2"), [("X/x", kind, [step])], permissions, who)]


@pytest.mark.parametrize(
    ("kind", "method", "path", "params", "permissions", "words"),
    [
        ("Zone", "POST", "/cluster/sdn/zones", {"zone": "z"}, {}, "lacks SDN.Allocate on /sdn/zones"),
        ("Zone", "POST", "/cluster/sdn/zones", {"zone": "z"}, EVERYTHING, ""),
        ("Zone", "PUT", "/cluster/sdn/zones/z", {}, {"/sdn/zones/z": {"SDN.Allocate": 0}}, ""),
        ("Zone", "PUT", "/cluster/sdn/zones/z", {}, {"/sdn/zones": {"SDN.Allocate": 0}}, "lacks SDN.Allocate"),
        ("ACMEAccount", "POST", "/cluster/acme/account", {}, EVERYTHING, "only root@pam"),
        ("User", "PUT", "/access/password", {"userid": "a@pve"}, EVERYTHING, "a token may not"),
        (
            "VirtualMachine",
            "POST",
            "/nodes/a/qemu",
            {"vmid": "${vmid:VirtualMachine/x}"},
            {},
            "VM.Allocate on /vms/new",
        ),
        ("VirtualMachine", "POST", "/nodes/a/qemu", {"vmid": 7, "pool": "p"}, {"/pool/p": {"VM.Allocate": 1}}, ""),
        ("VirtualMachine", "PUT", "/nodes/a/qemu/7/config", {"args": "-x"}, EVERYTHING, "only root@pam may set args"),
        ("VirtualMachine", "PUT", "/nodes/a/qemu/7/config", {"serial0": "/dev/x"}, EVERYTHING, "may set serial0"),
        ("Container", "PUT", "/nodes/a/lxc/7/config", {"features": "nesting=1,fuse=1"}, EVERYTHING, "set features"),
        ("Container", "PUT", "/nodes/a/lxc/7/config", {"mp0": "/srv,mp=/srv"}, EVERYTHING, "set mp0"),
        ("Volume", "POST", "/nodes/a/storage/s/content", {}, EVERYTHING, "lacks Datastore.AllocateSpace on /storage/s"),
    ],
)
def test_what_is_lacking(kind: str, method: str, path: str, params: Any, permissions: Any, words: str) -> None:
    found = " ".join(told(kind, Step(method, path, params), permissions))
    assert words in found if words else "lacks" not in found and "root" not in found


def test_plain_options_of_guests_are_no_matter_of_root() -> None:
    allowed = {"/vms": dict.fromkeys(["VM.Config.Options", "VM.Config.HWType", "VM.Allocate"], 1)}
    step = Step("PUT", "/nodes/a/qemu/7/config", {"serial0": "socket", "onboot": 1, "hostpci0": "mapping=gpu"})
    assert told("VirtualMachine", step, allowed) == []
    assert told("Container", Step("PUT", "/nodes/a/lxc/7/config", {"features": "nesting=1"}), allowed) == []


def test_root_itself_may_everything() -> None:
    assert told("ACMEAccount", Step("POST", "/cluster/acme/account", {}), {}, "root@pam") == []
    assert told("ACMEAccount", Step("POST", "/cluster/acme/account", {}), EVERYTHING, "root@pam!t") != []
