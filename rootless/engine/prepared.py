"""Having the program of a container run that `init` has prepared: through a socket of its own in the run directory
(SOCK_SEQPACKET), which whoever holds the container serves (`initialize`).

    to the holder      G let the program run
    from it            (True, warnings) or (False, error as `channel.describe_error` puts it), marshalled
"""

from __future__ import annotations

import _socket
import marshal
import os

from rootless.engine import records
from rootless.engine.cleanup import run_directory
from rootless.engine.recover import need_here
from rootless.errors import ConflictError, OvertakenError
from rootless.runtime.channel import restore_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container
    from storage.store import Store

SOCKET_NAME = "start.sock"
_ANSWER = 1 << 16


def let_run(store: Store, container: Container) -> list[str]:
    """Have the program of a container run that is prepared; what was done otherwise than asked.

    Raises OvertakenError where somebody else does that in this moment, or ends it; what `Starter.execute` raises.
    """
    need_here(container, "starting")
    link = _connect(store, container)
    try:
        link.send(b"G", _socket.MSG_NOSIGNAL)
        answer = link.recv(_ANSWER)
    except OSError:
        answer = b""
    finally:
        link.close()
    if not answer:
        raise OvertakenError(f"starting {container.name}: somebody else has just started or ended it")
    succeeded, value = marshal.loads(answer)
    if not succeeded:
        raise restore_error(value)
    warnings: list[str] = value
    return warnings


def _connect(store: Store, container: Container) -> _socket.socket:
    link = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    try:
        place = os.open(run_directory(store, container.id), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            link.connect(f"/proc/self/fd/{place}/{SOCKET_NAME}")
        finally:
            os.close(place)
    except OSError:
        link.close()
        current = records.get(store.db, container.id)
        if current is None or not current.waits or current.pid != container.pid:
            raise OvertakenError(f"starting {container.name}: somebody else was faster") from None
        raise ConflictError(
            f"starting {container.name}: the socket of the process that holds it is gone",
            f"rootless stop {container.name}, then start it",
        ) from None
    return link
