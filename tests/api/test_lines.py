"""Schema data read by the line are what they are as a whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.api import importer, lines
from pvehelm.api.releases import DATA, available

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=3), max_size=3)
OPERATIONS = st.builds(
    lambda method, path, row: {"method": method, "path": path, "name": "x", **row},
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    TEXTS,
    ROWS.map(lambda row: {f"_{key}": value for key, value in row.items()}),
)


def plain(data: object) -> object:
    """Data without their ways of being read."""
    assert isinstance(data, dict)
    operations = data["operations"]
    rows = list(operations.values()) if hasattr(operations, "values") else operations
    return {**data, "facts": list(data["facts"]), "operations": rows}


@pytest.mark.parametrize("release", available())
def test_what_is_shipped_is_read_by_the_line(release: str) -> None:
    with open(f"{DATA}/schema-{release}.json", encoding="utf-8") as file:
        text = file.read()
    data = lines.read(text)
    assert type(data["operations"]) is not list
    assert plain(data) == json.loads(text)
    assert all((row["method"], row["path"]) == key for key, row in data["operations"].items())


@given(st.lists(ROWS, max_size=4), st.lists(OPERATIONS, max_size=4, unique_by=lambda row: (row["method"], row["path"])))
def test_whoever_wrote_them(facts: list[object], operations: list[dict[str, object]]) -> None:
    data = {"format": 1, "release": "9.2", "facts": facts, "operations": operations}
    assert plain(lines.read(importer.to_text(data))) == data
    for indent in (None, 1):
        assert plain(lines.read(json.dumps(data, indent=indent))) == data


@pytest.mark.parametrize("cut", [3, 5, 60, 200_000])
def test_a_file_that_was_cut_is_no_json(cut: int) -> None:
    with open(f"{DATA}/schema-9.2.json", encoding="utf-8") as file:
        text = file.read()
    with pytest.raises(ValueError, match=r"."):
        plain(lines.read(text[:-cut]))
