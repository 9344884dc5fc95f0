"""Sets: a process that is killed while it applies, edits or deletes leaves nothing that needs hands."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvehelm.actions.manifests import File, read, set_name
from pvehelm.chart.manifest import Resource
from pvehelm.errors import InvalidError, UsageError
from pvehelm.release.sets import joined
from tests.release.lab import Lab

BOTH = """
kind: VirtualMachine
metadata: { name: web }
spec: { node: pve-node1, memory: 512, power: stopped, disks: [{ storage: local-lvm, size: 1G }] }
---
kind: Pool
metadata: { name: p }
spec: { comment: first }
"""
MOMENTS = [
    ("put_revision", "before", 1),
    ("put_revision", "after", 1),
    ("begin", "before", 2),
    ("begin", "after", 1),
    ("outcome", "before", 1),
    ("outcome", "after", 2),
    ("put_revision", "before", 2),
    ("prune", "after", 1),
]


@pytest.mark.parametrize(("method", "when", "count"), MOMENTS)
def test_a_killed_apply_is_finished_by_the_next(lab: Lab, method: str, when: str, count: int) -> None:
    path = lab.folder / "s.yaml"
    path.write_text(BOTH)
    assert lab.killed(method, when, count, "apply", "-f", str(path))
    lab.run("apply", "-f", str(path))
    lab.sound("s")
    lab.settled("s")
    path.write_text(BOTH.replace("512", "1024").replace("first", "second"))
    assert lab.killed(method, when, count, "apply", "-f", str(path))
    lab.run("recover", "s") if lab.status("s") == "failed" else lab.run("apply", "-f", str(path))
    lab.run("apply", "-f", str(path))
    lab.sound("s")
    assert lab.config(lab.vmid("s", "VirtualMachine/web"))["memory"] == "1024"


@pytest.mark.parametrize(("method", "when", "count"), [("begin", "after", 1), ("outcome", "before", 1)])
def test_a_killed_delete_is_finished_by_the_next(lab: Lab, method: str, when: str, count: int) -> None:
    path = lab.folder / "s.yaml"
    path.write_text(BOTH)
    lab.run("apply", "-f", str(path))
    assert lab.killed(method, when, count, "delete", "vm", "web", "--yes")
    lab.run("delete", "vm/web", "--yes")
    lab.sound("s")
    assert lab.guests() == {}
    assert set(lab.inventory("s").entries) == {"Pool/p"}
    lab.settled("s")


POOLS = st.lists(st.sampled_from("abcdef"), max_size=5, unique=True)


@given(before=POOLS, given_=POOLS)
def test_files_add_to_a_set_and_keep_its_order(before: list[str], given_: list[str]) -> None:
    def pools(listed: list[str], comment: str) -> list[Resource]:
        rows = [f"kind: Pool\nmetadata: {{ name: {name} }}\nspec: {{ comment: {comment} }}\n" for name in listed]
        return read([File(comment, "---\n".join(rows))]) if rows else []

    old, new = pools(before, "old"), pools(given_, "new")
    made = joined(old, new, prune=False)
    assert [r.name for r in made] == before + [name for name in given_ if name not in before]
    assert {r.name for r in made if r.spec["comment"] == "new"} == set(given_)
    assert joined(old, new, prune=True) == new
    assert joined(made, new, prune=False) == made


@pytest.mark.parametrize(
    ("paths", "name"),
    [
        (["web.yaml"], "web"),
        (["/a/b/Web_App.YML"], "web-app"),
        (["prod/"], "prod"),
        (["/x/shop.prod.json"], "shop.prod"),
        (["https://example.org/it/pool.yaml?raw=1#x"], "pool"),
    ],
)
def test_a_set_is_called_after_its_file(paths: list[str], name: str) -> None:
    assert set_name(paths) == name


@pytest.mark.parametrize("paths", [[], ["-"], ["a.yaml", "b.yaml"], ["---.yaml"]])
def test_a_name_has_to_be_given_where_there_is_none(paths: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        set_name(paths)
    assert "--set-name" in error.value.hint


def test_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    files = [File("a.yaml", "kind: Pool\n"), File("b.yaml", "kind: [\n"), File("c.yaml", "- 1\n")]
    with pytest.raises(InvalidError) as error:
        read(files)
    assert {problem.where.split(":")[0] for problem in error.value.problems} == {"a.yaml", "b.yaml", "c.yaml"}
