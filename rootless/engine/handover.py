"""Monitors that outlive the command which made them: a forked child starts the container, reports that it runs, and
becomes a lean interpreter: same pid, same children, same descriptors."""

from __future__ import annotations

import marshal
import os

from rootless.faults import step
from rootless.runtime.channel import describe_error, restore_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    State = dict[str, Any]

_DESCRIPTORS = ("pidfd", "userns_fd", "output", "error", "input", "log", "server", "held", "rootfs")
_INTERRUPTED = 130


def fork_monitor(launch: Callable[[], tuple[State, Any]], childs: list[int]) -> Any:
    """Call `launch` in a child, which returns the monitor's state (`Starter.monitor_state`) and a value; that value.

    The child goes on as the monitor, in a session of its own. `childs`: descriptors that are its alone. Raises what
    `launch` raised.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(reader)
        _live(launch, writer)
    for fd in (writer, *childs):
        os.close(fd)
    return read_report(reader)


def read_report(reader: int) -> Any:
    """What the child that starts a container says through a pipe (read to its end, and closed) once it runs.

    Raises what kept it from that.
    """
    with open(reader, "rb", buffering=0) as pipe:
        answer = pipe.readall()
    if not answer:
        from rootless.errors import RootlessError

        raise RootlessError("starting the container: its monitor was killed")
    succeeded, value = marshal.loads(answer)
    if not succeeded:
        raise restore_error(value)
    return value


def _live(launch: Callable[[], tuple[State, Any]], report: int) -> NoReturn:
    """The life of the child."""
    code = 1
    try:
        try:
            state, value = launch()
            answer = marshal.dumps((True, value))
            leave_session()
        except KeyboardInterrupt:
            os._exit(_INTERRUPTED)
        except BaseException as error:
            os.write(report, marshal.dumps((False, describe_error(error))))
            os._exit(code)
        try:
            os.write(report, answer)
        except OSError:  # the command has been killed; the container runs
            pass
        os.close(report)
        step("reported")
        code = live(state)
    finally:
        os._exit(code)


def leave_session() -> None:
    """Have nothing to do with the terminal and the streams of the command that has started us any more."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def live(state: State) -> int:
    """Be the monitor of a container that runs, as the lean interpreter if that can be; the exit code."""
    while True:
        try:
            become_lean(state)
        except OSError:  # no memory for it, or an interpreter that was replaced in this moment
            following = _stay(state)
        if isinstance(following, int):
            return following
        state = following


def _stay(state: State) -> State | int:
    """Be the monitor as the process that we are; as `again.live_on`."""
    if "session" in state:
        from rootless.engine.exec_sessions import ended as finish
    else:
        from rootless.engine.monitor.finish import finish
    from rootless.engine.monitor.loop import Monitor

    monitor = Monitor(state, end=finish)
    monitor.proxy_signals()
    code = monitor.run()
    if state.get("pause") is None:
        return code
    from rootless.engine.again import live_on

    return live_on(state, code)


def become_lean(state: State) -> NoReturn:
    """Execute `lean.py` as the monitor with this state. Raises OSError."""
    from rootless.engine.monitor.interpreter import execute

    kept = {*[state[name] for name in _DESCRIPTORS], *state["clients"]}
    if state["helper"] is not None:
        kept |= {*state["helper"]["pidfds"], state["helper"]["exit_fd"]}
    execute(state, kept)
