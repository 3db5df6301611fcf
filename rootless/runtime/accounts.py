"""Entries for the container's user in its own /etc/passwd and /etc/group, where these lack one. Loaded where that is
asked for, or a user is given by number."""

from __future__ import annotations

import os
import stat

from rootless.kernel.files import (
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_XDEV,
    openat2,
    write_all,
)
from rootless.runtime.users import find_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST_FILE = 16 << 20


def add_accounts(root: int, cwd: str, wanted: dict[str, Any]) -> list[str]:
    """Append what is missing to the files of the root file system `root`, before anything is mounted over them.

    `cwd` becomes the home directory. `wanted`: "user": "uid[:gid]" or names; "passwd", "group": templates of
    --passwd-entry and --group-entry or None; "hosts": lines of passwd(5) for --hostuser. An image whose
    files are none, or lie elsewhere, is left alone. Returns warnings, where a file cannot be written.
    """
    warnings = []
    passwd = _read(root, "etc/passwd")
    group = _read(root, "etc/group")
    name, _, group_name = str(wanted["user"]).partition(":")
    lines = [line for line in wanted["hosts"] if not find_user(passwd, line.partition(":")[0])]
    if name.isdigit() and int(name) and not find_user(passwd, name):
        name = str(int(name))
        taken = [line for line in lines if line.split(":")[2] == name]
        gid = group_name if group_name.isdigit() else "0"
        if not taken:
            entry = wanted["passwd"] or "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh"
            lines.append(_filled(entry, name, gid, cwd))
        if gid != "0" and not _has_group(group, gid):
            entry = wanted["group"] or "$GROUPNAME:x:$GID:$USERLIST"
            warnings += _append(root, "etc/group", group, [_filled(entry, name, gid, cwd)])
    return warnings + _append(root, "etc/passwd", passwd, lines)


def _filled(template: str, uid: str, gid: str, cwd: str) -> str:
    values = {
        "$USERNAME": uid,
        "$USERLIST": uid,
        "$GROUPNAME": gid,
        "$NAME": "container user",
        "$HOME": cwd,
        "$UID": uid,
        "$GID": gid,
    }
    for key, value in values.items():
        template = template.replace(key, value)
    return template


def _has_group(group: bytes, gid: str) -> bool:
    return any(line.split(b":")[2:3] == [gid.encode()] for line in group.split(b"\n"))


def _open(root: int, path: str, flags: int) -> int:
    return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)


def _read(root: int, path: str) -> bytes:
    try:
        fd = _open(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
            return b""
        parts = []
        while part := os.read(fd, 1 << 18):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def _append(root: int, path: str, content: bytes, lines: list[str]) -> list[str]:
    if not content or not lines:
        return []  # no such file, or nothing that ours could be added to
    text = "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")
    if not content.endswith(b"\n"):
        text = b"\n" + text
    try:
        fd = _open(root, path, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)
        try:
            write_all(fd, text)
        finally:
            os.close(fd)
    except OSError as error:
        return [f"the container's user has no entry in /{path}: {os.strerror(error.errno or 0)}"]
    return []
