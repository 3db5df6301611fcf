"""Control groups of version 2: where they are mounted, which one is ours, whether we may make others below it, and what
can be done with one. cgroups(7), Documentation/admin-guide/cgroup-v2.rst in the kernel's sources.

A group is named by its directory. Version 1 is not used: its hierarchies cannot be handed over to users safely.
"""

from __future__ import annotations

import errno
import os
import stat
import time

from rootless.errors import KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

LEAF = "rootless-others"  # where processes go that were in a group whose controllers are enabled for those below it
_USUAL = "/sys/fs/cgroup"
_UNITS = (".service", ".scope")
_PAUSE = 0.002  # seconds
_NOT_YET = (errno.EBUSY, errno.ENOTEMPTY)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def mounted() -> tuple[str, str] | None:
    """Where the hierarchy is mounted, and which part of it that mount shows ("/": all); None where it is not."""
    if os.access(f"{_USUAL}/cgroup.controllers", os.F_OK):
        return _USUAL, "/"
    return find_mount()


def find_mount() -> tuple[str, str] | None:
    """As `mounted`, by the list of all mounts: it may be anywhere, and show a part of the hierarchy only."""
    try:
        with open("/proc/self/mountinfo", "rb", buffering=0) as file:
            lines = file.readall().splitlines()
    except OSError:
        return None
    found = None
    for line in lines:
        before, _, after = line.partition(b" - ")
        if after.startswith(b"cgroup2 "):
            fields = before.split()
            found = _unescape(fields[4]), _unescape(fields[3])
            if found[1] == "/":
                return found
    return found


def _unescape(field: bytes) -> str:
    """A path of mountinfo, where blanks and backslashes stand as three octal digits."""
    if b"\\" not in field:
        return os.fsdecode(field)
    parts = field.split(b"\\")
    return os.fsdecode(parts[0] + b"".join(bytes((int(part[:3], 8),)) + part[3:] for part in parts[1:]))


def path_of(pid: int | str = "self") -> str:
    """The group of a process as the kernel names it, seen from our cgroup namespace; "" where there is none."""
    try:
        with open(f"/proc/{pid}/cgroup", "rb", buffering=0) as file:
            lines = file.readall().splitlines()
    except OSError:
        return ""
    return next((os.fsdecode(line[3:]) for line in lines if line.startswith(b"0::")), "")


def directory_of(pid: int | str = "self") -> str:
    """The directory of the group that a process is in; "" where it cannot be seen."""
    path = path_of(pid)
    if not path or path.endswith(" (deleted)") or path.startswith("/.."):
        return ""
    for look in (mounted, find_mount):
        place = look()
        if place is None:
            return ""
        top, root = place
        root = root.rstrip("/")
        if path == root or path.startswith(root + "/"):
            directory = (top + path[len(root) :]).rstrip("/") or "/"
            if os.access(f"{directory}/cgroup.procs", os.F_OK):
                return directory
    return ""


def delegated(directory: str) -> str:
    """The group below which we may make others, for processes that are in `directory`; "" where there is none.

    Where systemd made the unit that it belongs to, that must be delegated (Delegate=): else systemd may do with it what
    it likes. Elsewhere it is enough that the directory is ours to write.
    """
    if directory.endswith("/" + LEAF):
        directory = directory.rpartition("/")[0]
    if not directory or not _may_write(directory):
        return ""
    unit = directory
    while unit:
        if unit.endswith(_UNITS):
            return directory if _is_marked(unit) else ""
        unit = unit.rpartition("/")[0]
    return directory


def _may_write(directory: str) -> bool:
    names = ("", "/cgroup.procs", "/cgroup.subtree_control")
    return all(os.access(directory + name, os.W_OK) for name in names)


def _is_marked(unit: str) -> bool:
    try:
        return os.getxattr(unit, "user.delegate") == b"1"
    except OSError:
        return False


def make(directory: str) -> None:
    """Make a group; one that is there already will do. Raises KernelError."""
    try:
        os.mkdir(directory, 0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise KernelError(f"making the control group {directory}: {error.strerror}") from None


def write(directory: str, name: str, value: str) -> None:
    """Write a file of a group. Raises OSError."""
    fd = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def read(directory: str, name: str) -> str:
    """A file of a group; "" where it cannot be read: it is gone, or lacks the controller."""
    try:
        with open(f"{directory}/{name}", "rb", buffering=0) as file:
            return file.readall().decode()
    except OSError:
        return ""


def numbers(directory: str, name: str) -> dict[str, int]:
    """A file of lines `KEY NUMBER`."""
    words = [line.split() for line in read(directory, name).splitlines()]
    return {line[0]: int(line[1]) for line in words if len(line) == 2 and line[1].isdigit()}


def join(directory: str, pid: int = 0) -> None:
    """Move a process (0: this one) into a group. Raises OSError, EACCES where what holds both groups is not ours."""
    write(directory, "cgroup.procs", str(pid))


def can_join(directory: str) -> bool:
    """Whether we may move processes that are in our group into that one: into it, and within what holds both."""
    ours = directory_of()
    if not ours:
        return False
    common = os.path.commonpath((ours, directory))
    return os.access(f"{directory}/cgroup.procs", os.W_OK) and os.access(f"{common}/cgroup.procs", os.W_OK)


def members(directory: str) -> set[int]:
    """The processes in a group and those below it, without those that our pid namespace has no numbers for."""
    found = set(read(directory, "cgroup.procs").split())
    for above, name in _below(directory):
        try:
            fd = os.open(f"{name}/cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=above)
            with open(fd, "rb", buffering=0) as file:
                found.update(file.readall().decode().split())
        except OSError:  # it has gone, or has threads only
            pass
    return {int(word) for word in found if word != "0"}


def freeze(directory: str, frozen: bool, patience: float = 10.0) -> bool:
    """Have all processes of a group stand still, or go on; False where that has not come about after `patience`
    seconds (a process that waits in the kernel for something), or the group has gone."""
    wanted = int(frozen)
    try:
        write(directory, "cgroup.freeze", str(wanted))
    except OSError:
        return False
    deadline = time.monotonic() + patience
    while numbers(directory, "cgroup.events").get("frozen", wanted) != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def kill(directory: str, patience: float = 5.0) -> None:
    """Kill all processes in a group and those below it, whoever they are by now, and wait until they have ended."""
    deadline = time.monotonic() + patience
    while numbers(directory, "cgroup.events").get("populated") and time.monotonic() < deadline:
        try:
            write(directory, "cgroup.kill", "1")
        except OSError:  # a kernel before 5.14
            _kill_each(directory)
        time.sleep(_PAUSE)


def _kill_each(directory: str) -> None:
    for pid in members(directory):
        try:
            os.kill(pid, 9)
        except OSError:
            pass


def remove(directory: str, patience: float = 1.0) -> bool:
    """Remove a group, and those that were made in it; whether it is gone. Its processes have ended."""
    deadline = time.monotonic() + patience
    while True:
        try:
            os.rmdir(directory)
        except OSError as error:
            if error.errno not in _NOT_YET:
                return error.errno == errno.ENOENT
        else:
            return True
        for above, name in _below(directory):
            try:
                os.rmdir(name, dir_fd=above)
            except OSError as error:
                if error.errno not in (*_NOT_YET, errno.ENOENT):
                    return False
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)


def _below(directory: str) -> Iterator[tuple[int, str]]:
    """All groups below a group, the innermost first, each as a descriptor of the one that it is in and its name: what a
    container makes may be deeper than a path is long."""
    try:
        here = os.open(directory, _DIRECTORY)
    except OSError:
        return
    waiting = [_groups_in(here)]
    inside: list[str] = []
    try:
        while waiting[-1] or inside:
            if waiting[-1]:
                name = waiting[-1].pop()
                try:
                    below = os.open(name, _DIRECTORY, dir_fd=here)
                except OSError:  # it has gone
                    continue
                inside.append(name)
                waiting.append(_groups_in(below))
            else:
                waiting.pop()
                try:
                    below = os.open("..", _DIRECTORY, dir_fd=here)
                except OSError:  # all of it has gone
                    return
            os.close(here)
            here = below
            if len(waiting) == len(inside):
                yield here, inside.pop()
    finally:
        os.close(here)


def _groups_in(fd: int) -> list[str]:
    """The names of the groups in a group."""
    try:
        # Directories have links for those in them: most groups have none.
        names = os.listdir(fd) if os.fstat(fd).st_nlink != 2 else []
    except OSError:
        return []
    return [name for name in names if "." not in name or _is_directory(name, fd)]


def _is_directory(name: str, fd: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except OSError:
        return False
