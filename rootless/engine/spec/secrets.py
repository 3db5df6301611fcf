"""`--secret`: which secrets a container gets, and how.

Their data is copied when the container is made, into its directory (secrets/<position>, 0600), so a secret that is
changed or removed later stays what it was for this container. It is in no configuration, image, log or output.
Loaded where a container has secrets.
"""

from __future__ import annotations

import os

from rootless.errors import StorageError, UsageError
from rootless.kernel.files import write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from storage.store import Store

PLACE = "/run/secrets"
_LARGEST_ID = 0x7FFFFFFE


class Use:
    """One secret for a container: its `name`; `kind` mount or env; `target`, a path or a variable's name; `uid`, `gid`,
    `mode` of the file."""

    __slots__ = ("gid", "kind", "mode", "name", "target", "uid")

    def __init__(self, name: str, kind: str, target: str, uid: int, gid: int, mode: int) -> None:
        self.name = name
        self.kind = kind
        self.target = target
        self.uid = uid
        self.gid = gid
        self.mode = mode


def parse_use(text: str) -> Use:
    """`NAME[,type=mount|env][,target=][,uid=][,gid=][,mode=]`. Raises UsageError."""
    where = f"--secret {text[:80]}"
    words = text.split(",")
    values: dict[str, str] = {}
    for number, word in enumerate(words):
        key, equals, value = word.partition("=")
        if number == 0 and not equals:
            key, value = "source", word
        elif key not in ("source", "type", "target", "uid", "gid", "mode") or not equals:
            raise UsageError(f"{where}: {word!r} is not understood", "NAME[,type=mount|env,target=,uid=,gid=,mode=]")
        values[key] = value
    name, kind = values.get("source", ""), values.get("type", "mount")
    if not name:
        raise UsageError(f"{where}: which secret?", "begin with its name")
    if kind not in ("mount", "env"):
        raise UsageError(f"{where}: type={kind} is not mount or env")
    target = values.get("target") or name
    if kind == "env":
        for key in ("uid", "gid", "mode"):
            if key in values:
                raise UsageError(f"{where}: {key}= is for files, not for variables")
        if "=" in target:
            raise UsageError(f"{where}: {target!r} is not the name of a variable")
    elif ".." in target.split("/") or target.endswith(("/", "/.")) or _path(target) in (PLACE, "/"):
        raise UsageError(f"{where}: target={target} is not the path of a file")
    return Use(
        name,
        kind,
        target,
        _id(values.get("uid", "0"), where),
        _id(values.get("gid", "0"), where),
        _mode(values.get("mode", "0444"), where),
    )


def _id(text: str, where: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _LARGEST_ID):
        raise UsageError(f"{where}: {text!r} is not the number of a user or group")
    return int(text)


def _mode(text: str, where: str) -> int:
    if not (0 < len(text) <= 5 and set(text) <= set("01234567") and int(text, 8) <= 0o7777):
        raise UsageError(f"{where}: mode={text} is not an octal mode", "write it like mode=0400")
    return int(text, 8)


def settle(store: Store, given: list[str]) -> list[tuple[str, bytes]]:
    """Id and data of each of the secrets that --secret names. Raises UsageError, NotFoundError, StorageError."""
    from storage.secrets import find_secret, read_secret

    targets: set[tuple[str, str]] = set()
    found = []
    for text in given:
        use = parse_use(text)
        place = (use.kind, _path(use.target) if use.kind == "mount" else use.target)
        taken = [at for kind, at in targets if kind == use.kind and (at == place[1] or _nested(at, place[1]))]
        if taken:
            raise UsageError(
                f"--secret {text[:80]}: it cannot be at {place[1]} beside the one at {taken[0]}",
                "give one of them another target=",
            )
        targets.add(place)
        secret = find_secret(store, use.name)
        data = read_secret(store, secret)
        if use.kind == "env" and b"\0" in data:
            raise UsageError(f"--secret {text[:80]}: a variable cannot hold its NUL bytes", "use type=mount")
        found.append((secret.id, data))
    return found


def _nested(one: str, other: str) -> bool:
    """Whether one path is a directory above the other."""
    return one.startswith(other + "/") or other.startswith(one + "/")


def keep(directory: str, found: list[tuple[str, bytes]]) -> None:
    """Write the data into the container's directory."""
    os.mkdir(f"{directory}/secrets", 0o700)
    for number, (_, data) in enumerate(found):
        fd = os.open(f"{directory}/secrets/{number}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
        finally:
            os.close(fd)


def mounts(directory: str, given: list[str]) -> list[dict[str, Any]]:
    """The mounts that show a container its secrets, of which each is made in memory by pid 1."""
    together: list[list[Any]] = []
    apart: list[list[Any]] = []
    for number, text in enumerate(given):
        use = parse_use(text)
        if use.kind == "mount":
            path = _path(use.target)
            file = [path, f"{directory}/secrets/{number}", use.uid, use.gid, use.mode]
            (together if path.startswith(PLACE + "/") else apart).append(file)
    found = [_mount(file[0], [file]) for file in apart]
    if together:
        found.append(_mount(PLACE, together))
    return found


def _mount(path: Any, files: list[Any]) -> dict[str, Any]:
    return {"destination": path, "type": "tmpfs", "source": "secrets", "options": [], "rootless": {"secrets": files}}


def variables(directory: str, given: list[str]) -> list[str]:
    """NAME=VALUE for each secret that becomes a variable. Raises StorageError."""
    lines = []
    for number, text in enumerate(given):
        use = parse_use(text)
        if use.kind == "env":
            try:
                with open(f"{directory}/secrets/{number}", "rb") as file:
                    lines.append(f"{use.target}={os.fsdecode(file.read())}")
            except OSError as error:
                raise StorageError(f"reading the container's copy of the secret {use.name}: {error.strerror}") from None
    return lines


def with_variables(process: dict[str, Any], directory: str, given: list[str]) -> dict[str, Any]:
    """A process object whose environment has the secrets too."""
    lines = variables(directory, given)
    if not lines:
        return process
    names = tuple(line.partition("=")[0] + "=" for line in lines)
    return {**process, "env": [line for line in process["env"] if not line.startswith(names)] + lines}


def _path(target: str) -> str:
    path = target if target.startswith("/") else f"{PLACE}/{target}"
    return os.path.normpath(path)
