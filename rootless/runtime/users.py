"""Who a container's process is: names looked up in the image's own /etc/passwd and /etc/group, which are not trusted.

The files are read by hand. The C library's look-ups would load modules that the image's nsswitch.conf names
(CVE-2019-14271).
"""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST_FILE = 16 << 20
KEEP_GROUPS = "keep-groups"  # in place of names: the process keeps the groups that the caller is in
_LARGEST_ID = 0x7FFFFFFF
_MOST_GROUPS = 65536  # the kernel's limit, NGROUPS_MAX


class User:
    """`uid`, `gid`, supplementary `groups` and `home`, which is "" where nothing names one. The groups have `gid` among
    them, so that a program that changes its group does not leave it (CVE-2022-36109)."""

    __slots__ = ("gid", "groups", "home", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = [gid, *(group for group in groups if group != gid)]
        self.home = home


def resolve_user(spec: str | None, process: dict[str, Any], groups: str = "") -> User:
    """The user `spec` ("name|uid[:group|gid]"; "" is root), or with None the one of the OCI process object. Called with
    the container's root as ours. `groups`: names of more groups, with commas between. Raises UsageError where the image
    has no such user or group."""
    stated = process.get("user") or {}
    extra = [int(gid) for gid in stated.get("additionalGids") or []]
    if spec is None:
        uid, gid = int(stated.get("uid") or 0), int(stated.get("gid") or 0)
        found = find_user(read_small_file("/etc/passwd"), str(uid))
        return User(uid, gid, extra, found[3] if found else "")
    user = look_up(spec, read_small_file("/etc/passwd"), read_small_file("/etc/group"))
    if groups:
        extra += _numbers_of(groups)
    user.groups += [gid for gid in extra if gid not in user.groups]
    return user


def _numbers_of(names: str) -> list[int]:
    content = read_small_file("/etc/group")
    numbers = []
    for name in names.split(","):
        number = _group_number(content, name)
        if number is None:
            raise UsageError(f"--group-add {name}: the image's /etc/group has no such group", "give its number")
        numbers.append(number)
    return numbers


def look_up(spec: str, passwd: bytes, group: bytes) -> User:
    """Resolve as Docker does: a number need not be in the files; groups of the file hold unless one is given."""
    name, colon, group_name = (spec or "0").partition(":")
    name = name or "0"
    found = find_user(passwd, name)
    if found:
        login, uid, gid, home = found
    elif _is_number(name):
        login, uid, gid, home = "", _number(name, spec), 0, ""
    else:
        raise UsageError(f"user {spec}: the image's /etc/passwd has no user {name}")
    if not colon or not group_name:
        return User(uid, gid, _groups_of(group, login) if login else [], home)
    number = _group_number(group, group_name)
    if number is None:
        if not _is_number(group_name):
            raise UsageError(f"user {spec}: the image's /etc/group has no group {group_name}")
        number = _number(group_name, spec)
    return User(uid, number, [], home)


def find_user(passwd: bytes, name: str) -> tuple[str, int, int, str] | None:
    """(name, uid, gid, home) of the first well-formed entry with this name or, for digits, this uid."""
    wanted = os.fsencode(name)
    number = wanted.lstrip(b"0") or b"0"
    for line in passwd.split(b"\n"):
        if not line.startswith(wanted + b":") and (b":" + number + b":") not in line:
            continue
        fields = line.split(b":")
        if len(fields) < 6 or not fields[2].isdigit() or not fields[3].isdigit() or not fields[0]:
            continue
        if fields[0] == wanted or (wanted.isdigit() and int(fields[2]) == int(wanted)):
            uid, gid = _number(fields[2].decode(), name), _number(fields[3].decode(), name)
            return os.fsdecode(fields[0]), uid, gid, os.fsdecode(fields[5])
    return None


def _groups_of(group: bytes, login: str) -> list[int]:
    """Numbers of the groups whose member list names `login`."""
    wanted = os.fsencode(login)
    numbers: dict[int, None] = {}
    for line in group.split(b"\n"):
        fields = line.strip().split(b":")
        if len(fields) >= 4 and fields[2].isdigit() and len(fields[2]) <= 10 and wanted in fields[3].split(b","):
            number = int(fields[2])
            if number <= _LARGEST_ID:
                numbers[number] = None
    if len(numbers) > _MOST_GROUPS:
        raise UsageError(f"user {login}: the image's /etc/group makes it a member of {len(numbers)} groups")
    return list(numbers)


def _group_number(group: bytes, name: str) -> int | None:
    wanted = os.fsencode(name)
    for line in group.split(b"\n"):
        fields = line.split(b":")
        if len(fields) >= 3 and fields[2].isdigit() and fields[0] == wanted:
            return _number(fields[2].decode(), name)
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(digits: str, spec: str) -> int:
    if len(digits) > 10 or int(digits) > _LARGEST_ID:
        raise UsageError(f"user {spec}: {digits} is not between 0 and {_LARGEST_ID}")
    return int(digits)


def read_small_file(path: str) -> bytes:
    """A regular file of at most 16 MiB; b"" where there is none. Raises RootlessError for anything else: a fifo would
    hold us, a device feed us, for ever."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST_FILE:
            raise RootlessError(f"reading {path} of the container: it is not a regular file of reasonable size")
        parts = []
        size = 0
        while part := os.read(fd, 1 << 18):
            parts.append(part)
            size += len(part)
            if size > _LARGEST_FILE:
                raise RootlessError(f"reading {path} of the container: it does not end")
        return b"".join(parts)
    except OSError as error:
        raise RootlessError(f"reading {path} of the container: {error.strerror}") from None
    finally:
        os.close(fd)
