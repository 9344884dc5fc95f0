"""What a guest may say of its addresses."""

from __future__ import annotations

import pytest

from pvehelm.release.observe import is_usable


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
        "169.254.1.1",
        "fe80::1%net0",
        "0.0.0.0",
        "nope",
    ],
)
def test_an_address_that_leads_elsewhere(address: str) -> None:
    assert not is_usable(address)
