"""Every kind through its whole life with the real planner: after each step the second plan is empty.

By default a fixed sample of fields; ``pytest -m sweep`` walks all of them on both releases, and random ones besides.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.api.kindlab import load_kinds
from tests.api.sweep import TABLE, Variant, Walk, candidates, key_of, lasts, sampled, updatable, variants

ALL = list(variants())
BEGINNINGS = [pytest.param(variant, id=variant.id) for variant in ALL]


def live(variant: Variant, folder: Path, chosen: list[str] | None = None) -> None:
    async def whole() -> None:
        walk = Walk(variant, folder)
        try:
            fields = updatable(variant, walk.kind)
            await walk.whole([field for field in fields if chosen is None or field.name in chosen])
        finally:
            await walk.close()

    asyncio.run(whole())


def test_every_kind_is_walked() -> None:
    for release in ("9.2", "8.4"):
        known = {*TABLE["kinds"], *TABLE["without"]}
        assert set(load_kinds(release).names()) <= known


def test_every_field_is_walked_or_there_is_a_reason() -> None:
    missing: dict[str, set[str]] = {}
    for variant in ALL:
        kind = load_kinds(variant.release).get(variant.kind)
        lasting = [f.name for f in kind.fields().values() if not f.create_only and lasts(kind, f.name)]
        walked = {field.name for field in updatable(variant, kind)} | {*variant.spec, *variant.row.get("skip", {})}
        left = missing.setdefault(f"{variant.release} {kind.name}", {*lasting, "scope"} - {"scope"})
        left -= walked
    reasons = TABLE["unwalked"]
    assert {f"{kind} {name}" for kind, names in missing.items() for name in names} == set(reasons)


@pytest.mark.parametrize("variant", BEGINNINGS)
def test_a_sample_of_fields(variant: Variant, tmp_path: Path) -> None:
    live(variant, tmp_path, sampled(variant))


@pytest.mark.sweep
@pytest.mark.parametrize("variant", BEGINNINGS)
def test_every_field(variant: Variant, tmp_path: Path) -> None:
    live(variant, tmp_path)


@pytest.mark.parametrize(("kind", "slot"), [("VirtualMachine", "scsi1"), ("Container", "mp1")])
def test_a_protection_is_lifted_before_a_disk_goes(kind: str, slot: str, tmp_path: Path) -> None:
    variant = next(one for one in ALL if (one.release, one.kind, one.name) == ("9.2", kind, "made"))
    disk = variant.row["values"][slot.replace("1", "[n]")][0]

    async def whole() -> None:
        walk = Walk(variant, tmp_path)
        try:
            for more in ({"protection": True, slot: disk}, {"protection": False}, {"protection": True, slot: disk}, {}):
                await walk.reach({**variant.spec, **more})
            await walk.reach(None)
        finally:
            await walk.close()

    asyncio.run(whole())


STEPS: dict[str, list[dict[str, Any]]] = {
    "VirtualMachine": [
        {"boot": "order=scsi0;net0"},
        {"boot": "order=scsi0;net0", "ide1": "none,media=cdrom"},
        {"boot": "order=scsi0;net0", "ide1": "cdrom,media=cdrom"},
        {},
        {"ide1": "none,media=cdrom"},
        {"ide1": "none,media=cdrom", "boot": "order=scsi0;net0"},
        {},
        {"ide1": "none,media=cdrom"},
        {"boot": "order=net0"},
        {"ivshmem": {"size": 64}},
        {"ivshmem": {"size": 32}},
        {"machine": "q35", "ostype": "win11"},
        {"machine": "pc", "ostype": "win11"},
        {"ostype": "win11"},
        {},
    ],
    "Container": [
        {"protection": True},
        {"protection": True, "mp1": {"storage": "local-lvm", "size": "1G", "mp": "/srv"}},
        {"protection": True, "mp1": {"storage": "local-lvm", "size": "1G", "mp": "/srv", "acl": True}},
        {"protection": True},
        {"protection": False, "mp1": {"storage": "local-lvm", "size": "1G", "mp": "/srv"}},
    ],
}


@pytest.mark.parametrize("kind", STEPS)
def test_what_the_server_changes_along_is_brought_along(kind: str, tmp_path: Path) -> None:
    """What a server does besides: CD drives enter the boot order, protection is in the way, Windows pins a machine."""
    variant = next(one for one in ALL if (one.release, one.kind, one.name) == ("9.2", kind, "made"))

    async def whole() -> None:
        walk = Walk(variant, tmp_path)
        try:
            for more in STEPS[kind]:
                await walk.reach({**variant.spec, **more})
            await walk.reach(None)
        finally:
            await walk.close()

    asyncio.run(whole())


@pytest.mark.sweep
@pytest.mark.parametrize("variant", BEGINNINGS)
def test_random_specs(variant: Variant) -> None:
    kind = load_kinds(variant.release).get(variant.kind)
    fields = {key_of(field.name): candidates(variant, field) for field in updatable(variant, kind)}

    def specs() -> st.SearchStrategy[dict[str, Any]]:
        return st.fixed_dictionaries({}, optional={name: st.sampled_from(found) for name, found in fields.items()})

    @given(st.lists(specs(), min_size=1, max_size=4))
    # Without shrinking: of a walk that takes seconds it would take many minutes.
    @settings(
        # What takes the longest has the most fields that may get in each other's way.
        max_examples=15 if variant.kind in ("VirtualMachine", "Container") else 5,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def through(drawn: list[dict[str, Any]]) -> None:
        wanted = [{**variant.spec, **more} for more in drawn]
        wanted = [spec for spec in wanted if not kind.validate(variant.resource(spec))]

        async def whole(folder: Path) -> None:
            walk = Walk(variant, folder)
            try:
                for spec in [*wanted, variant.spec, None]:
                    await walk.reach(spec)
            finally:
                await walk.close()

        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(whole(Path(folder)))

    through()
