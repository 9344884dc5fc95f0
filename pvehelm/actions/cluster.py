"""What the server and its schema offer: kinds, fields, raw calls, contexts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action

if TYPE_CHECKING:
    from pvehelm.release.context import Context


@action("local")
def explain(path: str, *, release: str = "") -> Mapping[str, Any]:
    """What a kind, or a field of it (``vm.net0.bridge``, ``vm.spec``, ``vm.metadata.lifecycle``), is."""
    from pvehelm.api.editor import metadata
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.kinds import explain as explained
    from pvehelm.api.schema import Schema
    from pvehelm.release.kindwords import kind_of

    name, _, field = path.partition(".")
    kind = kind_of(Kinds.load(Schema.load(release)), name)
    if field.partition(".")[0] == "metadata":
        return {"kind": kind.name, **metadata(field.partition(".")[2])}
    return explained(kind, None if field == "spec" else field or None)


@action("local")
def api_resources(*, release: str = "") -> list[Mapping[str, Any]]:
    """The kinds that manifests may have."""
    from pvehelm.api.kinds import Kinds, tables
    from pvehelm.api.schema import Schema

    return [
        {
            "name": kind.name,
            "plural": kind.plural,
            "short": list(kind.short),
            "namespaced": kind.namespaced,
            "privileged": kind.privileged,
            "privileged_fields": tables()[kind.name].privileges.names,
            "evidence": kind.evidence,
        }
        for kind in Kinds.load(Schema.load(release))
    ]


@action("local")
def schema_manifests(*, release: str = "") -> Mapping[str, Mapping[str, Any]]:
    """JSON Schemas of manifests for editors, by file name: one a kind, and ``manifests.json`` for all."""
    from pvehelm.api.editor import documents
    from pvehelm.api.kinds import Kinds
    from pvehelm.api.schema import Schema

    return documents(Kinds.load(Schema.load(release)))


@action("local")
def schema_report(*, release: str = "") -> Mapping[str, Any]:
    """Counts of a schema per section, verb, type and format."""
    from collections import Counter

    from pvehelm.api.schema import Schema

    schema = Schema.load(release)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("section", "verb", "type", "format")}
    parameters = 0
    for operation in schema.operations():
        counts["section"][operation.path.strip("/").split("/")[0] or "/"] += 1
        counts["verb"][operation.method] += 1
        for param in operation.everything.values():
            parameters += 1
            counts["type"][param.type] += 1
            kind = param.format
            if kind:
                counts["format"]["(property string)" if isinstance(kind, Mapping) else str(kind)] += 1
    report: dict[str, Any] = {"release": schema.release, "operations": len(schema), "paths": len(schema.paths)}
    report["parameters"] = parameters
    return report | {name: dict(sorted(counter.items())) for name, counter in counts.items()}


@action("write", reads=lambda method, *_, **__: method.upper() == "GET")
async def api(
    ctx: Context, method: str, path: str, params: Mapping[str, Any] | None = None, *, wait: bool = False
) -> Any:
    """One raw call of the API; returns its data."""
    if method.upper() != "GET":
        ctx.begin()
    client = await ctx.dial()
    try:
        data = await client.request(method.upper(), path if path.startswith("/") else f"/{path}", params or {})
        if wait:
            from pvehelm.api.task import Task, is_upid

            if is_upid(data):
                return {"upid": data, "exitstatus": (await Task(data, client).wait()).exitstatus}
        return data
    finally:
        await client.aclose()


# What the main job asks of a token, by what for; context test says which of them it has.
PRIVILEGES: Sequence[tuple[str, str, Sequence[str]]] = (
    ("see the cluster", "/", ("Sys.Audit",)),
    ("guests", "/vms", ("VM.Allocate", "VM.Audit", "VM.Clone", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.Memory")),
    ("guests' power", "/vms", ("VM.PowerMgmt",)),
    ("storage", "/storage", ("Datastore.AllocateSpace", "Datastore.Audit")),
    ("namespaces", "/pool", ("Pool.Allocate", "Pool.Audit")),
    ("firewall", "/", ("Sys.Modify",)),
    ("high availability", "/", ("Sys.Console",)),
)


@action("read")
async def context_test(ctx: Context) -> Mapping[str, Any]:
    """Whether a context's server answers, and what its credentials may do."""
    client = await ctx.connect()
    permissions: Mapping[str, Mapping[str, Any]] = await client.get("/access/permissions") or {}

    def may(path: str, privilege: str) -> bool:
        return any(
            privilege in privileges
            for where, privileges in permissions.items()
            if where == "/"
            or where == path
            or path.startswith(where.rstrip("/") + "/")
            or where.startswith(path.rstrip("/") + "/")
        )

    checks = [
        {"what": what, "path": path, "missing": [p for p in privileges if not may(path, p)]}
        for what, path, privileges in PRIVILEGES
    ]
    nodes = [row["node"] for row in await client.get("/nodes") or []]
    return {
        "context": ctx.name,
        "version": ctx.release,
        "cluster": ctx.cluster,
        "nodes": sorted(nodes),
        "checks": checks,
    }
