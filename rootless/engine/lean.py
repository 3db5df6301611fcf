"""The monitor of a detached container after its start: `python -I -S lean.py DESCRIPTOR ROOT NAME`.

DESCRIPTOR is a memory file with the marshalled state (see `Starter.monitor_state`). Root and name are there
for people who look at `ps`. Nothing is imported here that watching a container does not need; the database comes when
the container has ended. Also the monitor of one that has ended, which waits to start it again (`engine.again`).
"""

from __future__ import annotations

import marshal
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _state(fd: int) -> dict[str, Any]:
    size = posix.fstat(fd).st_size
    state: dict[str, Any] = marshal.loads(posix.pread(fd, size, 0))
    posix.close(fd)
    return state


def _finish(state: dict[str, Any], code: int) -> None:
    if "session" in state:
        from rootless.engine.exec_sessions import ended

        ended(state, code)
        return
    from rootless.engine.monitor.finish import finish

    finish(state, code)


def _live(state: dict[str, Any]) -> dict[str, Any] | int:
    """Watch a container until it has ended, or wait and start it again; what follows, as `again.live_on`."""
    if "code" in state:
        from rootless.engine.again import wait_and_start

        return wait_and_start(state)
    from rootless.engine.monitor.loop import Monitor

    monitor = Monitor(state, end=_finish)
    monitor.proxy_signals()
    code = monitor.run()
    if state.get("pause") is None:
        return code
    from rootless.engine.again import live_on

    return live_on(state, code)


def _go_on(state: dict[str, Any]) -> int:
    """Be the monitor of a container that runs again."""
    if state["foreground"] is not None:
        from rootless.engine.run import watch

        return watch(state)
    from rootless.engine.handover import live

    return live(state)


if __name__ == "__main__":
    given = _state(int(sys.argv[1]))
    sys.path[:] = given["path"]
    if "check" in given:
        from rootless.engine.health_child import main

        main(given)
        posix._exit(0)
    code = given.get("code", 1)
    try:
        following = _live(given)
        code = following if isinstance(following, int) else _go_on(following)
    finally:
        posix._exit(code)
