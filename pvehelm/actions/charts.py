"""Charts: render, check, show, scaffold, package."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm import __version__
from pvehelm.actions import action
from pvehelm.errors import InvalidError, Problem, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.chart import Chart
    from pvehelm.chart.manifest import Foreign, Resource
    from pvehelm.chart.postrender import PostRenderer
    from pvehelm.chart.render import ReleaseInfo, Rendered
    from pvehelm.chart.rules import Finding, Rule
    from pvehelm.chart.sandbox import Ask
    from pvehelm.chart.stream import Document
    from pvehelm.chart.values import ValueFlag

Lookup = Callable[[str, str], Any]
Keep = Callable[[Any], Any]


_NOTHING: Mapping[str, Any] = {}


class Prepared(NamedTuple):
    """A chart with the values it will see, and the user's part of them.

    Once :func:`without_secrets` is through with it, ``values`` hold references for what is sensitive, and ``record``
    and ``user`` are fit to be stored and shown; ``sealed`` is what the references stand for: name -> text.
    """

    chart: Chart
    user: Mapping[str, Any]
    values: Mapping[str, Any]
    sources: Mapping[Any, str] = _NOTHING
    record: Mapping[str, Any] = _NOTHING
    sealed: Mapping[str, str] = _NOTHING
    # The user's changes to what is rendered (``chart.patches``).
    patches: Mapping[str, Any] = _NOTHING

    def __repr__(self) -> str:
        # Without what is secret.
        return f"Prepared({self.chart!r})"


def prepare(
    chart: Chart,
    flags: Sequence[ValueFlag] = (),
    *,
    recorded: Mapping[str, Any] | None = None,
    skip_schema: bool = False,
) -> Prepared:
    """The user's values (recorded ones, then flags) over the chart's, checked against its schemas.

    Raises InvalidError with every problem, at the file and line of the value where that is known.
    """
    from pvehelm.chart import patches, values
    from pvehelm.chart.merging import rules

    flags = values.for_chart(flags, chart)
    user, patched = patches.split(values.overlay(recorded or {}, values.from_flags(flags, rules(chart))))
    chart = values.enabled(chart, user)
    whole = values.coalesce(chart, user)
    sources = {**values.recorded_origins(recorded or {}), **values.origins(flags)}
    problems = [] if skip_schema else values.validate(chart, whole, sources=sources)
    if problems:
        raise InvalidError(
            f"the values do not fit chart {chart.name}", problems, hint="pvehelm show values CHART prints its defaults"
        )
    return Prepared(chart, user, whole, sources, patches=patched)


def without_secrets(prepared: Prepared, named: Callable[[tuple[str | int, ...], str], str]) -> Prepared:
    """What the schema marks ``x-sensitive`` as references to secrets of the release, named by ``named(path, text)``."""
    from pvehelm.chart.schema import sensitive_paths

    chart = prepared.chart
    paths, given = [*sensitive_paths(chart, prepared.values)], [*sensitive_paths(chart, prepared.user)]
    if not (paths or given):
        return prepared._replace(record=prepared.values, sealed={})
    from pvehelm.release.literals import seal_values

    user, sealed = seal_values(prepared.user, given, named)
    record, more = seal_values(prepared.values, paths, named)
    seen, _ = seal_values(prepared.values, paths, named, texts_only=True)
    return prepared._replace(user=user, values=seen, record=record, sealed={**sealed, **more})


def shown_values(prepared: Prepared) -> Prepared:
    """:func:`without_secrets` where there is no release whose secrets they could be."""
    import re

    from pvehelm.chart.yaml import dotted

    return without_secrets(prepared, lambda path, _: "sensitive-" + re.sub(r"[^\w.-]", "_", dotted(path)))


def rendered(
    prepared: Prepared,
    release: ReleaseInfo,
    pve_version: str,
    kinds: Sequence[str],
    lookup: Lookup | None = None,
    keep: Keep | None = None,
    *,
    watch: bool = False,
    strict: bool = False,
    lint: bool = False,
    foreign: bool = False,
    kubernetes: tuple[str, tuple[str, ...]] = ("", ()),
    subchart_notes: bool = False,
    owner: str = "",
    meanwhile: Callable[[], object] | None = None,
) -> Rendered:
    """The chart rendered in a limited child process; resources without a namespace get the release's.

    ``strict`` and ``lint`` are for charts of Helm's own syntax: see ``chart.render``, for ``owner`` and ``meanwhile``
    too; ``kubernetes`` is the version and the further API versions that they are told. Documents of other programs are
    refused unless ``foreign``.
    """
    from pvehelm.chart import patches
    from pvehelm.chart.render import Capabilities, render

    capabilities = Capabilities(pve_version, tuple(kinds), __version__, *kubernetes)
    if prepared.chart.metadata.type == "library":
        raise InvalidError(f"{prepared.chart.name} is a library chart and can't be installed by itself")
    made = render(
        prepared.chart,
        dict(prepared.values),
        release,
        capabilities,
        lookup=lookup,
        keep=keep,
        watch=watch,
        strict=strict,
        lint=lint,
        subchart_notes=subchart_notes,
        owner=owner,
        meanwhile=meanwhile,
        set_paths=[path for path, said in prepared.sources.items() if said.startswith("--set ")],
        # What is sealed came from the user, or is the chart's own default in the release's own store.
        user_values={"user": prepared.user, "sealed": [f"secret://release/{name}" for name in prepared.sealed]},
    )
    if made.foreign and not foreign:
        raise _foreign_error(prepared.chart, made)
    return made._replace(resources=patches.apply(made.resources, prepared.patches)) if prepared.patches else made


def _foreign_error(chart: Chart, made: Rendered) -> InvalidError:
    from pvehelm.chart.manifest import API_VERSION

    problems = [
        Problem(
            str(one.source),
            f"{one.kind or 'a manifest'} of {one.api_version}, not of {API_VERSION}"
            if one.api_version
            else "apiVersion and kind are missing",
        )
        for one in made.foreign
    ]
    hint = "pvehelm template prints manifests of Kubernetes; helm or kubectl installs them"
    return InvalidError(f"{chart.name}: manifests that are not for Proxmox", problems, hint=hint)


def offline(
    prepared: Prepared,
    name: str,
    namespace: str,
    *,
    pve_version: str = "",
    is_upgrade: bool = False,
    revision: int = 1,
    strict: bool = False,
    lint: bool = False,
    foreign: bool = False,
    kubernetes: tuple[str, tuple[str, ...]] = ("", ()),
    keep: Ask | None = None,
) -> Rendered:
    """Rendered without a server: the kinds and version of the newest (or the given) schema; manifests validated.

    ``keep`` answers for random values, by default with placeholders (``chart.kept``).
    """
    from pvehelm.api import releases
    from pvehelm.chart.render import ReleaseInfo
    from pvehelm.release.generated import Placeholders

    release = releases.best_release(pve_version)
    made = rendered(
        shown_values(prepared),
        ReleaseInfo(name, namespace, revision, not is_upgrade, is_upgrade),
        pve_version or release,
        releases.kind_names(release),
        keep=keep or Placeholders(keys=False),
        strict=strict,
        lint=lint,
        foreign=foreign,
        kubernetes=kubernetes,
        # Until the child answers there is time to make ready what its answer is checked with.
        meanwhile=lambda: _checker(release),
    )
    _checker(release)(made.resources)
    return made


def _checker(release: str) -> Callable[[Sequence[Resource]], None]:
    """What checks manifests against a release of Proxmox VE (``release.validity``)."""
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.release.validity import require_valid

    return partial(require_valid, Kinds.load(Schema.load(release)))


class Templated(NamedTuple):
    """What ``template`` prints, the documents in it not for Proxmox, how many random values are placeholders."""

    text: str
    foreign: tuple[Foreign, ...]
    placeholders: int = 0


@action("local")
def template(
    chart: Chart,
    flags: Sequence[ValueFlag] = (),
    *,
    name: str = "release-name",
    namespace: str = "default",
    pve_version: str = "",
    is_upgrade: bool = False,
    skip_schema: bool = False,
    strict: bool = False,
    show_only: Sequence[str] = (),
    include_crds: bool = False,
    hooks: bool = True,
    tests: bool = True,
    kube_version: str = "",
    api_versions: Sequence[str] = (),
    foreign: bool = True,
    post: PostRenderer | None = None,
) -> Templated:
    """Render a chart's manifests and print them, without a server.

    A chart in Helm's own syntax prints what ``helm template`` prints of it: documents in the order of their kinds,
    hooks last, as ``stream`` has it. Raises InvalidError, and NotFoundError where ``show_only`` names nothing there.
    """
    from pvehelm.release.generated import Placeholders

    if post is not None and show_only:
        raise UsageError("--show-only and --post-renderer exclude each other: its output has no templates")
    prepared = prepare(chart, flags, skip_schema=skip_schema)
    random = Placeholders(keys=False)
    made = offline(
        prepared,
        name,
        namespace,
        pve_version=pve_version,
        is_upgrade=is_upgrade,
        strict=strict,
        foreign=foreign,
        kubernetes=(kube_version, tuple(api_versions)),
        keep=random,
    )
    first: Iterable[Document] = ()
    if include_crds:
        from pvehelm.chart.stream import crds

        first = crds(prepared.chart)
    if chart.metadata.engine == "gotpl":
        from pvehelm.chart import stream

        text = stream.text(made.files, first=first, hooks=hooks, tests=tests)
        text = stream.only(text, show_only) if show_only else text
        return Templated(_posted(text, post, pve_version), made.foreign, random.count)
    wanted = {
        path: text
        for path, text in made.files.items()
        if not show_only or path in show_only or path.partition("/")[2] in show_only
    }
    missing = [path for path in show_only if not any(p == path or p.partition("/")[2] == path for p in made.files)]
    if missing:
        raise InvalidError(
            f"no template {missing[0]!r} in the chart", hint=f"there are {', '.join(sorted(made.files))}"
        )
    parts = [f"---\n# Source: {path}\n{text.strip()}\n" for path, text in sorted(wanted.items()) if text.strip()]
    return Templated(_posted("".join((*map(str, first), *parts)), post, pve_version), made.foreign, random.count)


def _posted(text: str, post: PostRenderer | None, pve_version: str) -> str:
    """What a post-renderer makes of a text; the manifests in it are checked."""
    if post is None:
        return text
    from pvehelm.api.releases import best_release
    from pvehelm.chart.manifest import check_unique, parse

    made = post.text(text)
    found = parse(made, file=f"output of {post.name}", foreign=[])
    check_unique(found)
    _checker(best_release(pve_version))(found)
    return made if made.endswith("\n") else made + "\n"


@action("local")
def lint(
    chart: Chart,
    flags: Sequence[ValueFlag] = (),
    *,
    strict: bool = False,
    pve_version: str = "",
    skip_schema: bool = False,
    unused: bool = False,
    ci: bool = False,
) -> tuple[list[Finding], bool]:
    """Check a chart: metadata, values, schema, templates, manifests. Returns findings and whether it passed.

    ``strict`` lets warnings count; ``unused`` warns of values, the chart's own included, that no template used; ``ci``
    checks again with each values file of the chart's ``ci/``. What the chart's own files silence is left out
    (``chart.rules``).
    """
    from pvehelm.chart.rules import silenced
    from pvehelm.chart.values import ValueFlag

    rounds: list[Sequence[ValueFlag]] = [flags]
    for path in sorted(chart.raw) if ci else ():
        if path.startswith("ci/") and path.count("/") == 1 and path.endswith((".yaml", ".yml")):
            text = chart.raw[path].decode("utf-8-sig", "replace")
            rounds.append([ValueFlag("file", chart.file(path), text), *flags])
    found: dict[tuple[str, ...], Finding] = {}
    for given in rounds:
        for one in _found(chart, given, strict, pve_version, skip_schema, unused):
            # Another round's resources may have other names; the mistake is the same.
            found.setdefault((one.rule, one.where) if one.rule.startswith("pve-") else one[:2], one)
    findings = silenced(chart, found.values(), lint_rules())
    bad = ("error", "warning") if strict else ("error",)
    return findings, not any(one.severity in bad for one in findings)


def _found(
    chart: Chart, flags: Sequence[ValueFlag], strict: bool, pve_version: str, skip_schema: bool, unused: bool
) -> list[Finding]:
    from pvehelm.actions.values import unused_values
    from pvehelm.chart.lint import lint as static
    from pvehelm.chart.rules import finding
    from pvehelm.chart.values import for_chart, from_flags, origins, overlay

    flags = for_chart(flags, chart)
    findings = static(chart, overlay({}, from_flags(flags)), sources=origins(flags))
    if not any(one.severity == "error" for one in findings):
        try:
            prepared = prepare(chart, flags, skip_schema=skip_schema)
            if chart.metadata.type != "library":
                made = offline(prepared, "release-name", "default", pve_version=pve_version, strict=strict, lint=True)
                findings += _made(chart, made, pve_version)
                if unused:
                    idle = unused_values(chart, flags, defaults=True, pve_version=pve_version)
                    findings += [finding("values-unused", p.where, p.what, p.hint) for p in idle]
        except InvalidError as error:
            problems = error.problems or (Problem(chart.path, str(error), error.hint),)
            findings = [*(finding("render", _placed(chart, p.where), p.what, p.hint) for p in problems), *findings]
    return findings


def _made(chart: Chart, made: Rendered, pve_version: str) -> list[Finding]:
    """What is found in the manifests."""
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema
    from pvehelm.release.lint import findings

    sources: dict[str, str] = {}

    def collect(one: Chart, prefix: str) -> None:
        sources.update({f"{prefix}{name}": text for name, text in one.templates.items()})
        for sub in one.dependencies:
            collect(sub, f"{prefix}charts/{sub.name}/")

    collect(chart, f"{chart.name}/")
    found = findings(made.resources, Kinds.load(Schema.load(pve_version)), sources)
    return [one._replace(where=_placed(chart, one.where)) for one in found]


def _placed(chart: Chart, where: str) -> str:
    """A place in a template as a file that can be opened."""
    prefix = f"{chart.name}/"
    return chart.file(where.removeprefix(prefix)) if where.startswith(prefix) else where


@action("local")
def lint_rules() -> dict[str, Rule]:
    """The rules of lint by name."""
    from pvehelm.chart.rules import RULES
    from pvehelm.release.lint import RULES as PROXMOX

    return {**RULES, **PROXMOX}


@action("local", "chart-docs")
def documented(chart: Chart) -> str:
    """Write the tables of a chart's README from its values' comments and its schema: the README's new text."""
    from pvehelm.chart.readme import NAME, written

    return written(chart, chart.raw.get(NAME, b"").decode("utf-8-sig", "replace"))


@action("local")
def show(chart: Chart, what: str = "all", *, jsonpath: str = "") -> str:
    """Show a chart's definition, values, README or crds/; ``jsonpath`` picks from the values."""
    if jsonpath:
        from pvehelm.chart.jsonpath import Template

        return Template(jsonpath).text(chart.values)
    texts = {name: chart.raw.get(name, b"").decode("utf-8-sig", "replace") for name in ("Chart.yaml", "README.md")}
    parts = {"chart": texts["Chart.yaml"], "values": chart.values_text, "readme": texts["README.md"]}
    if what == "crds":
        from pvehelm.chart.stream import crds

        return "".join(f"---\n{one.text.rstrip()}\n" for one in crds(chart))
    if what != "all":
        return parts[what]
    return "---\n".join(text if text.endswith("\n") else text + "\n" for text in parts.values() if text)


@action("local")
def create(name: str, engine: str = "jinja2") -> Mapping[str, str]:
    """Scaffold a chart: paths and contents of its files."""
    from pvehelm.chart.scaffold import scaffold

    return scaffold(name, engine)


@action("local")
def create_from(name: str, starter: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Begin a chart as another, whose files are given: paths and contents of its own."""
    from pvehelm.chart.scaffold import from_starter

    return from_starter(name, starter)


@action("local")
def package(chart: Chart, *, version: str = "", app_version: str = "") -> tuple[str, bytes]:
    """Pack a chart into an archive that is the same everywhere: its file name and its bytes."""
    from pvehelm.chart.package import package as pack
    from pvehelm.chart.package import stamp

    if version or app_version:
        chart = stamp(chart, version=version, app_version=app_version)
    return f"{chart.metadata.name}-{chart.version}.tgz", pack(chart)
