"""`--mount type=TYPE,KEY=VALUE,...`: what it says, as one mount or several (glob)."""

from __future__ import annotations

import os

from rootless.engine.volumes.words import Mount, check_volume_name, finished, host_path, tmpfs_options
from rootless.errors import NotFoundError, UsageError

_WORDS = frozenset(["exec", "noexec", "dev", "nodev", "suid", "nosuid", "z", "Z"])
_PROPAGATED = frozenset(["shared", "slave", "private", "rshared", "rslave", "rprivate", "unbindable", "runbindable"])
_COMMON = frozenset(["type", "source", "target", "consistency"])
_TREES = frozenset(["ro", "rw", "relabel", "idmap", "chown", "bind-propagation"]) | _WORDS | _PROPAGATED
# What each type understands; keys of several names are called by the last of each row in _SAME.
_KEYS = {
    "bind": _TREES | {"bind-nonrecursive"},
    "glob": _TREES | {"bind-nonrecursive"},
    "volume": _TREES | {"subpath", "volume-nocopy", "nocopy", "volume-opt", "volume-label", "volume-driver"},
    "tmpfs": frozenset(["ro", "rw", "chown", "tmpfs-size", "tmpfs-mode", "tmpcopyup", "notmpcopyup", "size", "mode"])
    | _WORDS - {"z", "Z"},
    "ramfs": frozenset(["ro", "rw", "chown", "tmpfs-mode", "tmpcopyup", "notmpcopyup", "mode"]) | _WORDS - {"z", "Z"},
    "image": frozenset(["ro", "rw", "subpath"]),
    "devpts": frozenset(["uid", "gid", "mode", "ptmxmode", "newinstance", "max"]),
}
_SAME = {
    "src": "source",
    "dst": "target",
    "destination": "target",
    "readonly": "ro",
    "readwrite": "rw",
    "U": "chown",
    "volume-subpath": "subpath",
}
_FLAGS = frozenset((
    "ro", "rw", "chown", "bind-nonrecursive", "volume-nocopy", "nocopy", "tmpcopyup", "notmpcopyup", "newinstance",
))  # fmt: skip
_LISTS = ("volume-opt", "volume-label")
_BOOLEANS = {"": True, "true": True, "1": True, "false": False, "0": False}


class _Words:
    """The keys and values of one `--mount`. Flags are "1", or not there."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {key: [] for key in _LISTS}
        pairs = [part.partition("=") for part in _parts(text, where)]
        self.kind = next((value for key, _, value in pairs if key == "type"), "volume")
        known = _KEYS.get(self.kind)
        if known is None:
            raise UsageError(f"{where}: type {self.kind} is not supported", f"use one of: {' '.join(_KEYS)}")
        for key, equals, value in pairs:
            self._take(_SAME.get(key, key), key, equals, value, known | _COMMON)

    def _take(self, key: str, given: str, equals: str, value: str, known: frozenset[str]) -> None:
        where = self.where
        if key not in known:
            raise UsageError(f"{where}: {given!r} is not for type={self.kind}", f"known: {' '.join(sorted(known))}")
        if key in _LISTS and value:
            self.lists[key].append(value)
            return
        if key in self.values:
            raise UsageError(f"{where}: {given} is given twice")
        if key in _FLAGS:
            if value.lower() not in _BOOLEANS:
                raise UsageError(f"{where}: {given}={value}: it is true or false")
            wanted = _BOOLEANS[value.lower()]
            if key in ("ro", "rw"):
                key, other = ("ro", "rw") if wanted == (key == "ro") else ("rw", "ro")
                if key in self.values or other in self.values:
                    raise UsageError(f"{where}: ro and rw: one of them, once")
            if not wanted and key not in ("ro", "rw"):
                return
            value = "1"
        elif key in _WORDS or key in _PROPAGATED:
            if equals:
                raise UsageError(f"{where}: {given} takes no value")
            value = "1"
        elif key != "idmap" and not value:
            raise UsageError(f"{where}: {given} needs a value")
        self.values[key] = value

    def options(self) -> list[str]:
        """As they would stand behind `--volume`."""
        words = [key for key in self.values if key in ("ro", "rw") or key in _WORDS or key in _PROPAGATED]
        for key, value in self.values.items():
            if key == "bind-propagation":
                if value not in _PROPAGATED:
                    raise UsageError(
                        f"{self.where}: bind-propagation={value}: not known", " ".join(sorted(_PROPAGATED))
                    )
                words.append(value)
            elif key == "relabel":
                if value not in ("shared", "private"):
                    raise UsageError(f"{self.where}: relabel={value}: it is shared or private")
                words.append("z" if value == "shared" else "Z")
            elif key == "idmap":
                words.append(f"idmap={value}" if value else "idmap")
            elif key in ("chown", "bind-nonrecursive", "volume-nocopy", "nocopy"):
                words.append({"chown": "U", "bind-nonrecursive": "bind"}.get(key, "nocopy"))
        return words


def _parts(text: str, where: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise UsageError(f"{where}: {error}") from None


def parse_mount(text: str) -> list[Mount]:
    """`type=bind|volume|tmpfs|ramfs|image|devpts|glob,KEY=VALUE,...`; several mounts for a glob.

    Raises UsageError, NotFoundError.
    """
    where = f'--mount "{text}"'
    words = _Words(text, where)
    source = words.values.get("source", "")
    target = words.values.get("target", "")
    if words.kind == "glob":
        return _globbed(words, source, target)
    if not target:
        raise UsageError(f"{where}: no target", "write it like type=bind,source=DIR,target=PATH")
    if words.kind == "bind":
        return [finished(Mount("bind", host_path(source or target, where), target, words.options(), where), where)]
    if words.kind == "volume":
        return [_volume(words, source, target)]
    if words.kind == "image":
        return [_image(words, source, target)]
    if source and words.kind != "ramfs":
        raise UsageError(f"{where}: type={words.kind} has no source")
    if words.kind == "devpts":
        return [_terminals(words, target)]
    return [_memory(words, target)]


def _globbed(words: _Words, source: str, target: str) -> list[Mount]:
    from glob import glob

    where = words.where
    if not os.path.isabs(source):
        raise UsageError(f"{where}: source={source}: write an absolute path with * or ? in it")
    found = sorted(glob(source))
    if not found:
        raise NotFoundError(f"{where}: nothing on the host matches {source}")
    mounts = []
    for path in found:
        place = f"{target}/{os.path.basename(path)}" if target else path
        mounts.append(finished(Mount("bind", path, place, words.options(), where), where))
    return mounts


def _volume(words: _Words, source: str, target: str) -> Mount:
    where = words.where
    name = check_volume_name(source, where) if source else ""
    mount = finished(Mount("volume", name, target, words.options(), where), where)
    if words.values.get("volume-driver", "local") != "local":
        raise UsageError(f"{where}: volume-driver={words.values['volume-driver']}: only local makes volumes here")
    if words.lists["volume-opt"]:
        from storage.volumes.options import parse_settings

        mount.settings = parse_settings(words.lists["volume-opt"], where)
    for label in words.lists["volume-label"]:
        key, _, value = label.partition("=")
        mount.labels[key] = value
    if "subpath" in words.values:
        mount.more["subpath"] = words.values["subpath"]
        mount.copy = False
    return mount


def _image(words: _Words, source: str, target: str) -> Mount:
    if not source:
        raise UsageError(f"{words.where}: no source", "write it like type=image,source=IMAGE,target=PATH")
    writable = "rw" in words.values
    mount = Mount("image", source, target, [] if writable else ["ro"], words.where)
    mount.more["writable"] = writable
    if "subpath" in words.values:
        mount.more["subpath"] = words.values["subpath"]
    return mount


def _terminals(words: _Words, target: str) -> Mount:
    options = ["nosuid", "noexec", "newinstance"]
    given = {key: value for key, value in words.values.items() if key in ("uid", "gid", "mode", "ptmxmode", "max")}
    for key, value in {"ptmxmode": "0666", "mode": "0620", **given}.items():
        if not value.isdigit():
            raise UsageError(f"{words.where}: {key}={value}: not a number")
        options.append(f"{key}={value}")
    return Mount("devpts", "", target, options, words.where)


def _memory(words: _Words, target: str) -> Mount:
    options = []
    for key, value in words.values.items():
        if key in ("tmpfs-size", "tmpfs-mode", "size", "mode"):
            options.append(f"{key.removeprefix('tmpfs-')}={value}")
        elif key not in ("type", "source", "target", "consistency", "chown"):
            options.append(key)
    mount = Mount(words.kind, "", target, tmpfs_options(options, words.where), words.where)
    if "chown" in words.values:
        mount.more["chown"] = True
    return mount
