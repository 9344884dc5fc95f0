"""Who may do what: ACL entries, roles, groups, pools, tokens, and the check expressions of the schema.

A right is a mapping of privileges to whether they propagate to the paths below. Rules that hold here:
entries of a token or user at a path hide those of the user's groups at the same path, each path's roles replace the
inherited ones, ``NoAccess`` removes everything, the guests and storages of a pool take the pool's roles besides their
own, and a token with privilege separation has only what its user has too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pvehelm.simulator.roles import privileges, role_privileges
from pvehelm.simulator.state import State

ROOT = "root@pam"
Right = dict[str, int]
_CATEGORY_ROLES = ("Administrator",)


def normalise(path: str) -> str:
    """``vms/100//`` -> ``/vms/100``."""
    return "/" + "/".join(part for part in path.split("/") if part)


def ancestors(path: str) -> list[str]:
    """``/a/b`` -> ``["/", "/a", "/a/b"]``."""
    parts = [part for part in path.split("/") if part]
    return ["/"] + ["/" + "/".join(parts[: i + 1]) for i in range(len(parts))]


def pool_of(state: State, kind: str, member: str) -> str | None:
    """The pool that holds a guest (``vms``) or storage (``storage``)."""
    for poolid, pool in state.collection("pools").items():
        if member in pool.get(kind, ()):
            return str(poolid)
    return None


def drop_entries(state: State, gone: Callable[[Mapping[str, Any]], bool]) -> None:
    """Remove the ACL entries of what is gone."""
    entries = state.collection("acl")
    for key, entry in entries.items():
        if gone(entry):
            del entries[key]


class Rights:
    """A reader of the access rules at one moment (one request)."""

    def __init__(self, state: State, release: str = "9.2") -> None:
        self.state = state
        self.release = release
        self._entries: dict[str, list[dict[str, Any]]] | None = None
        self._pools: dict[tuple[str, str], str] | None = None
        self._cache: dict[tuple[str, str], Right] = {}

    # -- computing ---------------------------------------------------------------------------------------------

    def of(self, who: str, path: str) -> Right:
        """Privileges of a user or token (``user@realm!id``) at ``path``: {privilege: 1 when it propagates else 0}."""
        path = normalise(path)
        key = (who, path)
        if key not in self._cache:
            self._cache[key] = self._compute(who, path)
        return self._cache[key]

    def _compute(self, who: str, path: str) -> Right:
        user, _, token = who.partition("!")
        if not self.enabled(who):
            return {}
        if token:
            found = self.state.collection("tokens").get(who)
            if found is None:
                return {}
            of_user = self.of(user, path)
            if not found.get("privsep", 1):
                return of_user
            own = self._of_roles(self.roles(who, path))
            return {priv: own[priv] and of_user[priv] for priv in own if priv in of_user}
        if user == ROOT:
            return dict.fromkeys(privileges(self.release), 1)
        return self._of_roles(self.roles(user, path))

    def _of_roles(self, roles: Mapping[str, int]) -> Right:
        found: Right = {}
        if "NoAccess" in roles:
            return found
        for role, propagate in roles.items():
            for priv in role_privileges(self.state, role, self.release) or ():
                found[priv] = found.get(priv, 0) or propagate
        return found

    def roles(self, who: str, path: str) -> dict[str, int]:
        """Roles at ``path``: those of the nearest ancestor that has any, and those of the pool."""
        found = self._path_roles(who, path)
        pool = self._pool(path)
        if pool and "NoAccess" not in found:
            for role, propagate in self._path_roles(who, f"/pool/{pool}").items():
                if role == "NoAccess":
                    continue
                found.setdefault(role, 0 if path.count("/") else propagate)
        return found

    def _pool(self, path: str) -> str | None:
        if self._pools is None:
            self._pools = {}
            for poolid, pool in self.state.collection("pools").items():
                for vmid in pool.get("vms", ()):
                    self._pools[("vms", str(vmid))] = poolid
                for storage in pool.get("storage", ()):
                    self._pools[("storage", storage)] = poolid
        parts = path.split("/")
        return self._pools.get((parts[1], parts[2])) if len(parts) == 3 else None

    def _path_roles(self, who: str, path: str) -> dict[str, int]:
        found: dict[str, int] = {}
        user, _, token = who.partition("!")
        groups = set() if token else set((self.state.collection("users").get(user) or {}).get("groups") or ())
        for step in ancestors(path):
            last = step == path
            entries = [e for e in self.entries().get(step, ()) if last or e["propagate"]]
            own = {e["roleid"]: e["propagate"] for e in entries if e["type"] != "group" and e["ugid"] == who}
            if not own and not token:
                for entry in entries:
                    if entry["type"] == "group" and entry["ugid"] in groups:
                        own[entry["roleid"]] = own.get(entry["roleid"], 0) or entry["propagate"]
            if "NoAccess" in own:
                own = {"NoAccess": own["NoAccess"]}
            if own:
                found = own
        return found

    def entries(self) -> dict[str, list[dict[str, Any]]]:
        """ACL entries by path."""
        if self._entries is None:
            self._entries = {}
            for entry in self.state.collection("acl").values():
                self._entries.setdefault(entry["path"], []).append(entry)
        return self._entries

    def enabled(self, who: str, now: float | None = None) -> bool:
        """Whether the account exists, is enabled and has not expired (a token: and its user)."""
        import time

        now = time.time() if now is None else now
        user, _, token = who.partition("!")
        account = self.state.collection("users").get(user)
        if account is None or not account.get("enable", 1):
            return False
        if account.get("expire") and account["expire"] < now:
            return False
        if token:
            found = self.state.collection("tokens").get(who)
            return found is not None and not (found.get("expire") and found["expire"] < now)
        return True

    # -- asking ------------------------------------------------------------------------------------------------

    def missing(self, who: str, path: str, privs: Sequence[str], any: bool = False) -> str | None:
        """None when allowed, else what the refusal names: ``/path, Priv`` or ``/path, A|B``."""
        if who == ROOT:
            return None
        path = normalise(path)
        have = self.of(who, path)
        if any:
            return None if not privs or have.keys() & set(privs) else f"{path}, {'|'.join(privs)}"
        return next((f"{path}, {priv}" for priv in privs if priv not in have), None)

    def may(self, who: str, path: str, *privs: str) -> bool:
        """Whether any of ``privs`` is there."""
        return self.missing(who, path, privs, any=True) is None

    def check(self, expression: Sequence[Any], who: str, args: Mapping[str, Any]) -> str | None:
        """Evaluate a check expression of the schema: None when allowed, else what the refusal names."""
        test, *rest = expression
        if test == "and":
            return next((bad for part in rest if (bad := self.check(part, who, args)) is not None), None)
        if test == "or":
            refusals = [self.check(part, who, args) for part in rest]
            return None if None in refusals else refusals[-1]
        if test == "perm":
            return self._check_perm(rest, who, args)
        if test == "perm-modify":
            return self._check_modify(fill_in(rest[0], args), who)
        if test == "userid-param":
            return self._check_user(rest[0], who, args)
        if test == "userid-group":
            return self._check_group(rest, who, args)
        raise ValueError(f"unknown permission test {test!r}")

    def _check_perm(self, rest: Sequence[Any], who: str, args: Mapping[str, Any]) -> str | None:
        path, privs, *pairs = rest
        options = dict(zip(pairs[::2], pairs[1::2], strict=True))
        needed = options.get("require_param")
        if needed and not args.get(needed):
            return f"{normalise(fill_in(path, args))}, {privs[0]}"
        return self.missing(who, fill_in(path, args), privs, any=bool(options.get("any")))

    def _check_modify(self, path: str, who: str) -> str | None:
        path = normalise(path)
        privs = ["Permissions.Modify"]
        for prefix, priv in (
            ("/storage/", "Datastore.Allocate"),
            ("/vms/", "VM.Allocate"),
            ("/pool/", "Pool.Allocate"),
        ):
            if path.startswith(prefix):
                privs.append(priv)
        return self.missing(who, path, privs, any=True)

    def _check_user(self, test: str, who: str, args: Mapping[str, Any]) -> str | None:
        userid = str(args.get("userid", ""))
        if test == "self":  # a token is not its user
            return None if who == userid and userid in self.state.collection("users") else ""
        realm = userid.rpartition("@")[2]
        return self.missing(who, f"/access/realm/{realm}", [test])

    def _check_group(self, rest: Sequence[Any], who: str, args: Mapping[str, Any]) -> str | None:
        privs, *pairs = rest
        sent = dict(zip(pairs[::2], pairs[1::2], strict=True)).get("groups_param")
        wanted = str(args.get("groups") or "").replace(";", ",").split(",")
        if self.may(who, "/access/groups", *privs):
            return None
        if sent:
            groups = [group.strip() for group in wanted if group.strip()]
            if not groups:
                return f"/access/groups, {'|'.join(privs)}"
            for group in groups:
                bad = self.missing(who, f"/access/groups/{group}", privs, any=True)
                if bad is not None:
                    return bad
        if sent != "create":
            account = self.state.collection("users").get(str(args.get("userid", ""))) or {}
            if not any(self.may(who, f"/access/groups/{group}", *privs) for group in account.get("groups") or ()):
                return ""
        return None


def fill_in(template: str, args: Mapping[str, Any]) -> str:
    """``/pool/{poolid}`` with the arguments in place; a missing one is empty."""
    import re

    return re.sub(r"\{([^}]+)\}", lambda found: str(args.get(found[1], "") or ""), template)


def merged(rights: Iterable[Right]) -> Right:
    """Several rights as one."""
    found: Right = {}
    for right in rights:
        for priv, propagate in right.items():
            found[priv] = found.get(priv, 0) or propagate
    return found
