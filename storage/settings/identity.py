"""Whether the name that a signature was made for is the one that an image is pulled by (containers-policy.json(5),
signedIdentity)."""

from __future__ import annotations

from dataclasses import dataclass

from rootless.errors import UsageError
from storage.references import Reference, parse

EXACT = "matchExact"
DIGEST_OR_EXACT = "matchRepoDigestOrExact"
REPOSITORY = "matchRepository"
EXACT_REFERENCE = "exactReference"
EXACT_REPOSITORY = "exactRepository"
REMAP = "remapIdentity"
_FIELDS = {
    EXACT: (),
    DIGEST_OR_EXACT: (),
    REPOSITORY: (),
    EXACT_REFERENCE: ("dockerReference",),
    EXACT_REPOSITORY: ("dockerRepository",),
    REMAP: ("prefix", "signedPrefix"),
}


@dataclass(frozen=True, slots=True)
class Identity:
    """A rule. `first` and `second`: the reference, the repository, or the two prefixes that it is about."""

    kind: str = DIGEST_OR_EXACT
    first: str = ""
    second: str = ""

    def accepts(self, signed: str, pulled: Reference | None) -> bool:
        """Whether a signature for the name `signed` counts for the image `pulled` (None: it has no such name)."""
        try:
            claim = parse(signed)
            if self.kind == EXACT_REFERENCE:
                return _same(claim, parse(self.first))
            if self.kind == EXACT_REPOSITORY:
                return claim.name == parse(self.first).name
            if pulled is None:
                return False
            if self.kind == REMAP:
                pulled = self._remapped(pulled)
        except UsageError:
            return False
        if self.kind == REPOSITORY:
            return claim.name == pulled.name
        if pulled.digest and self.kind != EXACT:
            return claim.name == pulled.name
        return _same(claim, pulled)

    def _remapped(self, pulled: Reference) -> Reference:
        if pulled.name != self.first and not pulled.name.startswith(self.first + "/"):
            return pulled
        return parse(self.second + str(pulled)[len(self.first) :])


def parse_identity(item: object) -> Identity:
    """Read signedIdentity; without one the rule is matchRepoDigestOrExact. Raises ValueError."""
    if item is None:
        return Identity()
    if not isinstance(item, dict):
        raise ValueError("signedIdentity is not a JSON object")
    kind = str(item.get("type"))
    fields = _FIELDS.get(kind)
    if fields is None:
        raise ValueError(f"{kind[:40]!r} is not a type of signedIdentity")
    if item.keys() != {"type", *fields} or not all(isinstance(item[field], str) and item[field] for field in fields):
        raise ValueError(f"signedIdentity of the type {kind} has other fields than {', '.join(('type', *fields))}")
    found = Identity(kind, *(item[field] for field in fields))
    try:
        if kind == EXACT_REFERENCE and _is_bare(parse(found.first)):
            raise ValueError(f"{found.first[:80]!r} has neither tag nor digest")
        if kind == EXACT_REPOSITORY and not _is_bare(parse(found.first)):
            raise ValueError(f"{found.first[:80]!r} is not a repository")
    except UsageError as error:
        raise ValueError(error.message) from None
    return found


def _same(first: Reference, second: Reference) -> bool:
    return first == second and not _is_bare(first)


def _is_bare(reference: Reference) -> bool:
    return not reference.tag and not reference.digest
