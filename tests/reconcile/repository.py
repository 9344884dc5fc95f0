"""A git repository of a test."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

NAMES = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]


class Repository:
    """A repository with one branch, ``main``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *args: str) -> str:
        done = subprocess.run(["git", *NAMES, *args], cwd=self.folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    @property
    def address(self) -> str:
        return f"git+file://{self.folder}@main"

    def commit(self, files: dict[str, str], *args: str) -> str:
        """Write files (empty text: remove), and commit; the commit's id."""
        for name, text in files.items():
            place = self.folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if text:
                place.write_text(text)
            else:
                place.unlink()
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message=a change", *args)
        return self.git("rev-parse", "HEAD")

    def chart(self, path: str, source: str) -> str:
        """Commit a chart that lies elsewhere."""
        shutil.copytree(source, self.folder / path, dirs_exist_ok=True)
        return self.commit({})
