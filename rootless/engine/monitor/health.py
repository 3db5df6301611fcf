"""When a monitor has its container checked. Loaded where there is a health check; a child does it, and nothing of it
stays."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import marshal
import posix as os

from rootless.engine.monitor.signals import ENDING
from rootless.engine.monitor.streams import POLLIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.monitor.poller import Poller

_ANEW = 30.0  # seconds until the next check after one that nobody could do
_A_MOMENT = 0.2  # seconds between two looks at what a killed check has left
_LONGEST_MESSAGE = 64


class Health:
    """The checks of one container. Sets state["renew"] when one of them is to have it started again."""

    __slots__ = ("_acts", "_child", "_children", "_delay", "_orphans", "_poller", "_reader", "_round", "_state")

    def __init__(self, state: dict[str, Any], poller: Poller) -> None:
        self._state = state
        self._poller = poller
        self._child = 0
        self._reader = -1
        self._delay: float | None = _ANEW
        self._acts = False
        self._round = 0  # which appointment counts
        self._children: set[str] = set()  # that we had before the check
        self._orphans: set[str] = set()

    def begin(self) -> None:
        """Check now, and from then on as the plan says."""
        self._plan(0.0)

    def _plan(self, delay: float) -> None:
        self._round += 1
        mine = self._round

        def due() -> None:
            if mine == self._round and not self._child:
                self._check()

        self._poller.after(delay, due)

    def _check(self) -> None:
        reader = writer = -1
        if self._state["rootfs"] >= 0:
            self._children = _children()
        # Else what is meant for the container could reach it twice, from us and from the child.
        before = _signal.pthread_sigmask(_signal.SIG_BLOCK, ENDING)
        try:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            monitor = os.getpid()
            child = os.fork()
        except OSError:  # no process, no descriptor, no memory for it now
            for fd in (reader, writer):
                if fd >= 0:
                    os.close(fd)
            self._plan(_ANEW)
            return
        else:
            if child == 0:
                _become_check(self._state, writer, monitor)
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, before)
        os.close(writer)
        self._child, self._reader, self._delay, self._acts = child, reader, _ANEW, False
        self._poller.watch(reader, POLLIN, self._told)

    def _told(self, events: int) -> None:
        data = os.read(self._reader, _LONGEST_MESSAGE)
        if data:
            self._delay, action = marshal.loads(data)
            self._acts = action != "none"
            self._state["renew"] = action == "restart"
            return
        self._forget_child()
        self._state["renew"] = False  # whoever has ended the container waits until we are done
        if self._delay is not None:
            self._plan(self._delay)

    def _forget_child(self) -> None:
        self._poller.forget(self._reader)
        os.close(self._reader)
        status = os.waitpid(self._child, 0)[1]
        self._child = 0
        if status and self._state["rootfs"] >= 0:
            self._orphans |= _children() - self._children
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        """A check that was killed leaves its command to us, where we are a subreaper (fuse-overlayfs): not reaped, it
        would keep the container from ending."""
        self._orphans = {orphan for orphan in self._orphans if _is_left(int(orphan))}
        if self._orphans:
            self._poller.after(_A_MOMENT, self._reap_orphans)

    def end(self) -> None:
        """The container has ended; so do its checks. One that has ended the container itself may have more to do."""
        if self._child and self._acts:
            self._state["acting"] = self._child
        elif self._child:
            os.kill(self._child, _signal.SIGKILL)
            self._forget_child()


def _is_left(child: int) -> bool:
    try:
        return os.waitpid(child, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def _children() -> set[str]:
    pid = os.getpid()
    try:
        file = os.open(f"/proc/{pid}/task/{pid}/children", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without it
        return set()
    text = os.read(file, 1 << 16).decode()
    os.close(file)
    return set(text.split())


def _become_check(state: dict[str, Any], report: int, monitor: int) -> None:
    """In the child, which takes no signals yet: never returns."""
    try:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        from rootless.engine.monitor.interpreter import execute

        kept = {name: state[name] for name in ("id", "root", "runroot", "driver", "pid", "since")}
        execute({**kept, "check": True, "report": report, "monitor": monitor}, {report})
    finally:
        os._exit(1)
