"""Cases as data: each file is a list of maps with a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CASES = Path(__file__).parent / "cases"


def cases(file: str) -> list[Any]:
    """The cases of one file, each under its own test id."""
    import pytest

    found = yaml.safe_load((CASES / file).read_text(encoding="utf-8"))
    return [pytest.param(case, id=str(case["name"])) for case in found]


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    """A directory with these files."""
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root
