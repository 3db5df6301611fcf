"""`--volume`, `--mount`, `--tmpfs` and the image's VOLUMEs: what they say, as mounts of the OCI configuration.

Cold: a container without any of them never loads this.
"""

from __future__ import annotations

import os
from typing import Any

from rootless.engine.request import CreateRequest
from rootless.engine.spec import size_in_bytes
from rootless.errors import NotFoundError, UsageError
from storage.layout import Layout
from storage.volumes import Claim, claim

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_PROPAGATION = ("shared", "slave", "private", "rshared", "rslave", "rprivate", "unbindable", "runbindable")
_PLAIN = ("ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "bind", "rbind")
_TMPFS = ("ro", "rw", "exec", "noexec", "dev", "nodev", "suid", "nosuid", "noatime")
_TMPFS_VALUES = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "tmpcopyup")


class Mount:
    """`kind`: "bind", "volume" or "tmpfs". `source`: a path of the host for a bind, the name of a volume, else "".
    `anonymous`: a volume that was given no name."""

    __slots__ = ("anonymous", "copy", "destination", "kind", "options", "source")

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


def parse_volume(text: str) -> Mount:
    """`[SOURCE:]PATH[:OPTIONS]`. Raises UsageError; NotFoundError where a source on the host is missing."""
    where = f'--volume "{text}"'
    parts = text.split(":")
    if len(parts) == 1:
        return Mount("volume", "", parts[0], [], where)
    if len(parts) > 3 or not parts[1]:
        raise UsageError(f"{where}: not understood", "write it like SOURCE:PATH[:OPTIONS]")
    source, destination = parts[0], parts[1]
    words = [word for word in (parts[2] if len(parts) == 3 else "").split(",") if word]
    if source.startswith(("/", ".", "~")):
        return _finished(Mount("bind", _host_path(source, where), destination, words, where), where)
    return _finished(Mount("volume", check_volume_name(source, where), destination, words, where), where)


def parse_mount(text: str) -> Mount:
    """`type=bind|volume|tmpfs,source=...,target=...[,OPTION...]`. Raises UsageError, NotFoundError."""
    where = f'--mount "{text}"'
    values: dict[str, str] = {}
    words: list[str] = []
    for part in text.split(","):
        key, _, value = part.partition("=")
        if key in ("type", "source", "src", "target", "dst", "destination"):
            values[{"src": "source", "dst": "target", "destination": "target"}.get(key, key)] = value
        elif key in ("ro", "readonly", "rw"):
            read_only = (value or "true").lower() in ("true", "1")
            words.append("ro" if read_only == (key != "rw") else "rw")
        elif key == "bind-propagation":
            words.append(value)
        elif key == "bind-nonrecursive" and value in ("", "true"):
            words.append("bind")
        elif key in ("tmpfs-size", "tmpfs-mode"):
            words.append(f"{key[6:]}={value}")
        elif key == "volume-nocopy" and value in ("", "true"):
            words.append("nocopy")
        else:
            words.append(part)
    kind = values.get("type", "volume")
    destination = values.get("target", "")
    if not destination:
        raise UsageError(f"{where}: no target", "write it like type=bind,source=DIR,target=PATH")
    if kind == "tmpfs":
        return Mount("tmpfs", "", destination, _tmpfs_options(words, where), where)
    if kind == "bind":
        source = _host_path(values.get("source", ""), where)
        return _finished(Mount("bind", source, destination, words, where), where)
    if kind == "volume":
        name = check_volume_name(values["source"], where) if values.get("source") else ""
        return _finished(Mount("volume", name, destination, words, where), where)
    raise UsageError(f"{where}: type {kind} is not supported", "use bind, volume or tmpfs")


def parse_tmpfs(text: str) -> Mount:
    """`PATH[:OPTIONS]`. Raises UsageError."""
    where = f'--tmpfs "{text}"'
    destination, _, words = text.partition(":")
    return Mount("tmpfs", "", destination, _tmpfs_options([word for word in words.split(",") if word], where), where)


def _host_path(source: str, where: str) -> str:
    path = os.path.abspath(os.path.expanduser(source)) if source else ""
    if not path or not os.path.exists(path):
        from shlex import quote

        hint = f"make it first: mkdir -p {quote(path)}" if path else None
        raise NotFoundError(f"{where}: {path or source!r} does not exist on the host", hint)
    return path


def check_volume_name(name: str, where: str) -> str:
    if not name or not name[0].isalnum() or not _NAME.issuperset(name):
        raise UsageError(
            f"{where}: {name!r} is not a name for a volume",
            "names have letters, digits, _ . - and begin with a letter or digit; a path begins with / or ./",
        )
    return name


def _finished(mount: Mount, where: str) -> Mount:
    """Check the options of a bind or volume, and turn those that are not the kernel's into what they mean."""
    options = []
    for word in mount.options:
        if word in _PLAIN or word in _PROPAGATION:
            options.append(word)
        elif word == "nocopy":
            mount.copy = False
        elif word in ("copy", "z", "Z"):  # z and Z: labels for SELinux, which are not applied
            continue
        else:
            raise UsageError(f"{where}: option {word!r} is not supported", f"known: {' '.join(_PLAIN)} z Z nocopy")
    mount.options = options
    return mount


def _tmpfs_options(words: list[str], where: str) -> list[str]:
    options = []
    for word in words:
        key, _, value = word.partition("=")
        if key not in _TMPFS and key not in _TMPFS_VALUES:
            raise UsageError(f"{where}: option {word!r} is not supported", f"known: {' '.join(_TMPFS + _TMPFS_VALUES)}")
        if key == "size" and not value.endswith("%"):
            word = f"size={size_in_bytes(value, where)}"
        options.append(word)
    return options


def plan(request: CreateRequest, image: dict[str, Any]) -> list[Mount]:
    """All of a container's extra mounts, one per destination: the user's win over the image's VOLUMEs.

    Volumes without a name are given a random one. Raises UsageError, NotFoundError.
    """
    found: dict[str, Mount] = {}
    given = [parse_volume(text) for text in request.volume]
    given += [parse_mount(text) for text in request.mount] + [parse_tmpfs(text) for text in request.tmpfs]
    for mount in given:
        if mount.destination in found:
            raise UsageError(f"two mounts on {mount.destination} in the container", "leave one of them out")
        found[mount.destination] = mount
    for path in image.get("Volumes") or {}:
        mount = Mount("volume", "", path if path.startswith("/") else "/" + path, [], f"the image's volume {path!r}")
        found.setdefault(mount.destination, mount)
    for mount in found.values():
        if mount.kind == "volume" and not mount.source:
            mount.source = os.urandom(32).hex()
            mount.anonymous = True
    return list(found.values())


def as_oci(mount: Mount, volume_directory: str) -> dict[str, Any]:
    """The mount in the terms of the OCI configuration; `volume_directory` is <root>/volumes."""
    if mount.kind == "tmpfs":
        options = ["nosuid", "nodev", *mount.options]
        if not any(option.startswith("mode=") for option in options):
            options.append("mode=1777")
        return {"destination": mount.destination, "type": "tmpfs", "source": "tmpfs", "options": options}
    source = mount.source if mount.kind == "bind" else f"{volume_directory}/{mount.source}/_data"
    options = list(mount.options)
    if "bind" not in options and "rbind" not in options:
        options.insert(0, "rbind")
    if not any(option in _PROPAGATION for option in options):
        options.append("rprivate")
    return {"destination": mount.destination, "type": "bind", "source": source, "options": options}


def as_inspected(mount: Mount, volume_directory: str) -> dict[str, Any] | None:
    """The entry of `inspect`'s Mounts; None for a tmpfs, which Podman does not list there."""
    if mount.kind == "tmpfs":
        return None
    oci = as_oci(mount, volume_directory)
    shown: dict[str, Any] = {"Type": mount.kind}
    if mount.kind == "volume":
        shown["Name"] = mount.source
    shown |= {
        "Source": oci["source"],
        "Destination": mount.destination,
        "Driver": "local" if mount.kind == "volume" else "",
        "Mode": "",
        "Options": [option for option in oci["options"] if option not in (*_PROPAGATION, "ro", "rw")],
        "RW": "ro" not in mount.options,
        "Propagation": next((option for option in oci["options"] if option in _PROPAGATION), "rprivate"),
    }
    return shown


def ready_volumes(
    layout: Layout, mounts: list[dict[str, Any]], copied: list[str]
) -> tuple[list[dict[str, Any]], list[Claim]]:
    """Make the directories of volumes that are new; returns the mounts to use, and what is to be released when they are
    mounted.

    A volume that no container has used is given to the container's user; an empty one is filled from the image where
    its destination is one of `copied`.
    """
    ready: list[dict[str, Any]] = []
    claims: dict[str, Claim | None] = {}
    begin = layout.volumes + "/"
    # In one order everywhere: containers that start side by side wait for one another, never in a circle.
    names = {str(mount["source"])[len(begin) :].partition("/")[0] for mount in mounts if _is_volume(mount, begin)}
    try:
        for name in sorted(names):
            claims[name] = claim(layout, name)
        pending = dict(claims)
        for mount in mounts:
            name = str(mount.get("source"))[len(begin) :].partition("/")[0] if _is_volume(mount, begin) else ""
            held = pending.pop(name, None)
            if held is not None:
                words = ["firstuse"] if held.fresh else []
                words += ["tmpcopyup"] if mount["destination"] in copied else []
                mount = {**mount, "options": [*mount["options"], *words]}
            ready.append(mount)
    except BaseException:
        for held in claims.values():
            if held is not None:
                held.release(used=False)
        raise
    return ready, [held for held in claims.values() if held is not None]


def _is_volume(mount: dict[str, Any], begin: str) -> bool:
    return mount["type"] == "bind" and str(mount.get("source") or "").startswith(begin)
