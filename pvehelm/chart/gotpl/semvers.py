"""Semantic versions as Go objects: ``semver`` and ``semverCompare``."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pvehelm.chart.gotpl.signatures import function
from pvehelm.chart.gotpl.values import GoError, GoObject, Uint64
from pvehelm.chart.versions import Version, parse, satisfies

#: Bytes of a version and of a constraint, and alternatives of a constraint, beyond which Helm reads none.
_VERSION, _CONSTRAINT, _GROUPS = 256, 512, 32


class Semver(GoObject):
    """*semver.Version: the numbers as uint64, the rest as texts."""

    __slots__ = ("original", "version")
    go_type: ClassVar[str] = "*semver.Version"
    go_kind: ClassVar[str] = "ptr"
    stringer: ClassVar[bool] = True
    names: ClassVar[tuple[str, ...]] = (
        "Major",
        "Minor",
        "Patch",
        "Prerelease",
        "Metadata",
        "Original",
        "String",
        "Compare",
        "Equal",
        "LessThan",
        "LessThanEqual",
        "GreaterThan",
        "GreaterThanEqual",
        "IncMajor",
        "IncMinor",
        "IncPatch",
        "SetPrerelease",
        "SetMetadata",
    )

    def __init__(self, version: Version, original: str) -> None:
        self.version = version
        self.original = original

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    def text(self) -> str:
        return str(self.version)

    def plain(self) -> Any:
        return str(self.version)

    def parts(self) -> list[tuple[str, Any]]:
        v = self.version
        numbers = [("major", Uint64(v.major)), ("minor", Uint64(v.minor)), ("patch", Uint64(v.patch))]
        return [*numbers, ("pre", v.prerelease), ("metadata", v.metadata), ("original", self.original)]

    def Major(self) -> Uint64:
        return Uint64(self.version.major)

    def Minor(self) -> Uint64:
        return Uint64(self.version.minor)

    def Patch(self) -> Uint64:
        return Uint64(self.version.patch)

    def Prerelease(self) -> str:
        return self.version.prerelease

    def Metadata(self) -> str:
        return self.version.metadata

    def Original(self) -> str:
        return self.original

    def String(self) -> str:
        return str(self.version)

    def Compare(self, other: Any) -> int:
        mine, theirs = self.version, _version(other)
        return -1 if mine < theirs else int(mine != theirs)

    def Equal(self, other: Any) -> bool:
        return self.Compare(other) == 0

    def LessThan(self, other: Any) -> bool:
        return self.Compare(other) < 0

    def LessThanEqual(self, other: Any) -> bool:
        return self.Compare(other) <= 0

    def GreaterThan(self, other: Any) -> bool:
        return self.Compare(other) > 0

    def GreaterThanEqual(self, other: Any) -> bool:
        return self.Compare(other) >= 0

    def _changed(self, version: Version) -> Semver:
        lead = "v" if self.original[:1] == "v" else ""
        return Incremented(version, lead + str(version))

    def IncMajor(self) -> Semver:
        return self._changed(Version(self.version.major + 1, 0, 0))

    def IncMinor(self) -> Semver:
        return self._changed(Version(self.version.major, self.version.minor + 1, 0))

    def IncPatch(self) -> Semver:
        v = self.version
        # A prerelease comes before the patch that it is of.
        return self._changed(Version(v.major, v.minor, v.patch + (0 if v.prerelease else 1)))

    def SetPrerelease(self, prerelease: str) -> Semver:
        v = self.version
        if prerelease and not re.match(r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*\Z", prerelease):
            raise GoError("invalid prerelease string")
        return self._changed(Version(v.major, v.minor, v.patch, prerelease, v.metadata))

    def SetMetadata(self, metadata: str) -> Semver:
        v = self.version
        if metadata and not re.match(r"[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*\Z", metadata):
            raise GoError("invalid metadata string")
        return self._changed(Version(v.major, v.minor, v.patch, v.prerelease, metadata))


class Incremented(Semver):
    """semver.Version: what a method of a version gives is no pointer."""

    __slots__ = ()
    go_type = "semver.Version"
    go_kind = "struct"
    # Only the methods that take the value itself; the others need its address.
    names = tuple(name for name in Semver.names if name not in ("Original", "Compare", "Equal") and "Than" not in name)


def _version(value: Any) -> Version:
    if isinstance(value, Semver) and value.go_kind == "ptr":
        return value.version
    raise GoError("wrong type for value; expected *semver.Version")


def _parsed(value: str) -> Version:
    if _size(value) > _VERSION:
        raise GoError(f"version string is too long (max {_VERSION} bytes)")
    plain = value == value.strip()
    try:
        if plain:
            return parse(value)
    except ValueError:
        pass
    try:
        # With other numbers it would be one: then these are what is wrong.
        plain = plain and bool(parse(re.sub(r"[0-9]+", "1", value)))
    except ValueError:
        plain = False
    if not plain:
        raise GoError("invalid semantic version")
    for number in re.findall(r"[0-9]+", value.partition("-")[0]):
        if int(number) >= 1 << 64:
            raise GoError(f'error parsing version segment: strconv.ParseUint: parsing "{number}": value out of range')
    raise GoError("version segment starts with 0")


@function("semver", "string", "*semver.Version")
def semver(value: str) -> Semver:
    """The parts of a version: ``.Major``, ``.Minor``, ``.Patch``, ``.Prerelease``, ``.Compare``."""
    return Semver(_parsed(value), value)


@function("semverCompare", "string, string", "bool")
def semverCompare(constraint: str, version: str) -> bool:
    """Whether a version meets a constraint such as ``>=1.22.0-0`` or ``^1.2 || ~2.0``."""
    if _size(constraint) > _CONSTRAINT:
        raise GoError(f"constraint string is too long (max {_CONSTRAINT} bytes)")
    parts = constraint.split("||")
    if len(parts) > _GROUPS:
        raise GoError(f"too many constraint groups (max {_GROUPS})")
    for part in parts:
        if any(len(word) > _VERSION for word in re.findall(r"[0-9A-Za-z.+-]+", part)):
            raise GoError("constraint parser error")
        if not _is_constraint(part):
            if _is_constraint(re.sub(r"[0-9]+", "1", part)):
                raise GoError("constraint parser error")
            raise GoError(f"improper constraint: {_quoted(part)}")
    return satisfies(constraint, _parsed(version))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _is_constraint(text: str) -> bool:
    try:
        satisfies(text, Version(0, 0, 0))
    except ValueError:
        return False
    return True


def _quoted(value: str) -> str:
    from pvehelm.chart.gotpl.quoting import quote

    return quote(value)
