"""Id maps: which users and groups exist in a user namespace, and how the kernel is told (user_namespaces(7)).

An ordinary user maps ids through newuidmap and newgidmap, the only privilege that this project ever uses. Where they
cannot help, one id is mapped, which needs nobody's leave.
"""

from __future__ import annotations

import errno
import os
import stat

import rootless
from rootless.errors import KernelError
from rootless.kernel.namespaces import TOO_MANY_PROCESSES
from rootless.kernel.subids import ID_LIMIT, clip, subordinate_ranges, user_name_of

__all__ = [
    "Mapping",
    "UserMap",
    "default_user_map",
    "find_program",
    "identity_of",
    "start_mapping",
    "subordinate_ranges",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.kernel.subids import Span

    Range = tuple[int, int, int]

UNSHARED = "ROOTLESS_UNSHARED"  # in the environment inside `rootless unshare`: number of its user namespace

_CAP_SYS_ADMIN = 1 << 21
_CAP_SETGID = 1 << 6
_CAP_SETUID = 1 << 7

# The kernel takes at most 340 lines in a map.
_MOST_RANGES = 340

# Where the ids of containers lie that real root starts without subordinate ids of its own: beyond what distributions
# give to users (up to 600,100,000) and systemd to its containers (up to 0x6fffffff), still below 2^31.
_AUTOMATIC_START = 0x70000000
_AUTOMATIC_COUNT = 65536


class UserMap:
    """The ids of a user namespace: (inside, outside, count) for users and for groups.

    `single` says that only one id is mapped though more were wanted, and `reason` why, in words for the user.
    """

    __slots__ = ("gids", "reason", "single", "uids")

    def __init__(self, uids: list[Range], gids: list[Range], single: bool = False, reason: str | None = None) -> None:
        self.uids = uids
        self.gids = gids
        self.single = single
        self.reason = reason

    def as_plain(self) -> tuple[list[Range], list[Range], bool, str | None]:
        """The fields as values that marshal and JSON know."""
        return (self.uids, self.gids, self.single, self.reason)

    @classmethod
    def from_plain(cls, plain: tuple[list[Range], list[Range], bool, str | None]) -> UserMap:
        uids, gids, single, reason = plain
        return cls([(a, b, c) for a, b, c in uids], [(a, b, c) for a, b, c in gids], bool(single), reason)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UserMap) and self.as_plain() == other.as_plain()

    def __hash__(self) -> int:
        return hash((tuple(self.uids), tuple(self.gids)))

    def __repr__(self) -> str:
        return f"UserMap{self.as_plain()!r}"


def default_user_map() -> UserMap:
    """The map that containers get here: 0 is us, 1 and up are all our subordinate ids, as far as they may be used.

    As root: root's own subordinate ids, else the ids of the container around us, else a range that nobody is given;
    real root is never mapped where that can be helped.
    """
    uid, gid = os.geteuid(), os.getegid()
    no_new_privs, capabilities = _own_status()
    if uid == 0 and capabilities & _CAP_SETUID and capabilities & _CAP_SETGID:
        return _map_for_root()
    reason = _why_no_helper(no_new_privs)
    if reason is None:
        name = user_name_of(uid)
        uids = clip(subordinate_ranges("uid", name, uid), own_ids("uid"), [(uid, 1)])
        gids = clip(subordinate_ranges("gid", name, uid), own_ids("gid"), [(gid, 1)])
        if uids and gids:
            return UserMap(_in_sequence([(uid, 1), *uids]), _in_sequence([(gid, 1), *gids]))
        who = name or f"uid {uid}"
        reason = f"no subordinate ids that can be used for {who} in {'/etc/subgid' if uids else '/etc/subuid'}"
    return UserMap([(0, uid, 1)], [(0, gid, 1)], True, reason)


def identity_of(user_map: UserMap, inside_uid: int) -> int | None:
    """The user id on the host that `inside_uid` is, or None where it is not mapped."""
    for inside, outside, count in user_map.uids:
        if inside <= inside_uid < inside + count:
            return outside + inside_uid - inside
    return None


def keeps_root_out(user_map: UserMap) -> bool:
    """Whether we are root and the container's root would be somebody else, whom our private directories keep out."""
    return os.geteuid() == 0 and identity_of(user_map, 0) != 0


def may_administer() -> bool:
    """Whether we are root of a namespace in which that gives the right to mount."""
    return os.geteuid() == 0 and bool(_own_status()[1] & _CAP_SYS_ADMIN)


def own_ids(kind: str) -> list[Span]:
    """(start, count) of the ids that exist in the namespace we are in; `kind` is "uid" or "gid"."""
    return [(inside, count) for inside, _, count in _rows(kind)]


def find_program(name: str) -> str | None:
    """The absolute path of an executable in $PATH."""
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        path = f"{directory}/{name}"
        if directory.startswith("/") and os.access(path, os.X_OK):
            return path
    return None


def privilege_of(path: str) -> str | None:
    """Why this executable does not run with the privilege it needs, in words; None when it does (set-user-ID root or
    file capabilities, on a file system that honours them)."""
    try:
        found = os.stat(path)
        if not (found.st_mode & stat.S_ISUID and found.st_uid == 0):
            os.getxattr(path, "security.capability")
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return f"{path} lies on a file system that is mounted nosuid"
    except OSError:
        return f"{path} is neither set-user-ID root nor has it file capabilities"
    return None


class Mapping:
    """Id maps being written; call `finish` once."""

    __slots__ = ("_running",)

    def __init__(self, running: list[tuple[str, int, int]]) -> None:
        self._running = running

    def finish(self) -> None:
        """Wait until the maps are in force. Raises KernelError with what newuidmap or newgidmap said."""
        failures = []
        for tool, pid, said in self._running:
            with open(said, "rb", buffering=0) as pipe:
                words = (pipe.read() or b"").decode(errors="replace").strip()
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code:
                failures.append(words or f"{tool} ended with status {code}")
        self._running = []
        if failures:
            raise KernelError(
                f"mapping the ids of a user namespace: {'; '.join(failures)}",
                "`rootless doctor` checks newuidmap, newgidmap, /etc/subuid and /etc/subgid",
            )


def start_mapping(pid: int, user_map: UserMap) -> Mapping:
    """Begin to give the new user namespace of process `pid` its ids; both tools run side by side with the caller.

    Single ids, and all that root may do by itself, are written here at once. Raises KernelError, naming tool and cause.
    """
    _, capabilities = _own_status()
    if user_map.single or (capabilities & _CAP_SETUID and capabilities & _CAP_SETGID):
        _write_maps(pid, user_map)
        return Mapping([])
    running: list[tuple[str, int, int]] = []
    try:
        for tool, ranges in (("newuidmap", user_map.uids), ("newgidmap", user_map.gids)):
            running.append((tool, *_spawn(tool, pid, ranges)))
    except KernelError:
        for _, child, said in running:
            os.close(said)
            os.waitpid(child, 0)
        raise
    return Mapping(running)


def _spawn(tool: str, pid: int, ranges: list[Range]) -> tuple[int, int]:
    """Start newuidmap or newgidmap: its pid, and the end of a pipe on which it complains."""
    path = find_program(tool)
    if path is None:
        raise KernelError(f"mapping the ids of a user namespace: {tool} is not installed", "see `rootless doctor`")
    arguments = [tool, str(pid), *[str(number) for row in ranges for number in row]]
    if rootless.debug:
        rootless.debug(f"starting {path}: {' '.join(arguments)}")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        child = os.posix_spawn(
            path,
            arguments,
            {"LC_ALL": "C"},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, writer, 1),
                (os.POSIX_SPAWN_DUP2, writer, 2),
            ],
        )
    except OSError as error:
        os.close(reader)
        hint = TOO_MANY_PROCESSES if error.errno == errno.EAGAIN else "see `rootless doctor`"
        raise KernelError(f"starting {path}: {error.strerror}", hint) from None
    finally:
        os.close(writer)
    return child, reader


def _write_maps(pid: int, user_map: UserMap) -> None:
    if user_map.single:
        # Without privilege a group map is only taken from those who have renounced setgroups(2).
        _write(f"/proc/{pid}/setgroups", b"deny")
    for kind, ranges in (("uid", user_map.uids), ("gid", user_map.gids)):
        _write(f"/proc/{pid}/{kind}_map", b"".join(b"%d %d %d\n" % row for row in ranges))


def _write(path: str, content: bytes) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, content)
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError(
            f"mapping the ids of a user namespace: writing {path}: {error.strerror}", "see `rootless doctor`"
        ) from None


def _map_for_root() -> UserMap:
    ids = {}
    ours = UNSHARED in os.environ and os.environ[UNSHARED] == str(os.stat("/proc/self/ns/user").st_ino)
    for kind in ("uid", "gid"):
        rows = _rows(kind)
        if ours:  # all its ids are containers', whatever /etc/subuid says of root
            ids[kind] = [(inside, inside, count) for inside, _, count in rows]
            continue
        ranges = clip(subordinate_ranges(kind, "root", 0), own_ids(kind), [(0, 1)])
        if ranges:
            ids[kind] = _in_sequence(ranges)
        elif any(inside == 0 and outside != 0 for inside, outside, _ in rows):
            ids[kind] = [(inside, inside, count) for inside, _, count in rows]
        else:
            inside, _, count = max(rows, key=lambda row: row[2])
            width = min(_AUTOMATIC_COUNT, count // 2)
            ids[kind] = [(0, min(_AUTOMATIC_START, inside + count - width), width)] if width else [(0, 0, 1)]
    for kind, mapped in ids.items():
        if sum(row[2] for row in mapped) == 1:
            reason = f"the container around us has one {'user' if kind == 'uid' else 'group'} id only"
            return UserMap([(0, 0, 1)], [(0, 0, 1)], True, reason)
    return UserMap(ids["uid"], ids["gid"])


def _in_sequence(ranges: list[Span]) -> list[Range]:
    """Ranges laid one behind the other from inside id 0 on."""
    rows: list[Range] = []
    inside = 0
    for start, count in ranges[:_MOST_RANGES]:
        count = min(count, ID_LIMIT - inside)
        if count:
            rows.append((inside, start, count))
        inside += count
    return rows


def _rows(kind: str) -> list[Range]:
    rows: list[Range] = []
    with open(f"/proc/self/{kind}_map", "rb", buffering=0) as file:
        for line in (file.read() or b"").splitlines():
            inside, outside, count = line.split()
            rows.append((int(inside), int(outside), int(count)))
    return rows


def _own_status() -> tuple[bool, int]:
    """Whether no_new_privs is set on us, and our effective capabilities as a bit mask (/proc/self/status)."""
    with open("/proc/self/status", "rb", buffering=0) as file:
        status = file.read() or b""
    effective = status.index(b"\nCapEff:\t") + 9
    return b"\nNoNewPrivs:\t1" in status, int(status[effective : status.index(b"\n", effective)], 16)


def _why_no_helper(no_new_privs: bool) -> str | None:
    """Why newuidmap and newgidmap cannot help here, in words; None when they can."""
    if no_new_privs:
        return "no_new_privs is set on this process, so newuidmap has no effect"
    for tool in ("newuidmap", "newgidmap"):
        path = find_program(tool)
        if path is None:
            return f"{tool} is not installed"
        problem = privilege_of(path)
        if problem:
            return problem
    return None
