"""The verbs of a guest's life, each one call of the API: power, migration, clones. Pure: what is there goes in, what
has to be called comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pvehelm.api.guests import GuestKind
from pvehelm.api.kind import Key, Step
from pvehelm.api.mark import Mark, split_mark
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


def leaves_no_trace(kind: GuestKind, verb: str) -> str:
    """The task's type of a verb that a guest's state does not tell of afterwards; '' for others."""
    return f"{'qm' if kind.flavour == 'qemu' else 'vz'}{verb}" if verb in ("reboot", "reset") else ""


def power_steps(
    kind: GuestKind, key: Key, verb: str, current: Mapping[str, Any], options: Mapping[str, Any], *, before: str = ""
) -> list[Step]:
    """The calls of a power verb; none when the guest is as it would be then.

    ``options`` are parameters of the call: those that it does not have are left out. ``before`` is the newest task of
    a verb that leaves no other trace. Raises RefusedError where the verb makes no sense in the guest's state,
    InvalidError where its kind has no such verb.
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
    task = leaves_no_trace(kind, verb)
    if state == meant.ends and not task:
        return []
    if verb in ("stop", "shutdown") and state == "suspended":
        return []
    if state not in meant.begins and state != "unknown":
        raise RefusedError(f"it is {state} and can't be {meant.done}", hint=_instead(verb, state))
    params = {name: value for name, value in options.items() if name in operation.params and value is not None}
    seen = {"task": task, "before": before} if task else {"state": meant.ends}
    return [Step("POST", path, params, note=verb, seen=seen)]


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
    path = f"/nodes/{key['node']}/{kind.flavour}/{key['vmid']}/migrate"
    return Step("POST", path, params, note=f"migrate to {target}", seen={"node": target})


def clone_step(
    kind: GuestKind, key: Key, copy: str, uid: str, name: str, config: Mapping[str, Any], options: Mapping[str, Any]
) -> Step:
    """The call that copies a guest. The copy has the text of the description, and a mark of its own (``uid``, and
    ``copy`` as its reference) until it is complete. ``options`` may hold ``newid``; else it is left to be found."""
    text, _ = split_mark(str(config.get("description", "")))
    newid = options.get("newid") or f"${{vmid:{copy}}}"
    mark = str(Mark(uid, copy, str(newid)))
    params: dict[str, Any] = {"newid": newid, kind.name_field: name, "description": f"{text}\n{mark}" if text else mark}
    params |= {option: value for option, value in options.items() if value is not None}
    path = f"/nodes/{key['node']}/{kind.flavour}/{key['vmid']}/clone"
    return Step("POST", path, params, (kind.name_field, "pool"), f"clone to {name}", creates=True)


def task_types(method: str, path: str) -> frozenset[str]:
    """The types of the tasks that a call on a guest may start; none where they are not known."""
    _, *parts = path.split("/")
    if len(parts) < 4 or parts[0] != "nodes" or parts[2] not in ("qemu", "lxc"):
        return frozenset()
    prefix, word = ("qm" if parts[2] == "qemu" else "vz"), parts[-1]
    if method == "DELETE" and len(parts) == 4:
        word = "destroy"
    elif not (method == "POST" and (parts[4:5] == ["status"] or word in ("clone", "migrate", "template"))):
        return frozenset()
    # High availability does some of them itself, and what waits in memory only is called another name.
    more = {"suspend": ("qmpause",), "shutdown": ("hastop",)}.get(word, ())
    return frozenset((f"{prefix}{word}", f"ha{word}", *more))
