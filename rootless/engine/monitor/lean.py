"""The monitor of a detached container after its start: `python -I -S lean.py DESCRIPTOR ROOT NAME`.

DESCRIPTOR is a memory file with the marshalled state (see `rootless.engine.monitor.handover`). Root and name are there
for people who look at `ps`. Nothing is imported here that watching a container does not need; the database comes when
the container has ended. Also the monitor of one that has ended, which waits to start it again (`monitor.again`).
"""

from __future__ import annotations

import marshal
import posix
import sys


def _state(fd: int) -> dict[str, object]:
    size = posix.fstat(fd).st_size
    state: dict[str, object] = marshal.loads(posix.pread(fd, size, 0))
    posix.close(fd)
    return state


def _finish(state: dict[str, object], code: int) -> None:
    if "session" in state:
        from rootless.engine.exec_sessions import ended

        ended(state, code)
        return
    from rootless.engine.monitor.finish import finish

    finish(state, code)


if __name__ == "__main__":
    given = _state(int(sys.argv[1]))
    sys.path[:] = given["path"]  # type: ignore[call-overload]
    if "check" in given:
        from rootless.engine.health.child import main

        main(given)
        posix._exit(0)
    if "code" in given:
        from rootless.engine.monitor.again import wait_and_start

        wait_and_start(given)
    from rootless.engine.monitor.loop import Monitor

    monitor = Monitor(given, end=_finish)
    monitor.proxy_signals()
    code = monitor.run()
    if given.get("pause") is not None:
        from rootless.engine.monitor.again import live_on

        live_on(given, code)
    posix._exit(code)
