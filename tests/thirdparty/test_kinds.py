"""Every kind that fakepve keeps, through its whole life; the second plan is empty there too."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.api.kindlab import load_kinds
from tests.api.sweep import Variant, sampled, updatable
from tests.thirdparty.lab import FINDINGS, needs_fakepve
from tests.thirdparty.walk import HELD, ForeignWalk, held

pytestmark = needs_fakepve

BEGINNINGS = [pytest.param(variant, id=variant.id) for variant in held()]
WRONG = [pytest.param(row, id=f"{row['kind']} {row['variant']} {' '.join(row['fields'])}") for row in FINDINGS]


def live(variant: Variant, folder: Path, chosen: list[str] | None = None) -> None:
    async def whole() -> None:
        walk = ForeignWalk(variant, folder)
        try:
            fields = updatable(variant, walk.kind)
            await walk.whole([field for field in fields if chosen is None or field.name in chosen])
        finally:
            await walk.close()

    asyncio.run(whole())


def test_every_kind_that_is_held_is_walked() -> None:
    assert {variant.kind for variant in held()} == HELD <= set(load_kinds("9.2").names())


@pytest.mark.parametrize("variant", BEGINNINGS)
def test_a_sample_of_fields(variant: Variant, tmp_path: Path) -> None:
    live(variant, tmp_path, sampled(variant))


@pytest.mark.sweep
@pytest.mark.parametrize("variant", BEGINNINGS)
def test_every_field(variant: Variant, tmp_path: Path) -> None:
    live(variant, tmp_path)


@pytest.mark.parametrize("row", WRONG)
def test_a_finding_is_still_so(row: dict[str, object], tmp_path: Path) -> None:
    """A difference that is gone has to leave the list."""
    variant = next(v for v in held(known=False) if (v.kind, v.name) == (row["kind"], row["variant"]))
    with pytest.raises(AssertionError):
        live(variant, tmp_path, list(row["fields"]))  # type: ignore[call-overload]
