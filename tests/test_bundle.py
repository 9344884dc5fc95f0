"""Bundles: what is imported from one is what Python would have imported, or it is left to Python."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.skipif(not hasattr(os, "pread"), reason="files cannot be read at a place here")

FILES = {
    "pack/__init__.py": '"""A package."""\nfrom pack.inner import VALUE\n',
    "pack/inner.py": "VALUE = 1\n\n\ndef fail():\n    raise ValueError(VALUE)  # here\n",
    "pack/data.txt": "beside it\n",
    "pack/sub/__init__.py": "",
    "pack/sub/deep.py": "class Thing:\n    part = 'deep'\n",
    "alone.py": "NAME = __name__\nif NAME == '__main__':\n    print('[\"run\"]')\n",
    "spread/part.py": "PART = 2\n",
}
MODULES = "pack, pack.inner, pack.sub.deep, alone, spread.part, _struct"
BEGIN = """\
import json, os, sys
sys.path.append({lib!r})
sys.path.insert(0, {front!r})
from pvehelm import bundle
used = bundle.use("test")
def ours(name):
    return type(sys.modules[name].__spec__.loader).__module__ == "pvehelm.bundle"
"""
KEEP = f"import {MODULES}\nbundle.keep('test', used.asked, used.path)\nprint(json.dumps(used.asked))\n"
#: What somebody may want to know of a module.
ABOUT = """
def about(name):
    module = sys.modules[name]
    spec = module.__spec__
    return [
        getattr(module, "__file__", None), list(getattr(module, "__path__", ())), getattr(module, "__cached__", None),
        module.__package__, module.__doc__, spec.name, spec.origin, spec.cached, spec.has_location, spec.parent,
        spec.submodule_search_locations and list(spec.submodule_search_locations), sorted(vars(module)),
    ]
"""


class Home:
    """A place with packages, a cache, and processes of their own."""

    def __init__(self, path: Path) -> None:
        self.lib, self.front, self.cache = path / "lib", path / "front", path / "cache"
        self.front.mkdir()
        for name, text in FILES.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.lib / name).parent.mkdir(parents=True, exist_ok=True)
        (self.lib / name).write_text(text)

    def __call__(self, script: str, *options: str, begin: str = BEGIN) -> Any:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        found = subprocess.run(
            [sys.executable, *options, "-c", begin.format(lib=str(self.lib), front=str(self.front)) + script],
            capture_output=True,
            text=True,
            cwd=self.front,
            env={**environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "PVEHELM_CACHE": str(self.cache)},
            check=False,
        )
        assert not found.returncode, found.stderr
        return json.loads(found.stdout)

    @property
    def files(self) -> list[Path]:
        return sorted(self.cache.glob("bundles/*"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def kept(home: Home) -> Home:
    assert {"pack", "pack.inner", "pack.sub.deep", "alone", "spread.part", "_struct"} <= set(home(KEEP))
    return home


NAMES = ["pack", "pack.inner", "pack.sub", "pack.sub.deep", "alone"]


def test_modules_come_from_it_and_are_what_they_were(kept: Home) -> None:
    script = f"import {MODULES}\n{ABOUT}\nnames = {[*NAMES, 'spread.part']}\n"
    asked, ours, *found = kept(
        script + "print(json.dumps([used.asked, [*map(ours, names)], *map(about, names), about('_struct')]))"
    )
    plain = kept(
        script + "print(json.dumps([*map(about, names), about('_struct')]))",
        begin=BEGIN.replace("used = ", "used = None # "),
    )
    assert asked == []
    # A package without a file of its own may grow anywhere.
    assert ours == [True] * len(NAMES) + [False]
    assert found == plain


@pytest.mark.parametrize(
    ("what", "result"),
    [
        ("import pack.inner, inspect; {}", "inspect.getsource(pack.inner.fail).splitlines()[0]"),
        ("from importlib import resources; import pack", "resources.files('pack').joinpath('data.txt').read_text()"),
        ("import pkgutil", "pkgutil.get_data('pack', 'data.txt').decode()"),
        ("import pack, pkgutil", "[one.name for one in pkgutil.iter_modules(pack.__path__)]"),
        ("import pickle, pack.sub.deep as d", "pickle.loads(pickle.dumps(d.Thing)).part"),
        ("import importlib, pack.inner as i; i.VALUE = 5", "importlib.reload(i).VALUE"),
        ("import importlib.util as u", "bool(u.find_spec('pack.sub.deep').loader.get_source('pack.sub.deep'))"),
        ("import pack.inner, traceback as t\ntry:\n    pack.inner.fail()\nexcept ValueError:\n    t = t.format_exc()",
         "[line for line in t.splitlines() if 'inner' in line or 'here' in line]"),
        ("import runpy", "sorted(set(runpy.run_module('alone')) & {'NAME'})"),
        ("import importlib.metadata as m, importlib; importlib.invalidate_caches()", "bool(m.version('ruff'))"),
    ],
)  # fmt: skip
def test_what_programs_do_with_modules_works(kept: Home, what: str, result: str) -> None:
    script = f"{what.format('')}\nprint(json.dumps({result}))"
    assert kept(script) == kept(script, begin=BEGIN.replace("used = ", "used = None # "))


def test_a_module_is_run_as_a_program(kept: Home) -> None:
    assert kept("import runpy; runpy.run_module('alone', run_name='__main__')") == ["run"]


def _changed(home: Home) -> None:
    home.write("pack/inner.py", FILES["pack/inner.py"].replace("1", "7"))
    os.utime(home.lib / "pack/inner.py", ns=(1, 1))


def _other_size(home: Home) -> None:
    path = home.lib / "pack/inner.py"
    before = path.stat().st_mtime_ns
    path.write_text(FILES["pack/inner.py"].replace("1", "1000"))
    os.utime(path, ns=(before, before))


def _same_time_and_size(home: Home) -> None:
    """As in images, where all files have one time: a newer release of one is not newer."""
    path = home.lib / "pack/inner.py"
    before = path.stat().st_mtime_ns
    for code in (home.lib / "pack/__pycache__").glob("inner.*"):
        code.unlink()
    path.write_text(FILES["pack/inner.py"].replace("1", "7"))
    os.utime(path, ns=(before, before))


def _in_front(home: Home) -> None:
    (home.front / "pack.py").write_text("VALUE = 3")


def _in_front_as_a_package(home: Home) -> None:
    (home.front / "pack").mkdir()
    (home.front / "pack" / "__init__.py").write_text("VALUE = 4")


def _data_in_front(home: Home) -> None:
    (home.front / "pack").mkdir()


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (_changed, 7),
        (_other_size, 1000),
        (_same_time_and_size, 7),
        (_in_front, 3),
        (_in_front_as_a_package, 4),
        (_data_in_front, 1),
    ],
)
def test_what_has_changed_is_as_it_is_now(kept: Home, change: Callable[[Home], None], value: int) -> None:
    change(kept)
    assert kept("import pack; print(json.dumps(pack.VALUE))") == value


def test_a_module_that_is_gone_is_gone(kept: Home) -> None:
    (kept.lib / "alone.py").unlink()
    script = "try:\n    import alone\nexcept ModuleNotFoundError as error:\n    print(json.dumps(error.name))"
    assert kept(script) == "alone"


def test_a_path_that_changes_counts(kept: Home) -> None:
    (kept.front / "pack.py").write_text("VALUE = 3")
    begin = BEGIN.replace("sys.path.insert", "#")
    assert kept(f"sys.path.insert(0, {str(kept.front)!r}); import pack; print(pack.VALUE)", begin=begin) == 3
    # With -c the first directory is the one that the process is in.
    (kept.front / "pack.py").unlink()
    (kept.front / "other").mkdir()
    (kept.front / "other" / "pack.py").write_text("VALUE = 5")
    assert kept("os.chdir('other'); import pack; print(pack.VALUE)", begin=begin) == 5


def test_what_else_may_stand_in_a_path(kept: Home) -> None:
    archive = kept.front / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("pack.py", "VALUE = 6")
    for before, value in (
        (f"sys.path.insert(0, {str(archive)!r})", 6),
        ("sys.path.insert(0, __import__('pathlib').Path())", 1),
    ):
        begin = BEGIN.replace("from pvehelm", f"{before.replace('{', '{{').replace('}', '}}')}\nfrom pvehelm", 1)
        assert kept("import pack; bundle.keep('test', ['pack'], used.path); print(pack.VALUE)", begin=begin) == value
        # What it is made of is the same whatever stands before.
        assert kept("import pack; print(pack.VALUE)") == 1
    # An entry added behind makes another one.
    begin = BEGIN.replace("from pvehelm", "sys.path.append(b'/x')\nfrom pvehelm", 1)
    assert kept("import pack; bundle.keep('test', ['pack'], used.path); print(pack.VALUE)", begin=begin) == 1


DAMAGE = """
import pack, pack.sub.deep, alone
path, = [os.path.join({cache!r}, name) for name in os.listdir({cache!r})]
whole = open(path, "rb").read()
said = []
for at in range(0, len(whole), 61):
    for bad in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:], b""):
        with open(path, "r+b") as file:
            file.truncate(0)
            file.write(bad)
        for name in {names!r}:
            sys.modules.pop(name, None)
        bundle.use("test")
        import pack, pack.sub.deep, alone
        said.append([pack.VALUE, pack.sub.deep.Thing.part, alone.NAME])
print(json.dumps(sorted(set(map(str, said)))))
"""


def test_a_damaged_one_does_no_harm(kept: Home) -> None:
    assert kept(DAMAGE.format(cache=str(kept.cache / "bundles"), names=NAMES)) == ["[1, 'deep', 'alone']"]


def _for_all(path: Path) -> None:
    path.chmod(0o622)


def _folder_for_all(path: Path) -> None:
    path.parent.chmod(0o755)


def _somebody_elses(path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(path, 12345, 12345)


def _folder_somebody_elses(path: Path) -> None:
    _somebody_elses(path.parent)


@pytest.mark.parametrize("change", [_for_all, _folder_for_all, _somebody_elses, _folder_somebody_elses])
def test_one_that_others_may_have_written_is_none(kept: Home, change: Callable[[Path], None]) -> None:
    (path,) = kept.files
    change(path)
    assert "pack" in kept("import pack; print(json.dumps(used.asked))")


def test_it_is_not_written_where_python_writes_no_code(home: Home) -> None:
    home(KEEP, "-B")
    assert not home.files
    home.cache.mkdir(exist_ok=True)
    home.cache.chmod(0o500)
    if os.geteuid():  # root may write everywhere
        home(KEEP)
        assert not home.files
    home.cache.chmod(0o700)
    (home.cache / "bundles").rmdir()
    (home.cache / "bundles").write_text("not a folder")
    assert home(KEEP)


def test_it_grows_by_what_was_missed_and_is_then_left_alone(home: Home) -> None:
    home("import alone; bundle.keep('test', ['alone', 'gone', 'pack'], used.path); print(1)")
    first = home("import pack, alone; print(json.dumps([used.asked, used.missed]))")
    assert first == [["pack.inner"], []]
    many = "import pack, wave, sched, shelve, poplib; print(json.dumps(used.missed))"
    missed = home(many)
    assert {"wave", "sched", "shelve", "poplib"} <= set(missed)
    home(many.replace("print", "used.renew(); print"))
    # What was in it stays, and what is nowhere is not looked for again.
    assert (
        home(many + "\nimport alone\ntry:\n    import gone\nexcept ImportError:\n    pass\nassert not used.asked") == []
    )
    for number in range(12):
        home(f"bundle.keep('p{number}', ['alone'], used.path); print(1)")
    assert len(home.files) == 8


def test_what_is_tried_again_and_again_is_missed_once(kept: Home) -> None:
    tries = "for _ in range(9):\n    try:\n        import gone\n    except ImportError:\n        pass\n"
    assert kept(f"{tries}print(json.dumps([used.asked, used.missed]))") == [["gone"], []]


def test_a_binder_of_another_release_makes_none(home: Home) -> None:
    """A process that runs for weeks ends after its packages were replaced."""
    other = "import types; sys.modules['pvehelm.binder'] = types.ModuleType('pvehelm.binder')\n"
    home(f"{other}bundle.keep('test', ['alone'], used.path); print(1)")
    assert not home.files


def test_an_older_one_of_another_python_or_path_is_another(kept: Home) -> None:
    # What counts comes after Python's own directories, and optimized code is other code.
    assert "pack" in kept("import pack; print(json.dumps(used.asked))", "-O")
    begin = BEGIN.replace("from pvehelm", "sys.path.append('/nowhere')\nfrom pvehelm", 1)
    assert "pack" in kept("import pack; print(json.dumps(used.asked))", begin=begin)


def test_names_are_all_that_it_is_made_of(home: Home) -> None:
    home.write("trap.py", "open('sprung', 'w').close()")
    home.write("trapped/__init__.py", "open('sprung', 'w').close()")
    home.write("trapped/inner.py", "")
    names = ["trap", "trapped.inner", "..", "a/b", "", ".", "trap.", "trapped..inner", "os.path", "no\0ne", "x" * 5000,
             "\ud800", "../../trap", "trap.inner", "__main__", "sys", "builtins", "broken"]  # fmt: skip
    home.write("broken.py", "def")
    found = home(
        f"bundle.keep('test', {names!r}, used.path)\n"
        "parts = bundle.use('test').parts\nprint(json.dumps([name for name in parts if parts[name]]))"
    )
    assert sorted(found) == ["trap", "trapped.inner"]
    assert not (home.front / "sprung").exists()


def test_every_module_of_ours_is_the_same(home: Home) -> None:
    script = (
        ABOUT
        + """
import pkgutil, pvehelm, warnings
warnings.simplefilter("ignore")
names = [one.name for one in pkgutil.walk_packages(pvehelm.__path__, "pvehelm.", onerror=lambda name: None)]
names = [name for name in names if "_pb2" not in name and ".sdk." not in name and not name.endswith("__main__")]
for name in list(names):
    try:
        __import__(name)
    except ImportError:
        names.remove(name)
import re
said = {name: re.sub(" at 0x[0-9a-f]+", "", repr([about(name), {key: repr(value) if isinstance(value, (int, str, tuple))
    else type(value).__name__ for key, value in vars(sys.modules[name]).items() if key not in ("__builtins__",
    "__loader__", "__spec__")}])) for name in names}
said = {f"{name} {os.stat(sys.modules[name].__file__).st_mtime_ns}": what for name, what in said.items()}
"""
    )
    once = "bundle.keep('test', used.asked, used.path)\nprint(json.dumps(said))"
    plain = home(script + once)
    said, count = home(script + "print(json.dumps([said, sum(map(ours, names))]))")
    assert count > 300
    # Somebody may be at work on some of them.
    both = said.keys() & plain.keys()
    assert len(both) > 300
    assert [name for name in both if said[name] != plain[name]] == []


CHART = {
    "Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.0.0\n",
    "templates/vm.yaml": "apiVersion: proxmox.io/v1\nkind: Pool\nmetadata: {name: {{ Release.Name | quote }}}\n",
}
RENDER = """\
import json, os, sys
from pvehelm.chart import spare
spare.start("jinja2")
from pvehelm.actions.charts import prepare
from pvehelm.chart.chart import load
from pvehelm.chart.render import Capabilities, ReleaseInfo, texts
prepared = prepare(load("."))
found = texts(prepared.chart, dict(prepared.values), ReleaseInfo("rel", "ns"), Capabilities())
print(json.dumps([str(found), spare._mine.missed]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes cannot be forked here")
def test_the_child_that_renders_has_one(home: Home) -> None:
    for name, text in CHART.items():
        path = home.front / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    first, missed = home(RENDER, begin="")
    assert "jinja2.environment" in missed
    (path,) = home.files
    before = path.stat().st_mtime_ns
    again, missed = home(RENDER, begin="")
    assert again == first
    assert missed == []
    # This process was not concerned.
    assert home(RENDER + "assert not any(type(f).__module__ == 'pvehelm.bundle' for f in sys.meta_path)", begin="")
    assert home.files == [path]
    assert path.stat().st_mtime_ns == before


def test_a_child_says_what_it_missed_before_anything_else_and_once() -> None:
    from pvehelm.chart.cell import DEFAULT
    from pvehelm.chart.child import Child
    from pvehelm.chart.worker import Worker
    from pvehelm.errors import InvalidError

    def said(*messages: Any) -> Worker:
        (read, far_write), (far_read, write) = os.pipe(), os.pipe()
        for message in messages:
            body = json.dumps(message).encode()
            os.write(far_write, struct.pack("!Q", len(body)) + body)
        worker = Worker(Child(0, read, write), DEFAULT, b"opening")
        try:
            worker.do(None, lambda question: None)
        finally:
            for descriptor in (read, far_write, far_read, write):
                os.close(descriptor)
        return worker

    done = ["done", 1, False, {}, False]
    assert said(["missed", ["json", 3, "x" * 999, ["y"]]], done).missed == ["json"]
    for bad in ([["missed", ["a"]]] * 2, [["missed", "json"]], [["missed", {}]]):
        with pytest.raises(InvalidError, match="unreadable"):
            said(*bad, done)
