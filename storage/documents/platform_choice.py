"""Which image of an index is for a platform (OCI image-spec image-index.md; variants as containerd ranks them)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rootless.errors import ImageError, UsageError
from storage.documents.manifests import Index, IndexEntry
from storage.platforms import Platform, host_platform

_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
    "i386": "386",
    "i686": "386",
}
# a processor runs what is written for those after it; "" in an image is the plainest
_ARM = ("v8", "v7", "v6", "v5")
_AMD64 = ("v4", "v3", "v2", "v1")


def parse_platform(
    platform: str | None = None, os: str | None = None, arch: str | None = None, variant: str | None = None
) -> Platform | None:
    """--platform OS[/ARCH[/VARIANT]], or --os, --arch, --variant; None where none is given. Raises UsageError."""
    if platform is not None:
        if os or arch or variant:
            raise UsageError("--platform cannot be given together with --os, --arch or --variant")
        parts = platform.split("/")
        if len(parts) > 3 or not all(parts):
            raise UsageError(f"--platform {platform}: it is not OS[/ARCH[/VARIANT]]", "for example linux/arm64")
        if len(parts) == 1 and parts[0] not in _SYSTEMS:
            parts = ["linux", parts[0]]
        os, arch, variant = [*parts, None, None][:3]
    if not (os or arch or variant):
        return None
    host = host_platform()
    wanted = _ALIASES.get(arch or "", arch or "") or host.architecture
    if variant is None:
        same = wanted == host.architecture
        variant = host.variant if same else {"arm": "v7", "arm64": "v8"}.get(wanted, "")
        if arch == "armel":
            variant = "v6"
    return Platform(os or "linux", wanted, variant)


def choose(index: Index, wanted: Platform, where: str) -> IndexEntry:
    """The entry that suits `wanted` best. Raises ImageError, listing the platforms that there are."""
    if len(index.entries) == 1 and index.entries[0].platform is None:
        return index.entries[0]
    best = best_of([entry.platform for entry in index.entries], wanted)
    if best is None:
        listed = available(entry.platform for entry in index.entries if entry.platform)
        raise ImageError(
            f"{where}: there is no image for {wanted}, only for {listed or 'no platform at all'}",
            "choose one of them with --platform (running it needs that processor, or qemu-user)" if listed else None,
        )
    return index.entries[best]


def best_of(platforms: Sequence[Platform | None], wanted: Platform) -> int | None:
    """The number of the platform that suits `wanted` best, the first of several; None where none does."""
    ranks = [_rank(platform, wanted) if platform else None for platform in platforms]
    suiting = [rank for rank in ranks if rank is not None]
    return ranks.index(min(suiting)) if suiting else None


def suits(found: Platform, wanted: Platform) -> bool:
    """Whether an image for `found` is one for `wanted`."""
    return _rank(found, wanted) is not None


def available(platforms: Iterable[Platform]) -> str:
    """Platforms for a message; attestations, which call themselves unknown, are left away."""
    return ", ".join(sorted({str(platform) for platform in platforms if platform.os != "unknown"}))


def _rank(found: Platform, wanted: Platform) -> int | None:
    """0 is best; None does not suit."""
    architecture = _ALIASES.get(found.architecture, found.architecture)
    if found.os != wanted.os or architecture != wanted.architecture:
        return None
    if found.variant == wanted.variant:
        return 0
    if architecture == "arm64":
        plain = {"", "v8"}
        return 1 if found.variant in plain and wanted.variant in plain else (2 if found.variant in plain else None)
    order = {"arm": _ARM, "amd64": _AMD64}.get(architecture, ())
    if wanted.variant in order:
        acceptable = (*order[order.index(wanted.variant) :], "")
        return 1 + acceptable.index(found.variant) if found.variant in acceptable else None
    # nothing particular is wanted: what is said to be the plainest
    if not found.variant:
        return 1
    return 10 if not wanted.variant and order and found.variant == order[-1] else None
