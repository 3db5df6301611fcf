"""Where Podman keeps its images: containers-storage.conf(5), read as an ordinary user's Podman reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from rootless.errors import ImageError, NotFoundError, UsageError
from storage.settings.files import home, read_toml, user_directory

DRIVERS = ("overlay", "vfs")
_SYSTEM_FILES = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")


@dataclass(frozen=True, slots=True)
class PodmanStore:
    """A store: its graph root and driver ("overlay", "vfs"); `others` are read-only stores that layers may lie in."""

    root: str
    driver: str
    others: tuple[PodmanStore, ...] = ()

    def __str__(self) -> str:
        return f"[{self.driver}@{self.root}]"

    @property
    def images(self) -> str:
        return f"{self.root}/{self.driver}-images"

    @property
    def layers(self) -> str:
        return f"{self.root}/{self.driver}-layers"

    def diff(self, layer: str) -> str:
        """The directory with the files of the layer `layer` (its id there)."""
        return f"{self.root}/vfs/dir/{layer}" if self.driver == "vfs" else f"{self.root}/overlay/{layer}/diff"


def split_store(text: str) -> tuple[str | None, str | None, str]:
    """What stands behind "containers-storage:": ("overlay", "/graph/root", "name") of "[overlay@/graph/root+/run]name";
    driver and root are None where they are not given. Raises UsageError."""
    if not text.startswith("["):
        return None, None, text
    inner, bracket, name = text[1:].partition("]")
    if not bracket:
        raise UsageError(f"containers-storage:{text}: the bracket is not closed", "write [overlay@/graph/root]name")
    driver, at, place = inner.rpartition("@")
    root = place.partition("+")[0].partition(":")[0]
    if not os.path.isabs(root):
        raise UsageError(f"containers-storage:{text}: {root!r} is not an absolute path")
    return (driver or None) if at else None, root, name


def find_store(driver: str | None, root: str | None) -> PodmanStore:
    """The store at `root`, else the one that the user's Podman has. Raises NotFoundError where there is none,
    ImageError where it is of a driver that cannot be read."""
    configured = _configured()
    root = root or _text(configured, "graphroot") or _default_root()
    options = configured.get("options")
    listed = options.get("additionalimagestores") if isinstance(options, dict) else None
    others = [_expand(path) for path in listed if isinstance(path, str)] if isinstance(listed, list) else []
    wanted = driver or os.environ.get("STORAGE_DRIVER") or None
    return PodmanStore(root, _driver(root, wanted), tuple(PodmanStore(path, _driver(path, None)) for path in others))


def _driver(root: str, wanted: str | None) -> str:
    """The driver whose images lie there."""
    try:
        present = [name.removesuffix("-images") for name in sorted(os.listdir(root)) if name.endswith("-images")]
    except OSError as error:
        raise NotFoundError(
            f"reading Podman's store {root}: {error.strerror}",
            "for another place: containers-storage:[overlay@/DIR]NAME",
        ) from None
    if wanted and wanted not in present:
        others = " and ".join(present) or "none"
        raise NotFoundError(
            f"reading Podman's store {root}: it has no images of the driver {wanted} (but of: {others})",
            f"containers-storage:[{present[0]}@{root}]NAME" if present else "podman info shows its graphRoot",
        )
    readable = [name for name in ([wanted] if wanted else present) if name in DRIVERS]
    if not present:
        raise NotFoundError(f"reading Podman's store {root}: there are no images", "podman info shows its graphRoot")
    if not readable:
        raise ImageError(
            f"reading Podman's store {root}: layers of the driver {present[0]} cannot be read here",
            "podman save NAME | rootless load",
        )
    return readable[0]


def _configured() -> dict[str, Any]:
    """The table [storage] that counts for an ordinary user, with `graphroot` where it is set for him."""
    chosen = os.environ.get("CONTAINERS_STORAGE_CONF")
    for path in [chosen] if chosen else [user_directory() + "/storage.conf"]:
        found = read_toml(path)
        if found is not None:
            return _table(found)
    for path in _SYSTEM_FILES:
        found = read_toml(path)
        if found is not None:
            table = _table(found)
            table.pop("graphroot", None)  # root's
            return table | {"graphroot": table.get("rootless_storage_path", "")}
    return {}


def _table(found: dict[str, Any]) -> dict[str, Any]:
    table = found.get("storage")
    return dict(table) if isinstance(table, dict) else {}


def _text(table: dict[str, Any], key: str) -> str:
    value = table.get(key)
    return _expand(value) if isinstance(value, str) else ""


def _expand(path: str) -> str:
    for name, value in (("$HOME", home()), ("$UID", str(os.getuid())), ("$USER", os.environ.get("USER", ""))):
        path = path.replace(name, value)
    return path.rstrip("/")


def _default_root() -> str:
    base = os.environ.get("XDG_DATA_HOME", "")
    return (base if os.path.isabs(base) else home() + "/.local/share") + "/containers/storage"
