"""Answers as models: what real servers return is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pvehelm.api.models import Answers, Model
from pvehelm.api.schema import Schema

QEMU = ("GET", "/nodes/{node}/qemu")
CONFIG = ("GET", "/nodes/{node}/qemu/{vmid}/config")


@pytest.fixture
def answers() -> Answers:
    return Answers(Schema.load("9.2"))


def read(answers: Answers, key: tuple[str, str], data: Any) -> Any:
    return answers.read(answers.schema.operation(*key), data)


def test_texts_become_numbers(answers: Answers) -> None:
    (row,) = read(answers, QEMU, [{"vmid": "100", "status": "running", "cpus": "2", "mem": 5, "template": "1"}])
    assert (row.vmid, row.cpus, row.mem, row.template) == (100, 2.0, 5, True)


def test_missing_keys_are_none_or_said_to_be_missing(answers: Answers) -> None:
    (row,) = read(answers, QEMU, [{"vmid": 100}])
    assert row.name is None
    with pytest.raises(AttributeError, match="the server's answer has no 'status'"):
        _ = row.status
    assert not hasattr(row, "status")
    assert row.model_dump(exclude_none=True) == {"vmid": 100}
    assert repr(row) == "QemuRow(vmid=100)"


def test_keys_that_the_schema_lacks(answers: Answers) -> None:
    (row,) = read(answers, QEMU, [{"vmid": 100, "brand-new": {"a": 1}}])
    assert row.brand_new == {"a": 1}
    assert row.model_extra == {"brand-new": {"a": 1}}
    with pytest.raises(AttributeError, match="'QemuRow' has no 'nam'"):
        _ = row.nam


def test_values_of_another_type_stay_as_they_are(answers: Answers) -> None:
    rows = read(answers, QEMU, [{"vmid": "?", "status": 5, "name": ["a"]}, "odd", None])
    assert (rows[0].vmid, rows[0].status, rows[0].name) == ("?", "5", ["a"])
    assert rows[1:] == ["odd", None]
    assert rows[0].model_dump(exclude_none=True) == {"vmid": "?", "status": "5", "name": ["a"]}
    assert read(answers, QEMU, {"not": "a list"}) == {"not": "a list"}
    assert read(answers, CONFIG, "text") == "text"
    assert read(answers, CONFIG, None) is None


def test_names_that_python_cannot_spell_go_back_to_the_wire(answers: Answers) -> None:
    config = read(answers, CONFIG, {"digest": "d", "amd-sev": "std", "allow-ksm": "0"})
    assert (config.amd_sev, config.allow_ksm) == ("std", False)
    assert config.model_dump(by_alias=True, exclude_none=True) == {
        "digest": "d",
        "amd-sev": "std",
        "allow-ksm": False,
    }
    assert json.loads(config.model_dump_json(by_alias=True, exclude_none=True))["amd-sev"] == "std"


def test_numbered_keys(answers: Answers) -> None:
    data = {"digest": "d", "net10": "virtio", "net2": "e1000", "numa": 1, "numa0": "cpus=0"}
    config = read(answers, CONFIG, data)
    assert (config.net2, config.net10, config.net0) == ("e1000", "virtio", None)
    assert config.numbered("net") == {2: "e1000", 10: "virtio"}
    assert (config.numa, config.numa0, config.numbered("numa")) == (True, "cpus=0", {0: "cpus=0"})


def test_objects_in_objects(answers: Answers) -> None:
    status = read(answers, ("GET", "/nodes/{node}/status"), {"cpuinfo": {"cpus": "8", "model": 5}, "loadavg": ["1", 2]})
    assert isinstance(status.cpuinfo, Model)
    assert status.cpuinfo.cpus == 8
    assert status.cpuinfo.model == "5"


@pytest.mark.parametrize(("data", "wanted"), [("101", 101), (101, 101), ("x", "x"), (None, None)])
def test_scalars(answers: Answers, data: Any, wanted: Any) -> None:
    assert read(answers, ("GET", "/cluster/nextid"), data) == wanted
