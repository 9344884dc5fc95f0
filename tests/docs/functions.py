"""The page of the functions that templates can call, in both dialects, from their signatures and docstrings."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import yaml

from pvehelm.chart.functions import FUNCTIONS as JINJA
from pvehelm.chart.gotpl import (
    builtins,
    crypto,
    dates,
    encoding,
    jsontext,
    lists,
    maps,
    numbers,
    regex,
    semvers,
    strings,
    toml,
    words,
    yamlin,
    yamlout,
)
from pvehelm.chart.gotpl.signatures import FUNCTIONS, SIGNATURES, Signature

CHAPTERS: dict[str, tuple[ModuleType, ...]] = {
    "Text": (strings, words),
    "Regular expressions and versions": (regex, semvers),
    "Numbers": (numbers,),
    "Lists": (lists,),
    "Maps, choices and types": (maps,),
    "YAML, JSON and TOML": (yamlout, yamlin, jsontext, toml),
    "Encodings, digests, random texts, paths, URLs": (encoding,),
    "Keys, certificates, passwords": (crypto,),
    "Dates": (dates,),
    "Comparing and printing": (builtins,),
}
#: Functions that need the engine: names, arguments, dialects, what they give.
ENGINE = (
    ("include", "name: string, scope: any", "both", "The text of a named template."),
    ("tpl", "text: string, scope: any", "both", "A text rendered as a template."),
    ("required", "message: string, value: any", "both", "A value, or an error if it is nil or empty."),
    ("fail", "message: string", "both", "An error with this message."),
    (
        "lookup",
        "kind, name",
        "both",
        "An object of the cluster, or without a name all (`items`); Helm's four arguments are taken as well.",
    ),
    ("generate", "type: string, name: string, options", "both", "A secret made once per release, as a reference."),
    (
        "sensitive",
        "text: string",
        "both",
        "A text built from references to secrets where it is used.",
    ),
    ("and", "value: any, ...", "gotpl", "The first empty value, or the last."),
    ("or", "value: any, ...", "gotpl", "The first value that is not empty, or the last."),
    ("call", "function, ...", "gotpl", "What a function gives that is a value."),
    ("yaml", "value: any", "jinja2", "A value as YAML, indented to the column where it is printed."),
    ("dnsName", "text: string", "jinja2", "A text as a DNS name: small letters, digits and dashes."),
)
_INTRODUCTION = (
    "`gotpl` is Helm's own template syntax (`engine: gotpl`), `jinja2` the default. Arguments stand in this order,",
    "and a value that is piped is the last of them: `{{ .Values.name | trunc 63 }}`, `{{ Values.name | trunc(63) }}`.",
    "",
    "In the Jinja2 dialect functions take numbers where texts are expected, lists and maps are plain ones, dates are",
    "Python's, and the list or map of `append`, `get`, `pick` and the like may be piped as well. Operators (`==`, `<`,",
    "`not`) stand there for the comparing functions. Functions that begin with `must` fail where the others print",
    "their complaint or nothing.",
    "",
    'The examples were run, in both dialects; Jinja2 charts write `trunc 3 "hello"` as `trunc(3, "hello")`.',
)
_HEAD = ("| Function | Arguments | Result | Dialects | What it gives | Example |", "|---|---|---|---|---|---|")
EXAMPLES: dict[str, str] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
_BETWEEN = "\n===\n"


@functools.cache
def results() -> dict[str, dict[str, str]]:
    """What each example prints, by dialect: ``jinja2`` has it as conversion writes it, where there is the function."""
    from pvehelm.actions.conversion import convert
    from pvehelm.chart.chart import Chart, from_files
    from pvehelm.chart.dependencies import coalesce
    from pvehelm.chart.render import Capabilities, ReleaseInfo, render

    def printed(chart: Chart) -> list[str]:
        made = render(chart, coalesce(chart, {}), ReleaseInfo("rel", "default"), Capabilities())
        return made.notes.split(_BETWEEN)

    def chart(names: list[str]) -> dict[str, bytes]:
        text = _BETWEEN.join(f"{{{{ {EXAMPLES[name]} }}}}" for name in names)
        head = "{apiVersion: v2, name: examples, version: 1.0.0, engine: gotpl}"
        named = '{{ define "greeting" }}hello {{ .who }}{{ end }}'
        files = {"Chart.yaml": head, "templates/NOTES.txt": text, "templates/_named.tpl": named}
        return {path: text.encode() for path, text in files.items()}

    names = list(EXAMPLES)
    files = chart(names)
    found = {"gotpl": dict(zip(names, printed(from_files(files, name="examples")), strict=True))}
    shared = [name for name in names if name in JINJA or name in IN_BOTH]
    files = chart(shared)
    new = convert(from_files(files, name="examples"), files).files
    found["jinja2"] = dict(zip(shared, printed(from_files(new, name="examples")), strict=True))
    return found


#: Operators of Jinja2, and functions of both engines.
IN_BOTH = frozenset(["eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or", "include", "tpl", "required", "lookup"])


def page(notice: str) -> str:
    shown = results()
    lines = ["# Functions of templates", "", notice, ""]
    lines += [*_INTRODUCTION, ""]
    for chapter, modules in CHAPTERS.items():
        lines += [f"## {chapter}", "", *_HEAD, *_rows(modules, shown), ""]
    lines += ["## Of the engine", "", *_HEAD]
    for name, arguments, dialects, what in ENGINE:
        where = "gotpl, jinja2" if dialects == "both" else dialects
        example = _example(name, shown) if name in EXAMPLES else ""
        lines.append(f"| `{name}` | `{arguments}` |  | {where} | {what} | {example} |")
    return "\n".join([*lines, ""])


def _rows(modules: tuple[ModuleType, ...], shown: dict[str, dict[str, str]]) -> Iterator[str]:
    """One row for each function, with all its names."""
    homes = {module.__name__ for module in modules}
    rows: dict[int, tuple[Signature, list[str]]] = {}
    for name, signature in SIGNATURES.items():
        if FUNCTIONS[name].__module__ in homes:
            rows.setdefault(id(signature), (signature, []))[1].append(name)
    for signature, names in sorted(rows.values(), key=lambda row: row[1][0].lower()):
        both = [name for name in names if name in JINJA]
        dialects = "gotpl, jinja2" if both == names else f"gotpl, jinja2 ({', '.join(both)})" if both else "gotpl"
        called = ", ".join(f"`{name}`" for name in names)
        summary = signature.summary.replace("``", "`").replace("|", "\\|")
        example = _example(names[0], shown)
        yield f"| {called} | {_arguments(signature)} | {signature.result} | {dialects} | {summary} | {example} |"


def _example(name: str, shown: dict[str, dict[str, str]]) -> str:
    """The call and what it prints, in Jinja2 as well where that is something else."""
    own, its = shown["gotpl"][name], shown["jinja2"].get(name)
    text = f"`{EXAMPLES[name]}` gives {_code(own)}"
    if its is not None and its != own:
        text += f", in Jinja2 {_code(its)}"
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{text}`" if text.strip() else "nothing"


def _arguments(signature: Signature) -> str:
    parts = [f"{name}: {kind}" for name, kind in zip(signature.names, signature.parameters, strict=True)]
    if signature.variadic:
        parts[-1] += ", ..."
    return f"`{', '.join(parts)}`" if parts else ""
