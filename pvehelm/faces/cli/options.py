"""The flags that several commands share: values, charts, what is allowed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pvehelm.errors import NotFoundError, UsageError
from pvehelm.faces.cli import complete
from pvehelm.faces.cli.command import SOURCE

if TYPE_CHECKING:
    from pvehelm.actions.releases import Request
    from pvehelm.chart.chart import Chart
    from pvehelm.faces.cli.command import Session
    from pvehelm.release.context import Context
    from pvehelm.release.desire import Options
    from pvehelm.release.plan import Allowed

Strings = list[str]
Values = Annotated[
    Strings, typer.Option("-f", "--values", help="Values from a file, an address or '-' (stdin).", metavar="FILE")
]
Set = Annotated[Strings, typer.Option("--set", help="Set values: a.b=1,c={x,y}.", metavar="KEY=VALUE")]
SetString = Annotated[Strings, typer.Option("--set-string", help="Set values as strings.", metavar="KEY=VALUE")]
SetFile = Annotated[Strings, typer.Option("--set-file", help="Set values from files' contents.", metavar="KEY=PATH")]
SetJson = Annotated[Strings, typer.Option("--set-json", help="Set values from JSON.", metavar="KEY=JSON")]
SetLiteral = Annotated[Strings, typer.Option("--set-literal", help="Set a value taken as it is.", metavar="KEY=TEXT")]
SkipSchema = Annotated[
    bool, typer.Option("--skip-schema-validation", help="Do not check values against the chart's schema.")
]
RecordedChart = Annotated[
    str,
    typer.Argument(
        help="A folder, an archive, REPO/CHART or an address; left out: where it came from.", metavar="[CHART]"
    ),
]
ChartPath = Annotated[str, typer.Argument(help="A folder, an archive, REPO/CHART or an address.", metavar="CHART")]
Name = Annotated[str, typer.Argument(help="The release.", metavar="RELEASE", autocompletion=complete.releases)]
DryRun = Annotated[
    str,
    typer.Option(
        "--dry-run", help="Plan only: 'server' against live, 'client' renders offline.", metavar="server|client"
    ),
]
Atomic = Annotated[
    bool, typer.Option("--atomic", "--rollback-on-failure", help="On failure go back to the last deployed revision.")
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until everything is ready: power state, agent, addresses, HA, readyWhen.")
]
Timeout = Annotated[str, typer.Option("--timeout", help="Bound of the whole operation: 90s, 10m, 1h.", metavar="TIME")]
Description = Annotated[str, typer.Option("--description", help="A description for the history.")]
Labels = Annotated[Strings, typer.Option("-l", "--labels", help="Labels of the release: a=b,c=d.")]
CreateNamespace = Annotated[
    bool, typer.Option("--create-namespace", help="Make the namespace's pool if it is missing.")
]
TakeOwnership = Annotated[
    Strings, typer.Option("--take-ownership", help="Take over an existing object.", metavar="KIND/NAME|all")
]
AllowDestroy = Annotated[
    Strings, typer.Option("--allow-destroy", help="Allow the loss of a protected object.", metavar="KIND/NAME")
]
AllowPrivileged = Annotated[
    Strings, typer.Option("--allow-privileged", help="Allow a privileged kind or key.", metavar="KIND|all")
]
AllowLookup = Annotated[bool, typer.Option("--allow-lookup", help="Let lookup() see objects beyond the release.")]
HistoryMax = Annotated[int, typer.Option("--history-max", help="Revisions to keep (0: all).", min=0)]
Replace = Annotated[Strings, typer.Option("--replace", help="Destroy and make again.", metavar="KIND/NAME")]
Target = Annotated[Strings, typer.Option("--target", help="Plan only this and what it needs.", metavar="KIND/NAME")]
KeepResources = Annotated[bool, typer.Option("--keep-resources", help="Forget the objects instead of deleting them.")]

InstallToo = Annotated[bool, typer.Option("-i", "--install", help="Install it if it is not there.")]
ResetValues = Annotated[bool, typer.Option("--reset-values", help="Drop the recorded user values.")]
ReuseValues = Annotated[bool, typer.Option("--reuse-values", help="The default here: recorded values are kept.")]
ResetThenReuse = Annotated[
    bool, typer.Option("--reset-then-reuse-values", help="The default here: new defaults, then recorded values.")
]
Out = Annotated[str, typer.Option("--out", help="Save the plan, to apply exactly it later.", metavar="FILE")]
Graph = Annotated[str, typer.Option("--graph", help="Show what waits for what instead.", metavar="text|dot")]
DetailedExitcode = Annotated[bool, typer.Option("--detailed-exitcode", help="Exit with 2 when something differs.")]
NoHooks = Annotated[bool, typer.Option("--no-hooks", help="Run no hooks.")]
SnapshotFirst = Annotated[
    bool, typer.Option("--snapshot", help="Take a snapshot of every guest first; it goes with the history.")
]
BackupFirst = Annotated[bool, typer.Option("--backup", help="Back up every guest first.")]
BackupStorage = Annotated[str, typer.Option("--backup-storage", help="Where to; implies --backup.", metavar="STORAGE")]
RestoreDisks = Annotated[
    bool, typer.Option("--restore-disks", help="Take the disks back, too, to the snapshots of --snapshot.")
]
Reboot = Annotated[
    str,
    typer.Option(
        "--reboot", help="if-needed: restart guests, one by one, for what waits for it.", metavar="never|if-needed"
    ),
]
KeepHistory = Annotated[bool, typer.Option("--keep-history", help="Keep the revisions.")]

Engine = Annotated[
    str,
    typer.Option("--engine", help="The engine of charts that name none: gotpl (Helm's) or jinja2.", metavar="ENGINE"),
]
Strict = Annotated[bool, typer.Option("--strict", help="Missing values are errors in Helm's own template syntax.")]
DependencyUpdate = Annotated[
    bool, typer.Option("--dependency-update", help="Fetch what is missing in the charts/ of a folder first.")
]
PostRenderer = Annotated[
    str,
    typer.Option("--post-renderer", help="A program that may change the manifests: stdin to stdout.", metavar="CMD"),
]
PostRendererArgs = Annotated[
    Strings, typer.Option("--post-renderer-args", help="An argument for it; repeatable.", metavar="ARG")
]

HideNotes = Annotated[bool, typer.Option("--hide-notes", help="Do not print the chart's notes.")]
SubchartNotes = Annotated[
    bool, typer.Option("--render-subchart-notes", help="The notes of subcharts as well, after the chart's own.")
]

# The flags that a command takes by naming them, with their defaults; ``session.given`` has what was said.
SHARED: dict[str, tuple[Any, Any]] = {
    "values": (Values, []),
    "set": (Set, []),
    "set_string": (SetString, []),
    "set_file": (SetFile, []),
    "set_json": (SetJson, []),
    "set_literal": (SetLiteral, []),
    "skip_schema": (SkipSchema, False),
    "engine": (Engine, ""),
    "dependency_update": (DependencyUpdate, False),
    "strict": (Strict, False),
    "allow_lookup": (AllowLookup, False),
    "post_renderer": (PostRenderer, ""),
    "post_renderer_args": (PostRendererArgs, []),
    "install_if_missing": (InstallToo, False),
    "reset_values": (ResetValues, False),
    "reuse_values": (ReuseValues, False),
    "reset_then_reuse": (ResetThenReuse, False),
    "dry_run": (DryRun, ""),
    "wait": (Wait, False),
    "timeout": (Timeout, ""),
    "atomic": (Atomic, False),
    "description": (Description, ""),
    "labels": (Labels, []),
    "hide_notes": (HideNotes, False),
    "subchart_notes": (SubchartNotes, False),
    "create_namespace": (CreateNamespace, False),
    "take_ownership": (TakeOwnership, []),
    "allow_destroy": (AllowDestroy, []),
    "allow_privileged": (AllowPrivileged, []),
    "replace": (Replace, []),
    "target": (Target, []),
    "keep_resources": (KeepResources, False),
    "out": (Out, ""),
    "graph": (Graph, ""),
    "detailed_exitcode": (DetailedExitcode, False),
    "keep_history": (KeepHistory, False),
    "history_max": (HistoryMax, 10),
    "no_hooks": (NoHooks, False),
    "snapshot": (SnapshotFirst, False),
    "backup": (BackupFirst, False),
    "backup_storage": (BackupStorage, ""),
    "restore_disks": (RestoreDisks, False),
    "reboot": (Reboot, "never"),
}
VALUES = (
    *("values", "set", "set_string", "set_file", "set_json", "set_literal"),
    *("skip_schema", "engine", "dependency_update", "strict", "allow_lookup"),
)
ALLOWING = ("take_ownership", "allow_destroy", "allow_privileged")
POST = ("post_renderer", "post_renderer_args")
# What every command takes that writes a revision of a chart.
CHART = (
    *(*SOURCE, *VALUES, *POST, *ALLOWING),
    *("description", "labels", "create_namespace", "target", "atomic", "no_hooks"),
    *("hide_notes", "subchart_notes"),
)
BACKUP = ("backup", "backup_storage")
UPGRADE = (
    *CHART,
    "install_if_missing",
    "reset_values",
    "reuse_values",
    "reset_then_reuse",
    "replace",
    "snapshot",
    *BACKUP,
    "reboot",
)
ROLLBACK = (
    *ALLOWING,
    "description",
    "target",
    "replace",
    "atomic",
    "no_hooks",
    "restore_disks",
    "snapshot",
    *BACKUP,
    "reboot",
)
UNINSTALL = (
    "timeout",
    "keep_history",
    "keep_resources",
    "description",
    "allow_destroy",
    "allow_privileged",
    "history_max",
    "no_hooks",
    *BACKUP,
)
BOUND = ("wait", "timeout", "history_max")
RUN = ("dry_run", *BOUND)


def load_chart(path: str, session: Session | None = None) -> Chart:
    """The chart that a command's CHART names: what lies there, else what a repository or registry has.

    Where it came from is noted in the session, for the record of who makes a release of it. ``--engine`` counts for
    charts that name none. Raises UsageError for an engine that there is not.
    """
    import os

    engine = _engine(session)
    source = session.source if session is not None else {}
    here = "://" not in path and ("/" not in path or path.startswith((".", "/", "~")) or os.path.exists(path))
    if here and not source.get("repo"):
        from pvehelm.chart.chart import load

        if session is not None:
            session.origin = _origin(os.path.realpath(path), engine)
        try:
            found = load(path)
        except NotFoundError as error:
            raise NotFoundError(error.message, hint=_chart_meant(path) or error.hint) from None
        if session is not None and session.given.get("dependency_update") and os.path.isdir(path):
            from pvehelm.faces.cli.dependency import completed

            found = completed(found, path)
        chart = _with_engine(found, engine)
        wanted = source.get("version")
        if wanted and wanted != chart.version:
            sys.stderr.write(f"note: --version {wanted} is for repositories; {path} is {chart.version}\n")
        return chart
    from pvehelm.actions.repos import Wish, book, pull
    from pvehelm.chart.origin import origin_of

    chart = pull(path, Wish(**source)).chart
    if session is not None:
        session.origin = str(origin_of(path, book(), **source)._replace(engine=engine))
    return _with_engine(chart, engine)


def _chart_meant(path: str) -> str:
    """For a chart that is not there and was called by its name alone."""
    import os

    if "/" in path or path.endswith(".tgz"):
        return ""
    if os.path.isfile(os.path.join("charts", path, "Chart.yaml")):
        return f"did you mean ./charts/{path}?"
    return f"a chart's folder, its .tgz, or REPO/CHART: `pvehelm search repo {path}`"


def _origin(path: str, engine: str) -> str:
    if not engine:
        return path
    from pvehelm.chart.origin import Origin

    return str(Origin(path, engine=engine))


def _engine(session: Session | None) -> str:
    engine = str(session.given.get("engine") or "") if session is not None else ""
    if engine not in ("", "gotpl", "jinja2"):
        raise UsageError(f"--engine {engine}: there is gotpl (Helm's own template syntax) and jinja2")
    return engine


def _with_engine(chart: Chart, engine: str) -> Chart:
    if not engine:
        return chart
    from pvehelm.chart.dialects import with_engine

    return with_engine(chart, engine)


def chart_for(session: Session, name: str, path: str) -> Chart:
    """The chart that an upgrade names, else the release's own."""
    return load_chart(path, session) if path else recorded_chart(session, name)


def recorded_chart(session: Session, name: str) -> Chart:
    """The chart of a release from where its last revision's came from, the newest that the recorded range allows.

    ``--version``, ``--devel`` and ``--engine`` take the place of what is recorded.
    """
    from pvehelm.actions.outdated import recorded_origin
    from pvehelm.actions.repos import Wish, pull

    origin = recorded_origin(session.context, name)
    engine = session.given["engine"] = session.given.get("engine") or origin.engine
    if origin.kind == "path":
        chart = load_chart(origin.location, session)
    else:
        given = session.source
        wanted = origin._replace(
            version=given.get("version") or origin.version,
            devel=given.get("devel") or origin.devel,
            engine=engine,
        )
        repo, text = (wanted.location, wanted.chart) if wanted.chart else ("", wanted.location)
        chart = _with_engine(pull(text, Wish(wanted.version, repo, wanted.devel)).chart, _engine(session))
        session.origin = str(wanted)
    sys.stderr.write(f"chart: {chart.metadata.name} {chart.version} from {origin.location}\n")
    return chart


def seconds(text: str, flag: str = "--timeout") -> float | None:
    """A flag's time in seconds; None for nothing. Raises UsageError."""
    from pvehelm import durations

    try:
        return durations.seconds(text) if text else None
    except UsageError as error:
        raise UsageError(f"{flag}: {error}", hint=error.hint) from None


def dry_mode(session: Session) -> str:
    """``server``, ``client`` or nothing. Raises UsageError."""
    modes = {"": "", "none": "", "false": "", "server": "server", "true": "server", "client": "client"}
    text = session.given.get("dry_run", "")
    if text not in modes:
        raise UsageError(f"--dry-run={text}: server or client")
    return modes[text]


def request(session: Session, name: str, chart: Chart) -> Request:
    """What install and upgrade are asked for by the flags. Raises UsageError for labels."""
    from pvehelm.actions.releases import Request, parse_labels
    from pvehelm.faces.cli.postrender import post_renderer
    from pvehelm.faces.cli.values import given as values_for

    given = session.given
    if given.get("reset_values") and (given.get("reuse_values") or given.get("reset_then_reuse")):
        raise UsageError("--reset-values and --reuse-values contradict each other")
    plain = (
        *("description", "skip_schema", "strict", "allow_lookup", "install_if_missing", "reset_values"),
        "subchart_notes",
    )
    return Request(
        name,
        chart,
        values_for(chart),
        session.origin,
        labels=parse_labels(given.get("labels", ())),
        post=post_renderer(session),
        **{flag: given[flag] for flag in plain if flag in given},
    )


def options(session: Session, ctx: Context, **more: Any) -> Options:
    """How a command goes about it, by its flags. Raises UsageError."""
    from pvehelm.release.desire import Options

    given = session.given
    plain = (
        *("atomic", "wait", "create_namespace", "history_max", "keep_resources", "keep_history"),
        *("no_hooks", "snapshot", "backup", "backup_storage", "restore_disks", "reboot"),
    )
    if given.get("reboot", "never") not in ("never", "if-needed"):
        raise UsageError(f"--reboot {given['reboot']}: never or if-needed")
    found = {
        **{flag: given[flag] for flag in plain if flag in given},
        "allowed": allowed(session, ctx),
        "dry_run": bool(dry_mode(session)),
        "timeout": seconds(given.get("timeout", "")),
        "backup": bool(given.get("backup") or given.get("backup_storage")),
    }
    return Options(**{**found, **more})


def allowed(session: Session, ctx: Context) -> Allowed:
    """The Allowed of a command's flags, with what the context's policy allows. Raises UsageError."""
    from pvehelm.actions.allowing import privileged
    from pvehelm.release.plan import Allowed

    given = session.given
    flags = {"take_ownership": "--take-ownership", "allow_destroy": "--allow-destroy", "target": "--target"}
    for name, flag in {**flags, "replace": "--replace"}.items():
        for text in given.get(name, ()):
            kind, slash, rest = text.partition("/")
            if not (kind and slash and rest) and not (name == "take_ownership" and text == "all"):
                which = "KIND/NAME or all" if name == "take_ownership" else "KIND/NAME"
                raise UsageError(f"{flag} {text}: expected {which}", hint=f"for example {flag} vm/web-0")
    replaced = given.get("replace", ())
    return Allowed(
        take_ownership=frozenset(given.get("take_ownership", ())),
        destroy=frozenset([*given.get("allow_destroy", ()), *replaced]),
        privileged=privileged(given.get("allow_privileged", ())) | ctx.allow_privileged,
        replace=frozenset(replaced),
        targets=frozenset(given.get("target", ())),
    )
