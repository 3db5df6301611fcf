"""The processes of a container, read from the host's /proc: proc(5), pid_namespaces(7)."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from rootless.errors import ConflictError
from rootless.kernel.files import RESOLVE_IN_ROOT, openat2
from rootless.runtime.users import find_user

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
_LARGEST_FILE = 16 << 20


@dataclass(frozen=True, slots=True)
class Process:
    """One process. `pid`, `parent`, `group`: as the container numbers them, 0 for what lies outside; `host_pid` as the
    host does. `status`: lines of /proc/PID/status by their name. `cpu`: ticks of its own, `reaped`: of children that it
    has waited for. `started`: ticks after boot. `tty`: device number. `memory`, `virtual`: bytes."""

    host_pid: int
    pid: int
    parent: int
    group: int
    state: str
    tty: int
    cpu: int
    reaped: int
    nice: int
    started: int
    virtual: int
    memory: int
    comm: str
    args: list[str]
    status: dict[str, str]


class _Raw:
    """What two files of /proc say of a process; `pids`: its numbers, from the host's to that of its own namespace."""

    __slots__ = ("fields", "pids", "status")

    def __init__(self, number: int) -> None:
        with open(f"/proc/{number}/stat", "rb") as file:
            comm, _, rest = file.read().partition(b"(")[2].rpartition(b")")
        self.fields = [comm.decode("utf-8", "replace"), *rest.decode().split()]
        with open(f"/proc/{number}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.partition(":") for line in file)
            self.status = {name: value.strip() for name, _, value in pairs}
        self.pids = [int(word) for word in self.status.get("NSpid", "").split()]

    @property
    def parent(self) -> int:
        return int(self.fields[2])


def processes_of(init: int) -> list[Process]:
    """Those in the pid namespace of the container's pid 1 (`init`, as the host sees it), and in namespaces below; pid 1
    first. Raises ConflictError where it has ended."""
    found = processes_by_container([init])
    if init not in found:
        raise ConflictError("reading the container's processes: it has ended")
    return found[init]


def processes_by_container(inits: list[int]) -> dict[int, list[Process]]:
    """As `processes_of`, for several containers with one look at /proc; those that have ended are left out."""
    members: dict[int, dict[int, _Raw]] = {}  # by pid 1
    by_namespace: dict[int, int] = {}
    depths: dict[int, int] = {}
    for init in inits:
        try:
            by_namespace[os.stat(f"/proc/{init}/ns/pid").st_ino] = init
            depths[init] = len(_Raw(init).pids) - 1
            members[init] = {}
        except OSError:
            continue
    shallowest = min(depths.values(), default=0)
    home: dict[int, int] = {}  # process -> pid 1 of its container
    below: list[tuple[int, _Raw]] = []
    for number in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        try:
            raw = _Raw(number)
            if len(raw.pids) <= shallowest:
                continue
            owner = by_namespace.get(os.stat(f"/proc/{number}/ns/pid").st_ino)
        except OSError:
            continue  # it has ended, or is another user's
        if owner is None:
            below.append((number, raw))
        elif owner in members:
            members[owner][number] = raw
            home[number] = owner
    for number, raw in below:  # in a namespace further down: its parents lead to one that we know
        parent = home.get(raw.parent)
        if parent is not None:
            members[parent][number] = raw
            home[number] = parent
    return {
        init: sorted((_process(*pair, depths[init], found) for pair in found.items()), key=lambda one: one.pid)
        for init, found in members.items()
        if init in found
    }


def _process(number: int, raw: _Raw, depth: int, found: dict[int, _Raw]) -> Process:
    fields = raw.fields
    parent = found.get(raw.parent)
    groups = raw.status.get("NSpgid", "").split()
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            args = [word.decode("utf-8", "replace") for word in file.read().rstrip(b"\0").split(b"\0")]
    except OSError:
        args = []
    return Process(
        host_pid=number,
        pid=raw.pids[depth],
        parent=parent.pids[depth] if parent else 0,
        group=int(groups[depth]) if len(groups) > depth else 0,
        state=fields[1],
        tty=int(fields[5]),
        cpu=int(fields[12]) + int(fields[13]),
        reaped=int(fields[14]) + int(fields[15]),
        nice=int(fields[17]),
        started=int(fields[20]),
        virtual=int(fields[21]),
        memory=int(fields[22]) * PAGE,
        comm=fields[0],
        args=args if args != [""] else [],
        status=raw.status,
    )


class Names:
    """Users and groups as the container calls them: its own /etc/passwd and /etc/group are read, and not trusted."""

    def __init__(self, init: int) -> None:
        self._maps = {kind: _map(init, kind) for kind in ("uid", "gid")}
        self._passwd = _read(init, "/etc/passwd")
        self._group = _read(init, "/etc/group")

    def user(self, host_id: int) -> str:
        number = self.inside("uid", host_id)
        found = find_user(self._passwd, str(number))
        return found[0] if found else str(number)

    def group(self, host_id: int) -> str:
        number = self.inside("gid", host_id)
        for line in self._group.split(b"\n"):
            fields = line.split(b":")
            if len(fields) >= 3 and fields[2] == b"%d" % number and fields[0]:
                return os.fsdecode(fields[0])
        return str(number)

    def inside(self, kind: str, host_id: int) -> int:
        """The id that the container has for one of the host's; 65534 where it has none. `kind`: "uid", "gid"."""
        for inside, outside, count in self._maps[kind]:
            if outside <= host_id < outside + count:
                return inside + host_id - outside
        return 65534


def _map(init: int, kind: str) -> list[tuple[int, int, int]]:
    try:
        with open(f"/proc/{init}/{kind}_map") as file:
            rows = [tuple(map(int, line.split())) for line in file]
    except OSError:
        return []
    return [(row[0], row[1], row[2]) for row in rows]


def _read(init: int, path: str) -> bytes:
    """A file of the container's, with its root as ours; nothing where it cannot be read."""
    try:
        root = os.open(f"/proc/{init}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = openat2(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve=RESOLVE_IN_ROOT)
        finally:
            os.close(root)
        with open(fd, "rb") as file:
            return file.read(_LARGEST_FILE) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
