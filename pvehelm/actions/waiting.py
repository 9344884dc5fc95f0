"""Waiting for objects: until they are there or gone, say something of themselves, or are ready."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pvehelm.actions import action
from pvehelm.errors import NotFoundError, Problem, PvehelmError, UsageError

if TYPE_CHECKING:
    from pvehelm.actions.objects import Query
    from pvehelm.chart.manifest import Resource
    from pvehelm.release.context import Context
    from pvehelm.release.objects import Object
    from pvehelm.release.release import ReleaseKey

Look = Callable[["Object"], Awaitable[Sequence[str] | None]]
"""What an object lacks, in words; None where there is nothing to say but that it is not so."""
HINT = "status=running, ready, delete, create, FIELD=VALUE or jsonpath={.path}=VALUE"


@action("read", "wait")
async def wait_for(
    ctx: Context,
    words: Sequence[str],
    condition: str,
    *,
    timeout: float = 30.0,
    interval: float = 1.0,
    query: Query | None = None,
) -> list[str]:
    """Wait until objects are as ``condition`` says: ``status=running``, ``ready``, ``delete``, ``create``,
    ``FIELD=VALUE`` or ``jsonpath=PATH=VALUE``. The refs of what came to be so.

    Raises PvehelmError after ``timeout`` seconds, naming what is not so yet and what it lacks, and UsageError.
    """
    from dataclasses import replace

    from pvehelm.actions.objects import Query, get

    condition = condition.removeprefix("condition=")
    if condition.lower() in ("ready", "ready=true"):
        condition = "ready"
    query = replace(query or Query(), full=True, lenient=condition == "delete")
    client = await ctx.connect()
    look = Readiness(ctx).lacks if condition == "ready" else _told(condition_test(condition))
    named = ", ".join(one.ref for one in query.resources) or " ".join(words)
    every = not query.resources and len(words) < 2 and not any("/" in word for word in words)
    met: dict[str, None] = {}
    left: dict[str, str] = {}

    async def so() -> bool:
        try:
            objects = (await get(ctx, words, query)).objects
        except NotFoundError:
            if condition != "create":
                raise
            objects = []
        # Of all of a kind, templates are no guests that anybody waits for.
        objects = [one for one in objects if not every or not one.found.row.get("template")]
        found = await asyncio.gather(*map(look, objects))
        left.clear()
        left.update(
            (one.ref, "; ".join(lacks or ()))
            for one, lacks in zip(objects, found, strict=True)
            if lacks is None or lacks
        )
        met.update((one.ref, None) for one in objects if one.ref not in left or condition == "delete")
        return not objects if condition == "delete" else bool(objects) and not left

    try:
        # However little time there is, it is looked at once.
        done = await so()
        async with asyncio.timeout(timeout):
            while not done:
                await client.sleep(interval)
                done = await so()
        return list(met) or [named]
    except TimeoutError:
        problems = [Problem(ref, lacks) for ref, lacks in left.items() if lacks]
        whom = "" if problems else f": {', '.join(left) or f'no {named}'}"
        so_far = {"create": "not there", "delete": "still there"}.get(condition, f"not {condition}")
        what = f"{so_far} after {timeout:g} s{whom}"
        raise PvehelmError(what, problems, hint="--timeout waits longer") from None


def _told(test: Callable[[Mapping[str, Any]], bool]) -> Look:
    from pvehelm.actions.objects import document

    async def look(one: Object) -> Sequence[str] | None:
        return () if test(document(one)) else None

    return look


def condition_test(condition: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a document is as a condition of ``--for`` says. Raises UsageError."""
    from pvehelm.actions.objects import field_test
    from pvehelm.chart.jsonpath import path, printed

    if condition == "delete":
        return lambda document: False
    if condition == "create":
        return lambda document: True
    head, equals, rest = condition.partition("=")
    if head.lower() in ("delete", "create", "ready") and equals:
        raise UsageError(f"--for {condition!r}: {head} takes no value", hint=HINT)
    if head == "jsonpath":
        found = re.fullmatch(r"(\{.*\}|'\{.*\}'|[^={}]+)(?:==?(.*))?", rest, re.DOTALL)
        if not found:
            raise UsageError(f"--for {condition!r}: expected jsonpath={{.path}}=VALUE")
        find, wanted = path(found[1].strip("'")), found[2]
        if wanted is None:
            return lambda document: bool(find(document))
        wanted = wanted.strip("'\"")
        return lambda document: any(printed(value) == wanted for value in find(document))
    if "=" not in condition:
        raise UsageError(f"--for {condition!r} is no condition", hint=HINT)
    return field_test(condition)


class Readiness:
    """What objects lack until they are ready, as ``--wait`` of their release sees it: guests run (unless their manifest
    says otherwise), their agents answer and their addresses are known; HA has them where it shall; nodes are online;
    what a manifest's ``readyWhen`` says holds. Others are ready when they are there."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self._manifests: dict[ReleaseKey, dict[str, Resource]] = {}

    async def lacks(self, one: Object) -> Sequence[str]:
        """In words; nothing once it is ready."""
        from pvehelm.release.live import Reader
        from pvehelm.release.observe import seen
        from pvehelm.release.readiness import lacking

        if one.kind.name == "Node":
            state = str(one.found.row.get("status") or "online")
            return () if state == "online" else (f"it is {state}",)
        if one.live is None or one.found.row.get("template"):
            return ()
        resource = self._manifest(one)
        conditions = [str(text) for text in resource.metadata.get("readyWhen") or ()] if resource else []
        wanted: dict[str, Any] = {"conditions": conditions}
        if one.vmid:
            asked = str((resource.spec.get("power") if resource else "") or "")
            wanted["state"] = "stopped" if asked == "stopped" else "running"
        elif one.kind.name == "HAResource":
            wanted["state"] = str(one.live.fields.get("state") or "started")
        if not any(wanted.values()):
            return ()
        client = await self.ctx.connect()
        document = await seen(client, one.kind.name, one.live, Reader(client))
        return await lacking(client, one.kind.name, document, wanted, sid=str(one.found.key.get("sid") or ""))

    def _manifest(self, one: Object) -> Resource | None:
        """What its release says of it."""
        from pvehelm.chart.manifest import parse

        key = one.owner
        if key is None or not key.namespace:
            return None
        if key not in self._manifests:
            release = self.ctx.store.find(key)
            text = release.current.manifest if release is not None else ""
            found = parse(text, file=str(key), foreign=[])
            self._manifests[key] = {resource.ref: resource for resource in found}
        return self._manifests[key].get(one.ref)
