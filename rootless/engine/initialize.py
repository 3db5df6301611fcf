"""`init`: a container is prepared to the point where only its program is missing, and waits for `start`.

A forked child stays behind as its monitor. Until `start` asks for it (`prepared`), nobody serves the attach socket:
whoever connects there has its turn when the program runs.
"""

from __future__ import annotations

import _socket
import marshal
import os
import select
import time

from rootless.engine import records
from rootless.engine.cleanup import run_directory
from rootless.engine.events import container_event
from rootless.engine.handover import leave_session, live, read_report
from rootless.engine.launchers import existing_container
from rootless.engine.monitor.attach_server import listen
from rootless.engine.prepared import SOCKET_NAME
from rootless.engine.recover import find, settled
from rootless.engine.run import start_what_it_needs
from rootless.errors import ConflictError, RootlessError
from rootless.faults import step
from rootless.runtime.channel import describe_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from rootless.engine.records import Container
    from rootless.engine.start import Starter, Tell
    from storage.store import Store


def initialize(store: Store, reference: str, tell: Tell) -> None:
    """Prepare a container that does not run. Raises NotFoundError, ConflictError where it is prepared or runs already,
    RootlessError."""
    container = settled(store, find(store, reference))
    if container.state not in (records.CREATED, records.EXITED):
        raise ConflictError(f"initializing {container.name}: it is {container.state} already")
    start_what_it_needs(store, container, tell)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        os.close(reader)
        _Holder(store, container, writer).live()
    os.close(writer)
    for warning in read_report(reader):
        tell(warning)
    container_event(store, container, "init")


class _Holder:
    """The child that holds a prepared container, and is its monitor afterwards. `report`: where `initialize` waits."""

    def __init__(self, store: Store, container: Container, report: int) -> None:
        self._store = store
        self._container = container
        self._report = report
        self._warnings: list[str] = []
        self._link: _socket.socket | None = None  # to whoever wants the program to run
        self._clients: list[int] = []

    def live(self) -> NoReturn:
        code = 1
        try:
            self._store.forget()
            try:
                launch = existing_container(self._store, self._container, self._warnings.append, wait=self._wait)
                starter, log, auto_remove = launch()
                state = starter.monitor_state(auto_remove, log, False, self._clients)
            except BaseException as error:
                self._answer((False, describe_error(error)))
                os._exit(code)
            self._answer((True, self._warnings))
            if self._link is not None:
                self._link.close()
            step("reported")
            code = live(state)
        finally:
            os._exit(code)

    def _answer(self, value: tuple[bool, Any]) -> None:
        answer = marshal.dumps(value)
        try:
            if self._report >= 0:
                os.write(self._report, answer)
            elif self._link is not None:
                self._link.send(answer, _socket.MSG_NOSIGNAL)
        except OSError:  # whoever asked has been killed; the container runs
            pass

    def _wait(self, starter: Starter) -> None:
        """Return when the program is to run. Raises RootlessError where the container was ended."""
        starter.prepare()
        server = listen(run_directory(self._store, self._container.id), SOCKET_NAME)
        records.update(self._store.db, self._container.id, started=0)
        step("waiting")
        leave_session()
        self._answer((True, self._warnings))
        os.close(self._report)
        self._report = -1
        self._warnings.clear()
        self._store.forget()
        self._link = self._asked(server, starter.pidfd)
        # From here on it is on its way, as any container that is started.
        records.update(self._store.db, self._container.id, started=time.time())
        os.unlink(f"{run_directory(self._store, self._container.id)}/{SOCKET_NAME}")
        server.close()
        self._clients = _accepted(starter.server)

    def _asked(self, server: _socket.socket, pidfd: int) -> _socket.socket:
        poll = select.poll()
        poll.register(server.fileno(), select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        links: dict[int, _socket.socket] = {}
        while True:
            for fd, _ in poll.poll():
                if fd == pidfd:
                    raise RootlessError(f"{self._container.name} was ended before its program ran", exit_code=0)
                if fd in links:
                    if _message(links[fd]) == b"G":
                        return links[fd]
                    poll.unregister(fd)
                    links.pop(fd).close()
                elif (accepted := _accept(server)) is not None:
                    links[accepted.fileno()] = accepted
                    poll.register(accepted.fileno(), select.POLLIN)


def _message(link: _socket.socket) -> bytes:
    try:
        return link.recv(16, _socket.MSG_DONTWAIT)
    except OSError:
        return b""


def _accept(server: _socket.socket) -> _socket.socket | None:
    try:
        fd, _ = server._accept()  # type: ignore[attr-defined]  # a descriptor, no object yet
    except OSError:
        return None
    return _socket.socket(fileno=fd)


def _accepted(server: int) -> list[int]:
    """Connections that wait at the attach socket: they are to see all that the program writes."""
    listening = _socket.socket(fileno=os.dup(server))
    found = []
    while (accepted := _accept(listening)) is not None:
        found.append(accepted.detach())
    listening.close()
    return found
