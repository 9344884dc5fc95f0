"""What the documentation shows is what happens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.docs import examples
from tests.helpers import ROOT
from tests.release.lab import Lab

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "charts").glob("*/README.md"))]
WITH_EXAMPLES = [page for page in PAGES if any(block.language == "console" for block in examples.blocks(page))]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=name)
def test_examples(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    shutil.copytree(ROOT / "charts", folder / "charts")
    shutil.copytree(ROOT / "repo_index", folder / "repo_index")
    monkeypatch.chdir(folder)
    lab = Lab(tmp_path / "lab", monkeypatch)
    try:
        for block in examples.blocks(page):
            if shown := examples.file(block):
                place = folder / shown[0]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(shown[1], encoding="utf-8")
            elif block.language == "console":
                for command in examples.commands(block):
                    run(lab, command, f"{name(page)}:{command.line}", monkeypatch)
    finally:
        lab.close()


def run(lab: Lab, command: examples.Command, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *words = command.words
    match program:
        case "export":
            key, _, value = words[0].partition("=")
            monkeypatch.setenv(key, value)
            return
        case "cd":
            monkeypatch.chdir(words[0])
            return
        case "mkdir":
            Path(words[-1]).mkdir(parents=True, exist_ok=True)
            return
        case "cat":
            printed, code = Path(words[0]).read_text(encoding="utf-8"), 0
        case "pvehelm":
            result = lab.run(*words, code=None)
            errors = "".join(line for line in result.err.splitlines(True) if not line.startswith("context: simulator"))
            printed, code = result.out if result.code == 0 else result.out + errors, result.code
        case _:
            raise AssertionError(f"{where}: examples know no {program}")
    assert code in (0, 2) or command.expected, f"{where}: exit code {code}\n{printed}"
    if command.expected:
        assert examples.matches(command.expected, printed), (
            f"{where}: shown\n{command.expected}\n--- printed\n{printed}"
        )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [
        link[0]
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if "://" not in link[0] and not (page.parent / link[0]).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_blocks_say_what_they_are(page: Path) -> None:
    unmarked = [block.line for block in examples.blocks(page) if not block.language]
    assert unmarked == [], "mark blocks console (run), text (shown), or with their language"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {link[0] for link in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))}
    missing = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} - linked
    assert not missing, "add the page to README.md, Read on"
