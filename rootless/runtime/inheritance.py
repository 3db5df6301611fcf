"""What a process of ours must not bring along into a container: signal handlers, descriptors, groups, imports."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import fcntl
import os
import select
import sys

from rootless.errors import RootlessError
from rootless.kernel.process import close_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from rootless.runtime.channel import Channel


def forget_signals() -> None:
    """Default dispositions and an empty mask: handlers are the monitor's, and ignored signals would outlast exec."""
    _signal.set_wakeup_fd(-1)
    for number in _signal.valid_signals():
        if _signal.getsignal(number) not in (_signal.SIG_DFL, None):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def arrange_descriptors(channel: Channel, stdio: list[int | None], preserve: Sequence[int]) -> None:
    """Put standard input, output and error in place; close all others but the numbers `preserve` and the channel."""
    lowest = max(preserve, default=2) + 1
    channel.move_above(lowest)
    if stdio != [0, 1, 2]:
        # First out of each other's way, then into place.
        copies = [_high_copy(fd, lowest) for fd in stdio]
        for number, copy in enumerate(copies):
            os.dup2(copy, number)
    last = -1
    for fd in sorted({0, 1, 2, *preserve}):
        close_range(last + 1, fd - 1)
        last = fd
        try:
            os.set_inheritable(fd, True)
        except OSError:
            raise RootlessError(f"passing descriptors on: descriptor {fd} is not open") from None
    close_range(lowest, channel.fileno() - 1)
    close_range(channel.fileno() + 1)


def _high_copy(fd: int | None, lowest: int) -> int:
    if fd is None:
        fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)


def use_own_null(stdio: list[int | None]) -> None:
    """Where /dev/null was asked for, take the container's, now that its root is ours: it has a name in there. What is
    no /dev/null in the container is not taken."""
    if None not in stdio:
        return
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    if os.fstat(null).st_rdev == os.makedev(1, 3):
        for number, wanted in enumerate(stdio):
            if wanted is None:
                os.dup2(null, number)
    os.close(null)


def become_root_inside(keep_groups: bool = False) -> bool:
    """Be uid 0 and gid 0 of the user namespace, without other groups unless we are to keep them. Whether groups are out
    of our hands, as they are where one id is mapped. A change of ids ends dumpability and the parent-death signal."""
    single = False
    try:
        if not keep_groups:
            os.setgroups([])
    except PermissionError:
        single = True
    if os.getgid() or os.getuid():
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    return single


def seal_imports() -> None:
    """Let no import find anything from here on: inside, our search path means files of the image."""
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path.clear()


def other_end_closed(channel: Channel) -> bool:
    """Whether whoever started us has ended."""
    poll = select.poll()
    poll.register(channel.fileno(), 0)
    return bool(poll.poll(0))
