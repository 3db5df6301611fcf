"""Subordinate ids: which ids besides our own we may map (subuid(5), subgid(5), getsubids(1))."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    Span = tuple[int, int]

FILES = {"uid": "/etc/subuid", "gid": "/etc/subgid"}
NSSWITCH = "/etc/nsswitch.conf"

# Ids are 32 bits wide and the last one stands for "none".
ID_LIMIT = 0xFFFFFFFF


def parse_line(line: bytes) -> tuple[bytes, int, int] | None:
    """(owner, start, count) of one line of /etc/subuid or /etc/subgid; None for a comment and for what is malformed.

    As strict as newuidmap, which ignores such lines: three fields, plain decimal numbers, at least one id, none beyond
    32 bits.
    """
    fields = line.split(b":")
    if len(fields) != 3 or not fields[0] or fields[0].startswith(b"#"):
        return None
    owner, first, number = fields
    if not first.isdigit() or not number.isdigit() or len(first) > 10 or len(number) > 10:
        return None
    start, count = int(first), int(number)
    return (owner, start, count) if count > 0 and start + count <= ID_LIMIT else None


def parse(content: bytes, user_name: str, uid: int) -> list[Span]:
    """(start, count) of every entry for this user, by name or by number, in the order of the file."""
    owners = (os.fsencode(user_name), b"%d" % uid)
    ranges = []
    for line in content.split(b"\n"):
        entry = parse_line(line)
        if entry is not None and entry[0] in owners:
            ranges.append(entry[1:])
    return ranges


def subordinate_ranges(kind: str, user_name: str, uid: int) -> list[Span]:
    """(start, count) of the ids that this user may map; `kind` is "uid" or "gid". Empty where there are none.

    The file is read here; `getsubids` is asked only where /etc/nsswitch.conf names another source than files.
    """
    if names_another_source(_content(NSSWITCH)):
        ranges = _ask_getsubids(kind, user_name)
        if ranges is not None:
            return ranges
    return parse(_content(FILES[kind]), user_name, uid)


def user_name_of(uid: int) -> str:
    """The user's name, or "" where the host knows none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def names_another_source(nsswitch: bytes) -> bool:
    """Whether this nsswitch.conf(5) takes subordinate ids from elsewhere (libsubid reads only the first source)."""
    for line in nsswitch.split(b"\n"):
        if line.startswith(b"subid:"):
            sources = line[6:].split(b"#")[0].split()
            return bool(sources) and sources[0] != b"files"
    return False


def clip(ranges: list[Span], allowed: list[Span], taken: list[Span]) -> list[Span]:
    """What of `ranges` lies within `allowed`, without `taken` and without anything that comes twice; the order is kept.

    The kernel refuses a map in which an outside id appears twice, or that names ids which our own namespace lacks.
    """
    taken = list(taken)
    kept: list[Span] = []
    for start, count in ranges:
        for low, width in allowed:
            pieces = [(max(start, low), min(start + count, low + width))]
            for other, size in taken:
                pieces = [
                    piece
                    for first, end in pieces
                    for piece in ((first, min(end, other)), (max(first, other + size), end))
                    if piece[0] < piece[1]
                ]
            found = [(first, end - first) for first, end in pieces if first < end]
            kept += found
            taken += found
    return kept


def _content(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        content = b""
        while chunk := os.read(fd, 1 << 16):
            content += chunk
        return content
    except OSError:
        return b""
    finally:
        os.close(fd)


def _ask_getsubids(kind: str, user_name: str) -> list[Span] | None:
    """The answer of getsubids(1) ("0: dev 100000 65536"), or None where it is not installed or fails."""
    import subprocess

    try:
        answer = subprocess.run(
            ["getsubids", *(["-g"] if kind == "gid" else []), user_name],
            capture_output=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    ranges = []
    for line in answer.splitlines():
        fields = line.split()
        entry = parse_line(b":".join(fields[1:])) if len(fields) == 4 else None
        if entry is not None:
            ranges.append(entry[1:])
    return ranges
