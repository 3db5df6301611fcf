"""What `--volume`, `--mount` and `--tmpfs` say, read word by word.

Cold: a container without any of them never loads this.
"""

from __future__ import annotations

import os

from rootless.engine.spec.config import size_in_bytes
from rootless.errors import NotFoundError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
PROPAGATION = ("shared", "slave", "private", "rshared", "rslave", "rprivate", "unbindable", "runbindable")
_PLAIN = ("ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "bind", "rbind")
_OURS = ("z", "Z", "U", "O", "idmap", "copy", "nocopy", "upperdir=DIR", "workdir=DIR")
# Only one of each may be given.
_CHOICES = (
    ("ro", "rw"),
    ("exec", "noexec"),
    ("dev", "nodev"),
    ("suid", "nosuid"),
    ("bind", "rbind"),
    ("z", "Z"),
    ("copy", "nocopy"),
    PROPAGATION,
)
_TMPFS = ("ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "noatime", "tmpcopyup", "notmpcopyup")
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks")
# What a mistake would take from the host's own programs: as Podman refuses them.
_NOT_TO_GIVE = frozenset((
    "/", "/bin", "/boot", "/dev", "/etc", "/etc/passwd", "/etc/group", "/home", "/lib", "/lib64", "/media",
    "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib",
    "/usr/local", "/var", "/var/lib", "/var/log", "/var/run",
))  # fmt: skip


class Mount:
    """One mount that was asked for.

    `kind`: "bind", "volume", "tmpfs", "ramfs", "devpts" or "image". `source`: a path of the host for a bind, the name
    of a volume ("": a new one without a name) or of an image. `options`: what the kernel knows. `copy`: an empty volume
    is filled from the image. `anonymous`: a volume that was given no name. `labels`, `settings`: of a volume that is
    made for it. `more`: what only our runtime knows (`rootless.runtime.special`): subpath, chown, relabel, overlay,
    idmap; layers and writable of an image.
    """

    __slots__ = ("anonymous", "copy", "destination", "kind", "labels", "more", "options", "settings", "source")

    def __init__(self, kind: str, source: str, destination: str, options: list[str], where: str) -> None:
        if not destination.startswith("/"):
            raise UsageError(f"{where}: the path in the container, {destination!r}, is not absolute")
        destination = os.path.normpath(destination)
        if destination in ("/", "//"):
            raise UsageError(f"{where}: a container's root cannot be mounted over")
        self.kind = kind
        self.source = source
        self.destination = destination
        self.options = options
        self.anonymous = False
        self.copy = kind == "volume"
        self.labels: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self.more: dict[str, Any] = {}


def parse_volume(text: str) -> Mount:
    """`[SOURCE:]PATH[:OPTIONS]`; a colon that belongs to a path is written `\\:`.

    Raises UsageError; NotFoundError where a source on the host is missing.
    """
    where = f'--volume "{text}"'
    parts = [part.replace("\0", ":") for part in text.replace("\\:", "\0").split(":")]
    if len(parts) == 1:
        return Mount("volume", "", parts[0], [], where)
    if len(parts) > 3 or not parts[1]:
        raise UsageError(f"{where}: not understood", "write it like SOURCE:PATH[:OPTIONS]")
    source, destination = parts[0], parts[1]
    words = [word for word in (parts[2] if len(parts) == 3 else "").split(",") if word]
    if source.startswith(("/", ".", "~")):
        return finished(Mount("bind", host_path(source, where), destination, words, where), where)
    return finished(Mount("volume", check_volume_name(source, where), destination, words, where), where)


def parse_tmpfs(text: str) -> Mount:
    """`PATH[:OPTIONS]`. Raises UsageError."""
    where = f'--tmpfs "{text}"'
    destination, _, words = text.partition(":")
    return Mount("tmpfs", "", destination, tmpfs_options([word for word in words.split(",") if word], where), where)


def host_path(source: str, where: str) -> str:
    """A file of the host as an absolute path. Raises NotFoundError where there is none; `where` is the option."""
    path = os.path.abspath(os.path.expanduser(source)) if source else ""
    if not path or not os.path.exists(path):
        from shlex import quote

        hint = f"make it first: mkdir -p {quote(path)}" if path else None
        raise NotFoundError(f"{where}: {path or source!r} does not exist on the host", hint)
    return path


def check_volume_name(name: str, where: str) -> str:
    """`name`, where a volume may have it. Raises UsageError; `where` is the option."""
    if not name or not name[0].isalnum() or not _NAME.issuperset(name):
        raise UsageError(
            f"{where}: {name!r} is not a name for a volume",
            "names have letters, digits, _ . - and begin with a letter or digit; a path begins with / or ./",
        )
    return name


def finished(mount: Mount, where: str) -> Mount:
    """Check the options of a bind or volume, and turn those that are not the kernel's into what they mean."""
    words, mount.options = mount.options, []
    for choices in _CHOICES:
        given = [word for word in words if word in choices]
        if len(given) > 1:
            raise UsageError(f"{where}: {' and '.join(given)} cannot be had together")
    for word in words:
        key, equals, value = word.partition("=")
        if word in _PLAIN or word in PROPAGATION:
            mount.options.append(word)
        elif word in ("copy", "nocopy") and mount.kind == "volume":
            mount.copy = word == "copy"
        elif word in ("z", "Z"):
            mount.more["relabel"] = word
        elif word == "U":
            mount.more["chown"] = True
        elif word == "O":
            mount.more.setdefault("overlay", {})
        elif key in ("upperdir", "workdir") and value:
            mount.more.setdefault("overlay", {})[key] = host_path(value, where)
        elif key == "idmap" and (value or not equals):
            mount.more["idmap"] = _id_maps(value, where)
        else:
            raise UsageError(
                f"{where}: option {word!r} is not supported", f"known: {' '.join((*_PLAIN, *PROPAGATION, *_OURS))}"
            )
    _check_together(mount, "O" in words, where)
    return mount


def _check_together(mount: Mount, overlay: bool, where: str) -> None:
    more = mount.more
    if "overlay" in more:
        if not overlay or len(more["overlay"]) == 1:
            raise UsageError(f"{where}: upperdir= and workdir= go together, and with O", "O,upperdir=DIR,workdir=DIR")
        wrong = [word for word in mount.options if word in PROPAGATION or word in ("bind", "rbind")]
        if wrong or "idmap" in more:
            raise UsageError(f"{where}: {(wrong or ['idmap'])[0]} cannot be had with O")
        if mount.kind == "bind" and not os.path.isdir(mount.source):
            raise UsageError(f"{where}: O is for directories")
    elif more.get("chown") and mount.kind == "bind":
        refuse_to_give(mount.source, where)


def refuse_to_give(source: str, where: str, store: str | None = None) -> None:
    """Raise UsageError for what U may not give away: directories of the system, the user's home, and what has the store
    in it or is of it, where `store` is its directory."""
    path = os.path.realpath(source)
    forbidden = path in _NOT_TO_GIVE or path == os.path.realpath(os.path.expanduser("~"))
    if not forbidden and store is not None:
        root = os.path.realpath(store) + "/"
        forbidden = root.startswith(path + "/") or (path + "/").startswith(root)
    if forbidden:
        raise UsageError(
            f"{where}: U would give all of {path} to the container's user",
            f"mount a directory below {path}, or change the owner yourself",
        )


def _id_maps(text: str, where: str) -> dict[str, list[list[int]]]:
    """`uids=0-1-10#10-11-10;gids=0-100-10`: (id on the file system, id in the container, count) for each."""
    found: dict[str, list[list[int]]] = {}
    for part in text.split(";") if text else ():
        key, _, ranges = part.partition("=")
        try:
            rows = [[int(number) for number in row.split("-")] for row in ranges.split("#")]
        except ValueError:
            rows = []
        if key not in ("uids", "gids") or key in found or not rows or any(len(row) != 3 or row[2] < 1 for row in rows):
            raise UsageError(f"{where}: idmap={text}: not understood", "idmap=uids=0-1000-1;gids=0-1000-1")
        found[key] = rows
    return found


def tmpfs_options(words: list[str], where: str) -> list[str]:
    """Check them. What the image has at the place is copied unless that is refused; owner and mode of the place come
    with it unless they are given."""
    options = []
    copy = True
    given = ""
    for word in words:
        key, _, value = word.partition("=")
        if not (word in _TMPFS or (key in _TMPFS_VALUES and value)):
            raise UsageError(f"{where}: option {word!r} is not supported", f"known: {' '.join(_TMPFS + _TMPFS_VALUES)}")
        if word in ("tmpcopyup", "notmpcopyup"):
            copy = word == "tmpcopyup"
            continue
        if key == "size" and not value.endswith("%"):
            word = f"size={size_in_bytes(value, where)}"
        if key in ("uid", "gid", "mode"):
            given = "=files"
            if not value.isdigit():
                raise UsageError(f"{where}: {word}: not a number")
        options.append(word)
    if copy:
        options.append("tmpcopyup" + given)
    return options
