"""What the user's words permit: the flags that a plan may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Allowed:
    """Refs (or ``all``) by the flag that names them."""

    take_ownership: frozenset[str] = frozenset()
    destroy: frozenset[str] = frozenset()
    privileged: frozenset[str] = frozenset()
    replace: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()

    def named(self, ref: Callable[[str], str]) -> Allowed:
        """With every ``vm/web`` by its whole name; ``ref`` knows the kinds. What is no KIND/NAME stays."""

        def whole(words: frozenset[str]) -> frozenset[str]:
            return frozenset(ref(word) if "/" in word else word for word in words)

        fields = ("take_ownership", "destroy", "replace", "targets")
        return replace(self, **{name: whole(getattr(self, name)) for name in fields})

    def owns(self, ref: str) -> bool:
        return "all" in self.take_ownership or ref in self.take_ownership

    def may_use(self, kind: str, what: str) -> bool:
        return bool({"all", kind, what} & self.privileged)
