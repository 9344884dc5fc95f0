"""The verbs of a guest's life, each one call of the API: power, migration, clones. Pure: what is there goes in, what
has to be called comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Key, Step
from pvehelm.api.mark import split_mark
from pvehelm.errors import InvalidError, RefusedError


class Verb(NamedTuple):
    """A power verb: the states it makes sense in, the state it leads to, and what was done when it is over."""

    name: str
    begins: tuple[str, ...]
    ends: str
    done: str


VERBS = {
    verb.name: verb
    for verb in (
        Verb("start", ("stopped", "suspended"), "running", "started"),
        Verb("stop", ("running", "paused"), "stopped", "stopped"),
        Verb("shutdown", ("running", "paused"), "stopped", "shut down"),
        Verb("reboot", ("running",), "running", "rebooted"),
        Verb("reset", ("running", "paused"), "running", "reset"),
        Verb("suspend", ("running",), "paused", "suspended"),
        Verb("resume", ("paused", "suspended"), "running", "resumed"),
    )
}


def state_of(current: Mapping[str, Any]) -> str:
    """``running``, ``stopped``, ``paused`` (in memory) or ``suspended`` (on disk), of ``status/current``."""
    if current.get("lock") == "suspended":
        return "suspended"
    if current.get("qmpstatus") in ("paused", "prelaunch") and current.get("status") == "running":
        return "paused"
    return str(current.get("status", "unknown"))


def power_steps(
    kind: GuestKind, key: Key, verb: str, current: Mapping[str, Any], options: Mapping[str, Any]
) -> list[Step]:
    """The calls of a power verb; none when the guest is as it would be then.

    ``options`` are parameters of the call: those that it does not have are left out. Raises RefusedError where the
    verb makes no sense in the guest's state, InvalidError where its kind has no such verb.
    """
    meant, state = VERBS[verb], state_of(current)
    path = f"/nodes/{key['node']}/{kind.flavour}/{key['vmid']}/status/{verb}"
    operation = kind.schema.find("POST", f"/nodes/{{node}}/{kind.flavour}/{{vmid}}/status/{verb}")
    if operation is None:
        raise InvalidError(
            f"a {kind.name} can't be {meant.done}", hint="reboot asks the system in it, stop and start do not"
        )
    if verb == "suspend" and options.get("todisk"):
        meant = meant._replace(ends="suspended", begins=("running", "paused"))
    if state == meant.ends and verb not in ("reboot", "reset"):
        return []
    if verb in ("stop", "shutdown") and state == "suspended":
        return []
    if state not in meant.begins and state != "unknown":
        raise RefusedError(f"it is {state} and can't be {meant.done}", hint=_instead(verb, state))
    params = {name: value for name, value in options.items() if name in operation.params and value is not None}
    return [Step("POST", path, params, note=verb)]


def _instead(verb: str, state: str) -> str:
    if state == "paused":
        return "resume goes on where it was"
    return "start it first" if verb in ("reboot", "reset", "suspend") else "start switches it on"


def migrate_step(
    kind: GuestKind,
    key: Key,
    target: str,
    *,
    running: bool,
    offline: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Step:
    """The call that moves a guest to a node: a running machine goes on running, a running container is restarted
    there. Raises RefusedError for a running guest that shall move ``offline``."""
    params: dict[str, Any] = {"target": target}
    if running and offline:
        raise RefusedError("it is running", hint="shut it down first, or leave --offline out")
    if running:
        params |= {"online": 1} if kind.flavour == "qemu" else {"restart": 1}
        if kind.flavour == "qemu":
            params["with-local-disks"] = 1
    given = dict(options or {})
    if kind.flavour == "lxc" and given.get("targetstorage"):
        given["target-storage"] = given.pop("targetstorage")
    params |= {name: value for name, value in given.items() if value is not None}
    return Step(
        "POST", f"/nodes/{key['node']}/{kind.flavour}/{key['vmid']}/migrate", params, note=f"migrate to {target}"
    )


def clone_steps(
    kind: GuestKind, key: Key, newid: int, name: str, config: Mapping[str, Any], options: Mapping[str, Any]
) -> list[Step]:
    """The calls that copy a guest. The copy keeps the text of the description, not the mark in it."""
    text, mark = split_mark(str(config.get("description", "")))
    params: dict[str, Any] = {"newid": newid, kind.name_field: name}
    params |= {"description": text} if mark is not None and text else {}
    params |= {option: value for option, value in options.items() if value is not None}
    base = f"/nodes/{key['node']}/{kind.flavour}"
    steps = [Step("POST", f"{base}/{key['vmid']}/clone", params, note=f"clone to {name}")]
    if mark is not None and not text:
        # An empty description is none to the call, and the source's is copied.
        path = f"/nodes/{params.get('target') or key['node']}/{kind.flavour}/{newid}/config"
        steps.append(Step("PUT", path, {"delete": "description"}, note="take the mark away"))
    return steps
