"""What is deferred comes when it is wanted, and is then what it always was."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SCRIPT = """
import json, sys
from pvehelm.chart.deferred import COMPILER, RARE, deferred
with deferred(RARE, {tables}):
    import hashlib, tempfile, urllib.parse
    from ast import literal_eval
    from inspect import getattr_static
    from random import choice
    {body}
print(json.dumps([name for name in (*RARE, *COMPILER) if name in sys.modules]))
print(json.dumps({result}))
"""


def run(body: str, result: str, tables: str = "{}") -> tuple[list[str], Any]:
    """In a process of its own, where none of it was imported: what was imported in the end, and the result."""
    script = SCRIPT.format(body=body, result=result, tables=tables)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported, answer = done.stdout.splitlines()
    return json.loads(imported), json.loads(answer)


def test_nothing_is_imported_until_it_is_used() -> None:
    imported, answer = run("pass", "literal_eval('[1, 2]')")
    assert "random" not in imported
    assert "decimal" not in imported
    assert "ast" not in imported
    assert answer == [1, 2]


def test_what_is_no_known_function_is_the_thing_itself() -> None:
    imported, answer = run("from inspect import Signature", "[Signature.__module__, isinstance(Signature, type)]")
    assert "inspect" in imported
    assert answer == ["inspect", True]


def test_stand_ins_answer_as_the_modules_do() -> None:
    _, answer = run(
        "pass",
        "[choice([7]), hashlib.sha256(b'').hexdigest()[:8], urllib.parse.quote('a b'), getattr_static(str, 'x', 3),"
        " tempfile.gettempprefix()]",
    )
    assert answer == [7, "e3b0c442", "a%20b", 3, "tmp"]


def test_those_who_come_later_get_the_module() -> None:
    _, answer = run("pass", "[__import__(name).__class__.__name__ for name in ('tempfile', 'hashlib', 'random')]")
    assert answer == ["module"] * 3


TEMPLATE = "{% for n in range(3) %}{{ (n * 1.5) | round | int }}{{ 'a b' | urlencode }};{% endfor %}"


def test_a_library_loaded_so_works() -> None:
    body = "import jinja2.sandbox, jinja2.ext"
    imported, answer = run(body, f"jinja2.sandbox.SandboxedEnvironment().from_string({TEMPLATE!r}).render()")
    assert "tempfile" not in imported
    assert answer == "0a%20b;2a%20b;3a%20b;"


def test_jinja2_without_its_compiler_until_there_is_something_to_compile() -> None:
    body = "import jinja2.sandbox"
    made = f"jinja2.sandbox.SandboxedEnvironment().from_string({TEMPLATE!r}).render()"
    imported, answer = run(body, made, "COMPILER")
    assert not [name for name in imported if name.startswith("jinja2.")]
    assert answer == "0a%20b;2a%20b;3a%20b;"


def test_stand_ins_of_classes_can_be_derived_from_and_asked_about() -> None:
    body = "from jinja2.parser import Parser; from jinja2.lexer import Token, TokenStream"
    made = (
        "[issubclass(__import__('types').new_class('Mine', (Parser,)), Parser),"
        " isinstance(TokenStream(iter(()), None, None), TokenStream), (TokenStream | None) is not None,"
        " Token.__module__]"
    )
    imported, answer = run(body, made, "COMPILER")
    assert "jinja2.lexer" in imported
    assert answer == [True, True, True, "jinja2.lexer"]
