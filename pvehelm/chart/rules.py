"""The rules of lint: what each is called, how bad it is, and what it says; findings, and how authors silence them.

A chart's ``.pvehelmlint.yaml`` turns rules off or changes how bad they are, for all of its files or some; a comment
``lint: ignore=RULE`` silences a rule on its own line and the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from pvehelm.chart.chart import Chart
from pvehelm.chart.yaml import load_all
from pvehelm.errors import InvalidError
from pvehelm.suggest import did_you_mean

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
CONFIG = ".pvehelmlint.yaml"
_COMMENT = re.compile(r"lint:\s*ignore=([\w,-]+)")


class Rule(NamedTuple):
    """``told`` is the sentence of the reference."""

    severity: Severity
    told: str


class Finding(NamedTuple):
    """A Problem that says how bad it is: ``error`` will not install, ``warning`` probably is a mistake; and by which
    rule."""

    where: str
    what: str
    hint: str = ""
    severity: Severity = "error"
    rule: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"[{self.severity.upper()}] {text}" + (f"\n  hint: {self.hint}" if self.hint else "")


RULES: dict[str, Rule] = {
    "chart-load": Rule("error", "The chart can't be read."),
    "chart-file": Rule("warning", "A field of Chart.yaml is unknown or odd."),
    "chart-name": Rule("warning", "The chart and its directory have different names."),
    "chart-api-version": Rule("warning", "apiVersion is Helm 2's."),
    "chart-version": Rule("error", "The version is no semantic version."),
    "chart-description": Rule("info", "There is no description."),
    "chart-icon": Rule("info", "There is no icon."),
    "chart-url": Rule("error", "icon, home or sources is no URL."),
    "chart-maintainer": Rule("error", "A maintainer has no name, or an address that is none."),
    "chart-deprecated": Rule("info", "The chart is deprecated."),
    "dependency-version": Rule("warning", "A dependency has no version."),
    "dependency-range": Rule("error", "A dependency's version is no constraint."),
    "dependency-missing": Rule("warning", "A dependency is not in charts/."),
    "dependency-undeclared": Rule("warning", "charts/ holds what Chart.yaml does not want."),
    "template-none": Rule("warning", "The chart makes nothing."),
    "template-extension": Rule("error", "A file in templates/ has an unknown extension."),
    "template-notes": Rule("info", "There is no NOTES.txt."),
    "file-crds": Rule("warning", "crds/ has no meaning for Proxmox."),
    "file-name": Rule("warning", "A file is not read under its name."),
    "values-file": Rule("info", "There is no values.yaml."),
    "values-schema": Rule("error", "values.schema.json is no schema."),
    "values-invalid": Rule("error", "The values do not fit the schema."),
    "values-secret": Rule("warning", "A password, key or token stands in values.yaml."),
    "values-unused": Rule("warning", "No template uses a value (with --unused)."),
    "render": Rule("error", "The templates fail, or what they make is not valid."),
    "lint-config": Rule("warning", f"{CONFIG} or a comment names what is not there."),
}


def finding(rule: str, where: str, what: str, hint: str = "", rules: Mapping[str, Rule] = RULES) -> Finding:
    """A finding of a rule, as bad as the rule says."""
    return Finding(where, what, hint, rules[rule].severity, rule)


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


@dataclass
class Config:
    """What an author says of the rules: which are ignored where (a pattern of files), and how bad others are."""

    ignored: list[tuple[str, str]] = field(default_factory=list)
    severity: dict[str, Severity] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def of(self, one: Finding, file: str) -> Finding | None:
        """The finding as it counts, None where it does not; ``file`` is its file within the chart."""
        if any(rule in (one.rule, "all") and fnmatchcase(file, pattern) for rule, pattern in self.ignored):
            return None
        return one._replace(severity=self.severity.get(one.rule, one.severity))


def config(chart: Chart, known: Mapping[str, Rule]) -> Config:
    """What ``.pvehelmlint.yaml`` says::

    ignore: [chart-icon, {rule: pve-fixed-name, path: templates/shared.yaml}]
    severity: {pve-unprotected-data: warning}
    """
    made = Config()
    text = chart.raw.get(CONFIG, b"").decode("utf-8-sig", "replace")
    if not text.strip():
        return made
    shown = chart.file(CONFIG)
    try:
        document = next((one for one in load_all(text, file=shown) if one.data is not None), None)
    except InvalidError as error:
        made.findings = [finding("lint-config", p.where, p.what, p.hint) for p in error.problems]
        return made

    def bad(path: tuple[str | int, ...], what: str, hint: str = "") -> None:
        mark = document.marks.nearest(path) if document else None
        where = f"{shown}:{mark.line}:{mark.column}" if mark else shown
        made.findings.append(finding("lint-config", where, what, hint))

    def rule_of(name: object, path: tuple[str | int, ...]) -> str:
        if name in known or name == "all":
            return str(name)
        bad(path, f"there is no rule {name!r}", did_you_mean(str(name), known))
        return ""

    data = document.data if document else {}
    if not isinstance(data, dict):
        bad((), "it is a map with ignore and severity")
        return made
    for key in data.keys() - {"ignore", "severity"}:
        bad((key,), f"unknown key {key!r}", "known are ignore and severity")
    for index, item in enumerate(_list(data.get("ignore"))):
        name = item.get("rule") if isinstance(item, dict) else item
        if rule := rule_of(name, ("ignore", index)):
            made.ignored.append((rule, str(item.get("path", "*")) if isinstance(item, dict) else "*"))
    severities = data.get("severity") or {}
    for name, value in severities.items() if isinstance(severities, dict) else ():
        if value not in (*SEVERITIES, "off"):
            bad(("severity", name), f"{value!r} is none of {', '.join(SEVERITIES)} and off")
        elif rule := rule_of(name, ("severity", name)):
            if value == "off":
                made.ignored.append((rule, "*"))
            else:
                made.severity[rule] = value
    return made


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def silenced(chart: Chart, findings: Iterable[Finding], known: Mapping[str, Rule]) -> list[Finding]:
    """The findings that count, errors first: without what the chart's own files silence."""
    said = config(chart, known)
    kept = [*said.findings]
    comments = dict(_comments(chart))
    for (file, line), names in comments.items():
        for name in names:
            if name not in known and name != "all":
                hint = did_you_mean(name, known)
                kept.append(finding("lint-config", chart.file(f"{file}:{line}"), f"there is no rule {name!r}", hint))
    for one in findings:
        place = one.where.removeprefix(f"{chart.path}/")
        file, _, rest = place.partition(":")
        number = rest.partition(":")[0]
        line = int(number) if number.isdecimal() else 0
        near = {*comments.get((file, line), ()), *comments.get((file, line - 1), ())}
        if one.rule in near or "all" in near:
            continue
        if counted := said.of(one, file):
            kept.append(counted)
    return ordered(kept)


def _comments(chart: Chart) -> Iterator[tuple[tuple[str, int], tuple[str, ...]]]:
    """What comments silence: (file, line) -> rules."""
    texts = {"values.yaml": chart.values_text, **chart.templates}
    texts["Chart.yaml"] = chart.raw.get("Chart.yaml", b"").decode("utf-8-sig", "replace")
    for file, text in texts.items():
        if "ignore=" in text:
            for number, line in enumerate(text.split("\n"), 1):
                if found := _COMMENT.search(line):
                    yield (file, number), tuple(name for name in found[1].split(",") if name)
