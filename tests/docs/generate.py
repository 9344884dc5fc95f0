"""The generated pages of docs/reference: what the commands' help says, the functions of templates, the kinds.

``python -m tests.docs.generate`` writes them; test_reference.py tells when that was forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import typer

from pvehelm.actions import cluster
from pvehelm.actions.charts import lint_rules
from pvehelm.faces.cli import app as root
from tests.docs import functions
from tests.helpers import ROOT

REFERENCE = ROOT / "docs" / "reference"
WIDTH = 100
NOTICE = "<!-- Written by `python -m tests.docs.generate`; changes by hand are lost. -->"
RELEASES = ("9.2", "8.4")


def pages() -> dict[str, str]:
    """File name -> text."""
    return {"cli.md": cli(), "functions.md": functions.page(NOTICE), "kinds.md": kinds(), "lint.md": lint()}


# Commands


def cli() -> str:
    lines = ["# Commands", "", NOTICE, ""]
    lines += ["Exit codes are in [Troubleshooting](../troubleshooting.md#exit-codes).", ""]
    top = typer.main.get_command(root.app)
    for section, names in root.COMMANDS.items():
        lines += [f"## {section}", ""]
        for name in names:
            command = root.load(name, *names[name])
            for path, text in _helps(command, ["pvehelm", name], top):
                lines += [f"### {' '.join(path[1:])}", "", "```text", text, "```", ""]
    aliases = ", ".join(f"`{alias}` is `{name}`" for alias, name in sorted(root.ALIASES.items()))
    return "\n".join([*lines, "## Short names", "", f"{aliases}.", ""])


def _helps(command: Any, path: list[str], parent: Any) -> Iterator[tuple[list[str], str]]:
    """The help of a command and of every command below it."""
    # The help flags that a command inherits when it is really called; it keeps those that it is first asked with.
    settings = {"terminal_width": WIDTH, "max_content_width": WIDTH, "help_option_names": ["-h", "--help"]}
    context = command.make_context(" ".join(path), [], resilient_parsing=True, **settings)
    text = command.get_help(context)
    yield path, "\n".join(line.rstrip() for line in text.strip().splitlines())
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from _helps(command.get_command(context, name), [*path, name], command)


# Lint


def lint() -> str:
    lines = ["# Rules of lint", "", NOTICE, ""]
    lines += ["How they are silenced is in [Developing charts](../chart-development.md#lint).", ""]
    lines += ["| rule | severity | what it finds |", "|---|---|---|"]
    lines += [f"| `{name}` | {rule.severity} | {rule.told} |" for name, rule in lint_rules().items()]
    return "\n".join([*lines, ""])


# Kinds


def kinds() -> str:
    rows = {release: {row["name"]: row for row in cluster.api_resources(release=release)} for release in RELEASES}
    newest, older = rows[RELEASES[0]], rows[RELEASES[-1]]
    lines = ["# Kinds", "", NOTICE, ""]
    lines += [
        f"The kinds of manifests, with the fields of Proxmox VE {RELEASES[0]}; `pvehelm explain KIND.FIELD` goes",
        "deeper, and `--pve-version` shows another release. *Privileged* kinds need `--allow-privileged`, others",
        "*in part*: with some values of the fields that are named. *Evidence*",
        "is where our knowledge of a kind's behaviour comes from: `recorded` from a real server, `third-party` from",
        "other tools' sources, `schema` from the API schema alone, which plans call experimental.",
        "",
        "| kind | short names | in a namespace | privileged | evidence | releases |",
        "|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys([*newest, *older]):
        row = newest.get(name) or older[name]
        known = ", ".join(release for release in reversed(RELEASES) if name in rows[release])
        privileged = "yes" if row["privileged"] else "in part" if row["privileged_fields"] else ""
        flags = ("yes" if row["namespaced"] else "", privileged)
        cells = (f"[{name}](#{name.lower()})", ", ".join(row["short"]), *flags, row["evidence"], known)
        lines.append(f"| {' | '.join(cells)} |")
    for name in dict.fromkeys([*newest, *older]):
        release = RELEASES[0] if name in newest else RELEASES[-1]
        lines += ["", f"## {name}", "", *_fields(cluster.explain(name, release=release))]
    return "\n".join([*lines, ""])


def _fields(kind: Mapping[str, Any]) -> list[str]:
    asking = ", ".join(f"`{name}`" for name in kind.get("privileged_fields", ()))
    lines = [f"Privileged, by some values: {asking}.", ""] if asking else []
    lines += ["| field | type | a change | values |", "|---|---|---|---|"]
    for row in kind.get("fields", ()):
        traits = [name.replace("_", "-") for name in ("required", "create_only", "write_only") if row.get(name)]
        if "effect" in row and not row.get("create_only"):
            traits.append(str(row["effect"]))
        if row.get("deprecated"):
            traits.append("given up" if row["deprecated"] is True else f"given up for `{row['deprecated']}`")
        type_ = f"map ({row['type']})" if row.get("keys") else str(row["type"])
        cells = (f"`{row['name']}`", type_, ", ".join(traits), _values(row))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _values(row: Mapping[str, Any]) -> str:
    parts = []
    if row.get("enum"):
        parts.append(", ".join(f"`{word}`" for word in row["enum"]))
    low, high = row.get("minimum"), row.get("maximum")
    if low is not None and high is not None:
        parts.append(f"{low} to {high}")
    elif low is not None or high is not None:
        parts.append(f"at least {low}" if high is None else f"at most {high}")
    if row.get("maxLength"):
        parts.append(f"at most {row['maxLength']} characters")
    if isinstance(row.get("format"), str):
        parts.append(str(row["format"]))
    if row.get("index"):
        parts.append(f"n is {row['index'][0]} to {row['index'][1]}")
    if row.get("references"):
        parts.append("refers to " + ", ".join(row["references"]))
    return "; ".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
