"""A saved plan: one JSON document that pins what was decided and everything that was read for it.

It is applied exactly, or refused with a list of what moved since. It holds what the release shall be (the rendered
manifests, the values, where the chart came from), how to go about it, the plan for people, and beside each other what
was owned, what the server had, field by field, and a keyed fingerprint of every secret. Secrets themselves are
references; those that were plain in the values are in it only sealed with the store's key. It is signed with the same
key: its digest finds what was changed by accident, its signature what somebody else wrote.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from pvehelm import __version__
from pvehelm.api.kind import leaves
from pvehelm.chart.manifest import parse
from pvehelm.errors import InvalidError, Problem, RefusedError, StoreError
from pvehelm.release.compare import is_fingerprint
from pvehelm.release.decide import Decision
from pvehelm.release.desire import Desire, Options
from pvehelm.release.inventory import GUEST_KINDS
from pvehelm.release.plan import Allowed
from pvehelm.release.release import ReleaseKey
from pvehelm.release.secrets import has_secret

FORMAT = "pvehelm.plan/1"
# What the server may change without touching the configuration of a guest that the plan leaves as it is.
PASSING = ("power", "node")
TEMPLATE = " (template)"
# What is not covered by the digest; what the signature is of, beside others of the same key.
SEALS = ("digest", "signature")
SIGNED = "saved plan "
Digest = Callable[[str], str]


@dataclass(frozen=True)
class Document:
    """A saved plan. ``base`` is the number of the release's newest revision when it was made (0: none); ``read`` what
    the server had, by resource; ``owned`` a digest of what the release owned of it; ``secrets`` the keyed fingerprint
    behind each text with references; ``sealed`` secrets of the values, encrypted."""

    key: ReleaseKey
    uid: str
    action: str
    base: int
    desire: Mapping[str, Any]
    options: Mapping[str, Any]
    plan: Mapping[str, Any]
    read: Mapping[str, Any]
    owned: Mapping[str, str]
    secrets: Mapping[str, str | None] = field(default_factory=dict)
    sealed: Mapping[str, str] = field(default_factory=dict, repr=False)
    made: float = 0.0
    by: str = ""
    pve: str = ""
    version: str = __version__
    # Of all of the above, and of the digest.
    digest: str = ""
    signature: str = ""

    @classmethod
    def make(
        cls,
        key: ReleaseKey,
        decision: Decision,
        desire: Desire,
        options: Options,
        *,
        uid: str,
        base: int,
        digest: Digest,
        sign: Digest,
        seal: Callable[[str], bytes],
        made: float = 0.0,
        by: str = "",
        pve: str = "",
    ) -> Document:
        """The document of a decision. ``digest`` fingerprints secrets, ``seal`` encrypts them, ``sign`` signs all."""
        made_here = cls(
            key=key,
            uid=uid,
            action=desire.action,
            base=base,
            desire={
                "record": dict(desire.record),
                "notes": desire.notes,
                # Beside the manifest of the record, whose keys are sorted: property strings show their order.
                "resources": [resource.as_dict() for resource in desire.resources],
            },
            options=_plain(options),
            plan=decision.plan.as_dict(),
            read=readings(decision, digest),
            owned=_owned(decision),
            secrets=dict(decision.observed.hashes),
            sealed={name: base64.b64encode(seal(text)).decode() for name, text in desire.sealed.items()},
            made=made,
            by=by,
            pve=pve,
        )
        whole = _digest(made_here._data())
        return replace(made_here, digest=whole, signature=sign(SIGNED + whole))

    def to_text(self) -> str:
        """The document as JSON, with the digest over all of it and its signature."""
        data = {**self._data(), **{name: getattr(self, name) for name in SEALS}}
        return json.dumps(data, indent=1, ensure_ascii=False, default=str) + "\n"

    def _data(self) -> dict[str, Any]:
        record = self.desire["record"]
        pinned = {
            "chart": record.get("chart_digest", ""),
            "values": _digest(record.get("values", {})),
            "manifest": _digest(record.get("manifest", "")),
            "plan": self.plan["digest"],
        }
        data: dict[str, Any] = {"format": FORMAT, "release": self.key.to_json(), "pinned": pinned}
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("key", *SEALS)}
        made: dict[str, Any] = json.loads(json.dumps({**data, **own}, default=_jsonable))
        return made

    @classmethod
    def from_text(cls, text: str, file: str = "the plan") -> Document:
        """Raises InvalidError for what is no plan, or was changed since it was written."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InvalidError(f"{file} is no saved plan: {error}") from None
        if not isinstance(data, dict) or not str(data.get("format", "")).startswith("pvehelm.plan/"):
            raise InvalidError(f"{file} is no saved plan", hint="pvehelm plan upgrade ... --out FILE writes one")
        if data["format"] != FORMAT:
            raise InvalidError(f"{file}: {data['format']} is of another version of pvehelm", hint="make the plan anew")
        seals: dict[str, Any] = {name: str(data.pop(name, "")) for name in SEALS}
        if seals["digest"] != _digest(data):
            raise InvalidError(f"{file} was changed after it was written", hint="make the plan anew")
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        return cls(key=ReleaseKey.from_json(data["release"]), **given, **seals)

    def require_ours(self, signed: Callable[[str, str], bool]) -> None:
        """Raise RefusedError unless the document was signed with this store's key, as ``signed`` says (StoreError for
        another key)."""
        hint = "make the plan anew with this store, or set PVEHELM_KEY to the key of the store that it was made with"
        if not self.signature:
            raise RefusedError(f"the saved plan of {self.key.name} is not signed", hint=hint)
        try:
            ours = signed(self.signature, SIGNED + self.digest)
        except StoreError as error:
            raise RefusedError(
                f"the saved plan of {self.key.name} was made with another store, whose key is not here",
                [Problem("", str(error))],
                hint=hint,
            ) from None
        if not ours:
            what = f"the saved plan of {self.key.name} was not written by pvehelm: its signature is of something else"
            raise RefusedError(what, hint="make the plan anew, and ask who changed it")

    def wanted(self, unseal: Callable[[bytes], str]) -> Desire:
        """What the release shall be, as it was when the plan was made."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(self.desire["resources"])}
        resources = tuple(parse(json.dumps(items), file=f"the plan of {self.key.name}"))
        sealed = {name: unseal(base64.b64decode(secret)) for name, secret in self.sealed.items()}
        return Desire(self.action, resources, dict(self.desire["record"]), str(self.desire["notes"]), None, sealed)

    def how(self, **more: Any) -> Options:
        """How it was to be gone about, with ``more`` in place of what was said then."""
        given = dict(self.options)
        words = given.pop("allowed", {})
        allowed = Allowed(**{one.name: frozenset(words.get(one.name, ())) for one in fields(Allowed)})
        defaults = {one.name: one.default for one in fields(Options)}
        known = {name: _as(defaults[name], value) for name, value in given.items() if name in defaults}
        return Options(**{**known, "allowed": allowed, "dry_run": False, **more})

    def check(self, decision: Decision, base: int, digest: Digest) -> None:
        """Raise RefusedError, naming every field that moved, unless ``decision`` is the one that was saved."""
        moved = list(self._moved(decision, base, digest))
        if moved:
            raise RefusedError(
                f"the saved plan of {self.key.name} does not fit any more",
                moved,
                hint=f"look at pvehelm plan {self.action} {self.key.name} ... once more",
            )

    def _moved(self, decision: Decision, base: int, digest: Digest) -> Iterator[Problem]:
        name = self.key.name
        if base != self.base:
            was = f"at revision {self.base}" if self.base else "not there"
            yield Problem(name, f"the release was {was} when the plan was made, and is at revision {base} now")
        named: set[str] = set()
        for problem in _differences(self.read, _jsoned(readings(decision, digest))):
            named.add(problem.where.partition(" (")[0])
            yield problem
        owned = _owned(decision)
        for ref in sorted((owned.keys() | self.owned.keys()) - named):
            if owned.get(ref) != self.owned.get(ref):
                named.add(ref)
                yield Problem(ref, "what the release owns of it was recorded anew since the plan was made")
        for text in sorted(self.secrets.keys() | decision.observed.hashes.keys()):
            if self.secrets.get(text) != decision.observed.hashes.get(text):
                yield Problem(text, "it stands for another value than when the plan was made")
        if decision.plan.digest == self.plan["digest"]:
            return
        now = {change["ref"]: change for change in _jsoned(decision.plan.as_dict()["changes"])}
        then = {change["ref"]: change for change in self.plan["changes"]}
        for ref in [ref for ref in {**then, **now} if ref not in named and then.get(ref) != now.get(ref)]:
            yield Problem(ref, f"it was to be {_told(then.get(ref))}, and would be {_told(now.get(ref))} now")
        if then == now:
            yield Problem(name, "the changes would be done in another order now")


def _told(change: Mapping[str, Any] | None) -> str:
    if change is None:
        return "left out"
    words = {"create": "created", "update": "updated", "replace": "replaced", "delete": "deleted", "keep": "kept"}
    done = words.get(change["op"], change["op"])
    names = ", ".join(row["leaf"] for row in change["fields"][:5]) if change["op"] == "update" else ""
    return f"{done} ({names or change['reason']})"


# -- what was read ---------------------------------------------------------------------------------------------


def readings(decision: Decision, digest: Digest) -> dict[str, Any]:
    """What the server had: ref -> None, or key and fields, and of a creation the template's. What may be a secret is
    fingerprinted."""
    observed, inventory = decision.observed, decision.inventory
    wanted = {one.ref: leaves(one.wanted.fields) for one in decision.desired}
    kinds = {one.ref: one.kind for one in decision.desired}
    acting = {change.ref for change in decision.plan.changes if change.acts}
    found: dict[str, Any] = {}
    for suffix, lives in (("", observed.live), (" (before)", observed.old)):
        for ref, live in lives.items():
            if live is None:
                found[ref + suffix] = None
                continue
            owned = inventory.get(ref)
            passing = PASSING if ref.partition("/")[0] in GUEST_KINDS and ref not in acting else ()
            fields: dict[str, Any] = {}
            for leaf, value in leaves(live.fields).items():
                if leaf in passing:
                    continue
                secret = has_secret(wanted.get(ref, {}).get(leaf)) or (ref in kinds and kinds[ref].write_only(leaf))
                secret = secret or is_fingerprint(owned.fields.get(leaf) if owned else None)
                fields[leaf] = {"hmac": digest(json.dumps(value, default=str))} if secret else value
            key = {name: value for name, value in live.key.items() if name not in passing}
            found[ref + suffix] = {"key": key, "fields": fields}
    for ref, context in observed.contexts.items():
        if context.get("source"):
            source = context["source"]
            key = {"vmid": source.get("vmid"), "node": source.get("node")}
            found[ref + TEMPLATE] = {"key": key, "fields": leaves(context.get("config", {}))}
    return found


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Problem]:
    for ref in sorted(then.keys() | now.keys()):
        before, after = then.get(ref), now.get(ref)
        # A template is read for a creation only; that there is none any more is told of the resource itself.
        if before == after or (ref.endswith(TEMPLATE) and not (before and after)):
            continue
        if before is None or after is None:
            words = ("was there", "is gone") if after is None else ("was not there", "is there")
            yield Problem(ref, f"it {words[0]} when the plan was made, and {words[1]} now")
            continue
        for part in ("key", "fields"):
            one, two = before[part], after[part]
            for leaf in sorted(one.keys() | two.keys()):
                # What passes by itself is kept only of what was to be changed.
                if leaf in PASSING and (leaf in one) != (leaf in two):
                    continue
                if one.get(leaf) != two.get(leaf):
                    was, has = _shown(one.get(leaf)), _shown(two.get(leaf))
                    yield Problem(ref, f"{leaf} was {was} when the plan was made, and is {has} now")


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    return "one secret" if is_fingerprint(value) else json.dumps(value, ensure_ascii=False)


def _owned(decision: Decision) -> dict[str, str]:
    return {owned.ref: _digest(_jsoned(owned.to_json())) for owned in decision.inventory}


# -- JSON ------------------------------------------------------------------------------------------------------


def _plain(options: Options) -> dict[str, Any]:
    allowed = {one.name: sorted(getattr(options.allowed, one.name)) for one in fields(Allowed)}
    rest = {one.name: getattr(options, one.name) for one in fields(Options) if one.name not in ("allowed", "dry_run")}
    return {**_jsoned(rest), "allowed": allowed}


def _as(default: Any, value: Any) -> Any:
    """What JSON made a list, as the option has it."""
    if isinstance(default, frozenset):
        return frozenset(value)
    return tuple(value) if isinstance(default, tuple) else value


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def _jsoned(value: Any) -> Any:
    """``value`` as it comes back from JSON."""
    return json.loads(json.dumps(value, default=_jsonable))


def _digest(value: Any) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, default=_jsonable).encode()).hexdigest()
