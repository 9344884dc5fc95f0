"""What the credentials in use may do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pvehelm.api.kind import Kind, Step
    from pvehelm.release.context import Context

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "describe": "GET",
    "create": "POST",
    "update": "PUT",
    "edit": "PUT",
    "apply": "PUT",
    "patch": "PUT",
    "delete": "DELETE",
}
LIFE = ("start", "stop", "shutdown", "reboot", "reset", "suspend", "resume", "migrate", "clone", "snapshot")


class Answer(NamedTuple):
    """Whether something is allowed, and what is missing where it is not."""

    allowed: bool
    missing: str = ""
    hint: str = ""


@action("read", "can-i")
async def can_i(ctx: Context, verb: str, target: str) -> Answer:
    """Whether the credentials may do ``verb`` (get, create, update, delete, start, migrate..., or GET, POST, PUT,
    DELETE) to ``target`` (KIND, KIND/NAME or a path of the API).

    Told by the schema's permission checks and the server's own list of permissions; what depends on more than those
    counts as allowed. Raises UsageError, NotFoundError.
    """
    from pvehelm.api import rights

    client = await ctx.connect()
    kind, steps = await _steps(ctx, verb.lower(), target)
    who = client.auth.identity
    permissions: Mapping[str, Any] = await client.get("/access/permissions") or {}
    found = rights.problems(ctx.schema, [(target, kind, steps)], permissions, who)
    return Answer(not found, "; ".join(problem.what for problem in found), found[0].hint if found else "")


async def _steps(ctx: Context, verb: str, target: str) -> tuple[str, list[Step]]:
    """The kind of a target and the calls that the verb means there."""
    from pvehelm.api.guests import GuestKind
    from pvehelm.api.kind import Step
    from pvehelm.release.live import Reader
    from pvehelm.release.objects import check_guest, guests, kinds_of

    method = METHODS.get(verb, verb.upper())
    if target.startswith("/"):
        if method not in ("GET", "POST", "PUT", "DELETE"):
            raise UsageError(f"{verb!r} is nothing to do to a path", hint="get, create, update or delete")
        if ctx.schema.match(method, target) is None:
            raise NotFoundError(f"the API has no {method} {target}", hint="pvehelm api get / shows what there is")
        return "", [Step(method, target)]
    word, _, name = target.partition("/")
    kind = kinds_of(ctx.kinds, word)[0]
    if isinstance(kind, GuestKind):
        key: dict[str, Any] = {"node": "new", "vmid": "new"}
        if name:
            reader = Reader(await ctx.connect())
            key = dict((await guests(ctx, [target], reader, namespace=None))[0].found.key)
        return kind.name, [_guest_step(check_guest(kind), verb, key, ctx.namespace)]
    if verb in LIFE or verb not in METHODS:
        raise UsageError(f"{verb!r} is nothing to do to a {kind.name}", hint=", ".join(METHODS))
    return kind.name, [_plain_step(kind, method, verb, name)]


def _guest_step(kind: Any, verb: str, key: Mapping[str, Any], namespace: str) -> Step:
    from pvehelm.api.kind import Step

    base = f"/nodes/{key['node']}/{kind.flavour}"
    item = f"{base}/{key['vmid']}"
    if verb == "create":
        pool = {} if namespace == "default" else {"pool": namespace}
        return Step("POST", base, {"vmid": key["vmid"], **pool}, note=f"create a {kind.name}")
    if verb in ("migrate", "clone", "snapshot"):
        return Step("POST", f"{item}/{verb}", {"newid": "new"} if verb == "clone" else {}, note=verb)
    if verb in LIFE:
        return Step("POST", f"{item}/status/{verb}", note=verb)
    if verb == "delete":
        return Step("DELETE", item, note="destroy")
    if verb not in METHODS:
        raise UsageError(f"{verb!r} is nothing to do to a guest", hint=", ".join((*METHODS, *LIFE)))
    method = METHODS[verb]
    return Step(method, f"{item}/config", note="read" if method == "GET" else "configure")


def _plain_step(kind: Kind, method: str, verb: str, name: str) -> Step:
    from pvehelm.api.kind import Step
    from pvehelm.api.nodes import NODE

    if kind is NODE:
        return Step("GET", f"/nodes/{name or 'new'}/status" if name else "/nodes", note="read")
    schema_kind: Any = kind
    shape = schema_kind.shape(schema_kind.places[0])
    operation = {"GET": shape.item if name else shape.index, "POST": shape.create, "PUT": shape.update}.get(
        method, shape.delete
    )
    operation = operation or shape.index
    if operation is None or (method != "GET" and operation.method == "GET"):
        raise UsageError(f"there is no call that would {verb} a {kind.name}")
    own = [*schema_kind.id_names][-1:]
    path = re.sub(r"\{([^}]+)\}", lambda found: name if found[1] in own and name else "new", operation.path)
    params = dict.fromkeys(own, name or "new")
    return Step(operation.method, path, params, note=f"{verb} {kind.name}")


@action("read")
async def whoami(ctx: Context) -> Mapping[str, Any]:
    """Who the server takes the credentials for, and where: ``user context cluster version``."""
    client = await ctx.connect()
    # Whoever is known may ask for this, with the least that there is.
    await client.get("/access/permissions")
    return {"user": client.auth.identity, "context": ctx.name, "cluster": ctx.cluster, "version": ctx.release}


@action("read", "permissions")
async def permissions(ctx: Context) -> Mapping[str, Mapping[str, int]]:
    """Every path with the privileges that the credentials have there: 1 where they spread to what is below."""
    client = await ctx.connect()
    return dict(sorted((await client.get("/access/permissions") or {}).items()))
