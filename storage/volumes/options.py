"""`volume create --opt`: what a volume is besides a directory of the store.

type=tmpfs [device=tmpfs] [o=size=64m,mode=700,...]     memory, of each container that has the volume
type=none|bind device=DIR o=bind                        a directory of the user's
o=uid=N,gid=N                                           who owns the files' directory, as ids inside
o=nocopy                                                nothing is copied into it from an image
image=NAME                                              (driver image) a copy of the image's files
"""

from __future__ import annotations

import os

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KNOWN = ("type", "device", "o", "copy", "nocopy")
IMAGE = "image"  # the driver that copies an image's files
_FLAGS = frozenset((
    "ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "noatime", "relatime", "nodiratime",
))  # fmt: skip
_BINDS = frozenset((
    "bind", "rbind", "shared", "slave", "private", "rshared", "rslave", "rprivate", "unbindable", "runbindable",
))  # fmt: skip
_MEMORY = frozenset(("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"))
_MOST_ID = (1 << 32) - 2


def parse_settings(options: Iterable[str], where: str, driver: str = "local") -> dict[str, str]:
    """The options as they are kept, checked as far as they can be without the kernel. Raises UsageError."""
    found: dict[str, str] = {}
    known = (IMAGE,) if driver == IMAGE else _KNOWN
    for text in options:
        key, _, value = text.partition("=")
        if key not in known:
            raise UsageError(f"{where}: option {key!r} is not known", f"known: {' '.join(known)}")
        if key == "o" and "o" in found:
            value = f"{found['o']},{value}"
        elif key in found:
            raise UsageError(f"{where}: option {key} is given twice")
        found[key] = value
    if driver == IMAGE:
        if not found.get(IMAGE):
            raise UsageError(f"{where}: the driver image needs an image", "--opt image=NAME")
    else:
        settings = VolumeSettings(found, where)
        if settings.kind == "bind" and not os.path.isdir(settings.device):
            raise UsageError(f"{where}: device={settings.device}: there is no such directory", "make it first")
    return found


class VolumeSettings:
    """What kept options mean. `kind`: "" (a directory of the store), "tmpfs" or "bind"; `device`: the bound directory;
    `mount`: options of the mount; `uid`, `gid`: of the directory, or None; `copy`: whether images fill it."""

    __slots__ = ("copy", "device", "gid", "kind", "mount", "uid")

    def __init__(self, options: Mapping[str, str], where: str = "a volume") -> None:
        """Raises UsageError for what makes no sense."""
        words = [word for word in options.get("o", "").split(",") if word]
        self.kind = self._kind(options, words, where)
        self.device = options.get("device", "") if self.kind == "bind" else ""
        self.copy = "nocopy" not in options and "nocopy" not in words
        self.uid = self.gid = None
        self.mount: list[str] = []
        for word in words:
            if word not in ("copy", "nocopy"):
                self._word(word, where)
        if self.kind == "bind" and not os.path.isabs(self.device):
            raise UsageError(f"{where}: device={self.device}: not an absolute path", "--opt device=/DIRECTORY")

    def _kind(self, options: Mapping[str, str], words: list[str], where: str) -> str:
        kind = options.get("type", "")
        device = options.get("device", "")
        if kind in ("none", "bind") or (not kind and device and ("bind" in words or "rbind" in words)):
            return "bind"
        if kind == "tmpfs":
            return "tmpfs"
        if kind:
            raise UsageError(
                f"{where}: type={kind}: only root may mount that",
                "use type=tmpfs, or type=none with o=bind and device=",
            )
        if device:
            raise UsageError(f"{where}: device={device} without a type", "--opt type=none --opt o=bind")
        return ""

    def _word(self, word: str, where: str) -> None:
        key, _, value = word.partition("=")
        if key in ("size", "inodes") and self.kind != "tmpfs":
            raise UsageError(
                f"{where}: o={word}: a limit takes project quotas, which only root may set",
                "a volume in memory can be limited: --opt type=tmpfs --opt o=size=64m",
            )
        if key in ("uid", "gid"):
            if self.kind == "bind":
                raise UsageError(f"{where}: o={word}: the directory that is bound keeps its owner")
            if not value.isdigit() or int(value) > _MOST_ID:
                raise UsageError(f"{where}: o={word}: not an id")
            setattr(self, key, int(value))
        if word in _FLAGS or (word in _BINDS and self.kind == "bind"):
            self.mount.append(word)
        elif self.kind == "tmpfs" and key == "inodes" and value:
            self.mount.append(f"nr_inodes={value}")
        elif self.kind == "tmpfs" and key in _MEMORY and value:
            self.mount.append(word)
        elif key not in ("uid", "gid"):
            raise UsageError(f"{where}: o={word}: not known for {'type=' + self.kind if self.kind else 'a directory'}")
