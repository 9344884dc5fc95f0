"""The generated pages are as fresh as the code."""

from __future__ import annotations

import pytest

from tests.docs import generate


@pytest.mark.parametrize("name", ["cli.md", "functions.md", "kinds.md"])
def test_the_page_is_what_the_code_says(name: str) -> None:
    text = (generate.REFERENCE / name).read_text(encoding="utf-8")
    assert text == generate.pages()[name], "python -m tests.docs.generate writes it anew"
