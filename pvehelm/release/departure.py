"""The departure: what becomes of an object that a release owns and no longer wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pvehelm.api.kind import Effect, Kind, Live, Step, leaves
from pvehelm.errors import Problem
from pvehelm.release.change import Change, FieldChange, Op
from pvehelm.release.compare import is_fingerprint
from pvehelm.release.inventory import Owned
from pvehelm.release.ownership import unmarked


@dataclass
class Departure:
    """One object leaving a release: it is destroyed, given back as it was found, or only forgotten.

    ``live`` is None where it is gone. ``keep`` lets everything be, ``undo`` what the release did not make; ``sure``:
    the user named what may be destroyed. What stands against it is in ``problems`` and ``refusals``.
    """

    owned: Owned
    kind: Kind
    live: Live | None
    keep: bool = False
    undo: bool = False
    sure: bool = False
    problems: list[Problem] = field(default_factory=list)
    refusals: list[Problem] = field(default_factory=list)

    def decided(self) -> Change:
        """The change that it comes to."""
        if self.live is None:
            return self.change(Op.forget, "gone from the server")
        why = self._kept()
        if why:
            return self.change(Op.forget, why, self._unmarking(self.live))
        if unmarked(self.owned, self.live):
            return self.change(Op.forget, "it does not carry this release's mark any more")
        if self.kind.always_there:
            return self._given_back(self.live)
        return self._destroyed(self.live)

    def change(
        self,
        op: Op,
        reason: str,
        steps: Sequence[Step] = (),
        *,
        fields: Sequence[FieldChange] = (),
        losses: Sequence[str] = (),
    ) -> Change:
        """A change of the object as it is."""
        owned = self.owned
        return Change(
            ref=owned.ref,
            kind=owned.kind,
            op=op,
            reason=reason,
            fields=tuple(fields),
            effect=Effect.data_loss if losses else Effect.live,
            needs=(*owned.metadata.get("after", ()), *owned.metadata.get("needs", ())),
            steps=tuple(steps),
            losses=tuple(losses),
            key=dict(self.live.key if self.live is not None else owned.identifier),
        )

    @property
    def _lifecycle(self) -> str:
        return str(self.owned.metadata.get("lifecycle") or "")

    def _kept(self) -> str:
        """Why it stays, and is nobody's from then on."""
        if self.keep:
            return "--keep-resources"
        if self.undo:
            return "" if self.owned.created or self.kind.always_there else "taken over, and let go of"
        return "lifecycle: keep" if self._lifecycle == "keep" else ""

    def _unmarking(self, live: Live) -> list[Step]:
        steps = self.kind.mark(live, "", self.owned.ref)
        secret = is_fingerprint(self.owned.fields.get("description"))
        return [replace(step, hidden=("description",)) for step in steps] if secret else list(steps)

    def _given_back(self, live: Live) -> Change:
        """What is always there gets the values that were found."""
        kind, found, now = self.kind, self.owned.found, leaves(live.fields)
        back = {
            leaf: found.get(leaf) for leaf in self.owned.fields if not kind.same(leaf, found.get(leaf), now.get(leaf))
        }
        fields = [FieldChange(leaf, now.get(leaf), after, reason="given back") for leaf, after in back.items()]
        steps = kind.update(live, back, None) if back else ()
        return self.change(Op.delete if steps else Op.forget, "no longer desired", steps, fields=fields)

    def _destroyed(self, live: Live) -> Change:
        ref, protect = self.owned.ref, self._lifecycle == "protect"
        if (protect or not self.owned.created) and not self.undo and not self.sure:
            why = "lifecycle: protect" if protect else "this release did not create it"
            hint = f"--allow-destroy {ref}, or keep it with --keep-resources or lifecycle: keep"
            self.refusals.append(Problem(ref, f"it would be destroyed ({why})", hint))
        if live.fields.get("protection"):
            what = f"{ref} is protected by the server"
            self.problems.append(Problem(ref, what, "switch its protection off first"))
        return self.change(Op.delete, "no longer desired", self.kind.delete(live), losses=self.kind.losses(live))
