"""Field selectors and conditions: what fits, and what is none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.actions.objects import field_test, label_test, lasting
from pvehelm.actions.waiting import condition_test
from pvehelm.errors import UsageError

DOCUMENT: dict[str, Any] = {
    "kind": "VirtualMachine",
    "metadata": {"name": "web", "labels": {"app": "web"}},
    "spec": {"memory": 1024, "onboot": True, "disks": [{"slot": "scsi0"}, {"slot": "scsi1"}]},
    "status": {"status": "running", "node": "pve1", "cpu": 0.5},
}


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ("", True),
        ("status=running", True),
        ("status==running", True),
        ("status!=running", False),
        ("node=pve1,spec.memory=1024", True),
        ("node=pve1,spec.memory=2048", False),
        ("metadata.name=web", True),
        ("name=web", True),
        ("onboot=true", True),
        ("spec.disks[*].slot=scsi1", True),
        ("spec.nothing=", True),
        ("spec.nothing=1", False),
        ("spec.nothing!=1", True),
        (" status = running , node != pve2 ", True),
    ],
)
def test_field_selectors(selector: str, fits: bool) -> None:
    assert field_test(selector)(DOCUMENT) is fits


@pytest.mark.parametrize("selector", ["status", "=running", "a=b,c", "!="])
def test_no_field_selectors(selector: str) -> None:
    with pytest.raises(UsageError):
        field_test(selector)


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("create", True),
        ("delete", False),
        ("status=running", True),
        ("status=stopped", False),
        ("jsonpath={.status.node}=pve1", True),
        ("jsonpath='{.status.node}'=pve1", True),
        ("jsonpath={.status.node}==pve1", True),
        ('jsonpath={.status.node}="pve1"', True),
        ("jsonpath=.spec.memory=1024", True),
        ("jsonpath={.spec.disks[?(@.slot=='scsi0')].slot}=scsi0", True),
        ("jsonpath={.spec.memory}", True),
        ("jsonpath={.spec.nothing}", False),
        ("jsonpath={.spec.memory}=1", False),
    ],
)
def test_conditions(condition: str, met: bool) -> None:
    assert condition_test(condition)(DOCUMENT) is met


@pytest.mark.parametrize("condition", ["", "running", "jsonpath=", "jsonpath={.a"])
def test_no_conditions(condition: str) -> None:
    with pytest.raises(UsageError):
        condition_test(condition)


LABELS = st.dictionaries(st.text("abc", min_size=1, max_size=2), st.text("xy", max_size=2), max_size=3)


@given(labels=LABELS, name=st.text("abc", min_size=1, max_size=2), value=st.text("xy", min_size=1, max_size=2))
def test_label_selectors_agree_with_each_other(labels: dict[str, str], name: str, value: str) -> None:
    equal = label_test(f"{name}={value}")(labels)
    assert equal is (labels.get(name) == value)
    assert label_test(f"{name}!={value}")(labels) is not equal
    assert label_test(f"{name} in ({value}, z)")(labels) is equal
    assert label_test(name)(labels) is (name in labels)
    assert label_test(f"!{name}")(labels) is (name not in labels)
    assert label_test("")(labels)


def test_what_changes_all_the_time_is_no_event() -> None:
    assert lasting({"status": {"cpu": 0.1, "status": "running", "uptime": 5}}) == {"status": {"status": "running"}}
