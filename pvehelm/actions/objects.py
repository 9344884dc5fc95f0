"""What there is in the cluster: objects of any kind, as lists, as manifests, watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.objects import Catalogue, Object, Wish

# What changes all the time and is no event.
VOLATILE = frozenset(
    {"cpu", "mem", "memhost", "disk", "uptime", "netin", "netout", "diskread", "diskwrite", "used", "avail", "digest"}
    | {"next-run", "pressurecpufull", "pressurecpusome", "pressureiofull", "pressureiosome"}
    | {"pressurememoryfull", "pressurememorysome"}
)


# The word for every object of a namespace.
ALL = "all"


@dataclass(frozen=True)
class Query:
    """Which objects. ``selector`` and ``field_selector`` as kubectl has them; ``scope`` of kinds that have one;
    ``full`` reads each object, where else its list's row will do; ``resources`` are manifests whose objects are meant,
    instead of words; ``lenient`` leaves out what is named and is not there."""

    selector: str = ""
    field_selector: str = ""
    all_namespaces: bool = False
    scope: str = ""
    full: bool = False
    resources: Sequence[Resource] = ()
    lenient: bool = False


@action("read", "get")
async def get(ctx: Context, words: Sequence[str], query: Query | None = None) -> Catalogue:
    """Objects of one or several kinds: ``vms``, ``vms,cts``, ``vm web``, ``vm/web``. Lists first, then what is asked of
    each. Raises NotFoundError for a name that is not there, UsageError for a selector that is none."""
    from pvehelm.release import objects
    from pvehelm.release.live import Reader

    query = query or Query()
    client = await ctx.connect()
    reader = Reader(client)
    by_labels, by_fields = label_test(query.selector), field_test(query.field_selector)
    namespace = None if query.all_namespaces else ctx.namespace
    wanted = wished(ctx, words, query)
    scope = _scope(query, wanted)
    if query.lenient:
        made, _ = await objects.search(ctx, wanted, reader, scope=scope, namespace=namespace)
    else:
        made = await objects.catalogue(ctx, wanted, reader, scope=scope, namespace=namespace)
    if list(words) == [ALL]:
        owners = [one.owner.namespace if one.owner is not None else "" for one in made.objects]
        pairs = zip(made.objects, owners, strict=True)
        made.objects = [one for one, owner in pairs if one.vmid or (owner and namespace in (None, owner))]
    made.objects = [one for one in made.objects if by_labels(one.labels)]
    # They are only counted, so what cannot be told without reading them is left out.
    read = not _asks_to_read(query.field_selector, made.objects)
    made.elsewhere = [one for one in made.elsewhere if read and by_labels(one.labels) and by_fields(_placed(one))]
    if query.full or not read or not all(one.found.row for one in made.objects):
        # One node that does not answer hides its objects' fields, and nobody else's.
        several = not any(wish.names for wish in wanted)
        made.objects = await objects.read(made.objects, reader, made.silent if several else None)
    made.objects = [one for one in made.objects if by_fields(_placed(one))]
    return made


def wished(ctx: Context, words: Sequence[str], query: Query) -> list[Wish]:
    """What is asked for, by words or by manifests. Raises UsageError, NotFoundError."""
    from pvehelm.release import objects

    if list(words) == [ALL]:
        return everything(ctx, None if query.all_namespaces else ctx.namespace)
    if not query.resources:
        try:
            return objects.wishes(ctx.kinds, words)
        except NotFoundError as error:
            if ctx.store.find(ctx.key(words[0])) is None:
                raise
            hint = f"it is a release: `pvehelm status {words[0]}`, `pvehelm get all {words[0]}`"
            raise NotFoundError(error.message, hint=f"{hint}, `pvehelm get guests -A -l release={words[0]}`") from None
    found = objects.of_manifests(ctx.kinds, query.resources, ctx.namespace)
    if not found:
        raise UsageError("there are hooks alone in these manifests", hint="they are done and are not there to be seen")
    return found


def everything(ctx: Context, namespace: str | None) -> list[Wish]:
    """``get all``: the guests of a namespace, and the kinds of whatever its releases own."""
    from pvehelm.release.objects import GUESTS, Wish

    owned = {owned.kind for key, owned in ctx.store.owned(ctx.cluster) if namespace in (None, key.namespace)}
    names = [*GUESTS, *sorted(name for name in owned if name not in GUESTS and name in ctx.kinds)]
    return [Wish(ctx.kinds.get(name), (), ALL) for name in names]


def _scope(query: Query, wanted: Sequence[Wish]) -> str:
    """The scope that is asked for; that of manifests, and of everything, may be any."""
    open_ = query.resources or any(wish.word == ALL for wish in wanted)
    scoped = open_ and any(getattr(wish.kind, "scoped", False) for wish in wanted)
    return query.scope or ("all" if scoped else "")


def _asks_to_read(field_selector: str, objects: Sequence[Object]) -> bool:
    """Whether lists can't tell: fields of the spec, and names without a dot that no list knows."""
    names = [_term(part)[0] for part in field_selector.split(",") if part.strip()]
    told = {name for one in objects for name in (*_status(one), "name", "namespace")}
    return any(name.startswith("spec") or ("." not in name and name not in told) for name in names)


def _placed(one: Object) -> dict[str, Any]:
    """An object as a selector sees it: with the namespace that manifests leave out, too."""
    made = document(one)
    if one.kind.namespaced:
        made["metadata"].setdefault("namespace", one.namespace)
    return made


@action("read", "get-watch")
async def watch(
    ctx: Context, words: Sequence[str], query: Query | None = None, *, interval: float = 2.0, first: bool = True
) -> AsyncIterator[list[tuple[str, Object]]]:
    """Objects as they are (none if not ``first``), then whenever there are changes all of them: (``ADDED``,
    ``MODIFIED`` or ``DELETED``, object). Asked every ``interval`` seconds, for the server tells nothing by itself."""
    known: dict[str, tuple[Any, Object]] = {}
    from pvehelm.errors import NotFoundError

    begun = False
    while True:
        try:
            found = (await get(ctx, words, query)).objects
        except NotFoundError:
            # What is named may come to be, and go away.
            found = []
        now = {f"{one.found.ref} {sorted(one.found.key.items(), key=str)}": one for one in found}
        changes: list[tuple[str, Object]] = []
        for name, one in now.items():
            state = lasting(document(one))
            before = known.get(name)
            if before is None or before[0] != state:
                known[name] = (state, one)
                changes.append(("ADDED" if before is None else "MODIFIED", one))
        changes += [("DELETED", known.pop(name)[1]) for name in [name for name in known if name not in now]]
        if changes or not begun:
            yield changes if begun or first else []
        begun = True
        await asyncio.sleep(interval)


def lasting(value: Any) -> Any:
    """Plain data without what changes all the time."""
    if isinstance(value, Mapping):
        return {name: lasting(inner) for name, inner in value.items() if name not in VOLATILE}
    return value


def document(one: Object) -> dict[str, Any]:
    """An object as plain data: its manifest where it was read, and ``status``, which manifests ignore."""
    from pvehelm.api.nodes import NODE
    from pvehelm.api.raising import API_VERSION, manifest

    if one.live is not None and one.kind is not NODE:
        made = manifest(one.kind, one.live, one.name, one.namespace)
    else:
        metadata: dict[str, Any] = {"name": one.name}
        if one.kind.namespaced and one.namespace != "default":
            metadata["namespace"] = one.namespace
        made = {"apiVersion": API_VERSION, "kind": one.kind.name, "metadata": metadata, "spec": {}}
    for part in ("labels", "annotations"):
        if one.owned and one.owned.metadata.get(part):
            made["metadata"][part] = dict(one.owned.metadata[part])
    made["status"] = _status(one)
    return made


def _status(one: Object) -> dict[str, Any]:
    row = {name: value for name, value in one.found.row.items() if name not in ("id", "name", "pool", "digest")}
    status: dict[str, Any] = {**row, **{name: value for name, value in one.found.key.items() if name != "scope"}}
    if str(status.get("vmid", "")).isdigit():
        status["vmid"] = int(status["vmid"])
    if one.live is not None:
        status |= {"status": one.live.extra["status"]} if one.live.extra.get("status") else {}
        if one.live.pending:
            status["pending"] = dict(one.live.pending)
    if one.owner is not None:
        status["release"] = one.owner.name
        status["ref"] = one.ref
    return status


def label_test(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Whether labels fit a selector; '' fits all. Raises UsageError."""
    from pvehelm.actions.looking import parse_selector

    test: Callable[[Mapping[str, str]], bool] = parse_selector(selector)
    return test


def field_test(selector: str) -> Callable[[Mapping[str, Any]], bool]:
    """``status.node=pve1,metadata.name!=web`` on documents; a name without a dot is looked for in all of its parts.

    Raises UsageError.
    """
    tests: list[tuple[list[Callable[[Any], list[Any]]], str, bool]] = []
    for term in filter(None, (part.strip() for part in selector.split(","))):
        name, mark, wanted = _term(term)
        if not mark or not name:
            raise UsageError(
                f"--field-selector {term!r}: expected FIELD=VALUE",
                hint="for example status.status=running,spec.node!=pve1",
            )
        from pvehelm.chart.jsonpath import path

        parts = [name] if "." in name else [f"status.{name}", f"spec.{name}", f"metadata.{name}"]
        tests.append(([path(part) for part in parts], wanted, mark != "!="))

    def one(document: Mapping[str, Any], finders: list[Callable[[Any], list[Any]]], wanted: str) -> bool:
        values = next((found for find in finders if (found := find(document))), [])
        return any(_text(value) == wanted for value in values) or (not values and not wanted)

    return lambda document: all(one(document, finders, wanted) == equal for finders, wanted, equal in tests)


def _term(term: str) -> tuple[str, str, str]:
    for mark in ("!=", "==", "="):
        name, found, value = term.partition(mark)
        if found:
            return name.strip(), mark, value.strip()
    return term, "", ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
