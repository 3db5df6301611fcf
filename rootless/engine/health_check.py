"""One health check: a command in the container, as `exec` runs it, for so long and with so much output."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import select
import time

from rootless.engine.exec_ import ExecRequest, Target
from rootless.engine.health import results
from rootless.engine.health.plan import SECOND
from rootless.engine.health.results import HEALTHY, STARTING, UNHEALTHY, Result, Verdict
from rootless.engine.monitor.reap import exit_code, stat_fields
from rootless.errors import ConflictError, NotFoundError, RootlessError
from rootless.kernel.pidfd import open_pidfd, send, wait_exit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.health.plan import Plan
    from rootless.engine.records import Container
    from rootless.runtime.enter import Entered
    from storage.store import Store

_GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_MOST_OUTPUT = 1 << 20  # bytes, for --health-max-log-size 0
_MOST_IN_EVENT = 8192
_CHUNK = 65536
_SESSION = 3  # its place among the fields of /proc/PID/stat that follow the name


def check(store: Store, container: Container, plan: Plan, age: float) -> tuple[Result, Verdict] | None:
    """Run the check that is due and record it; None where the container does not run any more (ended, paused).
    `age`: how many seconds it has run.

    Raises StorageError where nothing could be recorded.
    """
    startup = results.at_startup(store.db, container, plan)
    kind = plan["Startup"] if startup else plan
    limit = plan["MaxLogSize"] or _MOST_OUTPUT
    result = _run(store, container, _words(kind["Test"], plan["Shell"]), kind["Timeout"] / SECOND, limit)
    verdict = None if result is None else results.note(store, container, plan, result, startup, age)
    if result is None or verdict is None:
        return None
    from rootless.engine.events import container_event

    each = plan["LogDestination"] == "events_logger"
    if each or verdict.status != container.health:
        log = result.output[:_MOST_IN_EVENT] if each else ""
        container_event(
            store, container, "health_status", health=verdict.status, streak=verdict.streak or None, log=log
        )
    return result, verdict


def _words(test: list[str], shell: list[str]) -> list[str]:
    return test[1:] if test[0] == "CMD" else [*shell, " ".join(test[1:])]


def _run(store: Store, container: Container, command: list[str], timeout: float, limit: int) -> Result | None:
    """Run a command; its result, with at most `limit` bytes of output, or None where the container does not run."""
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    os.set_blocking(writer, True)
    start = time.time()
    try:
        entered = Target(store, container.id, ExecRequest(command)).enter([None, writer, writer], True)
    except (ConflictError, NotFoundError):
        os.close(reader)
        return None
    except RootlessError as error:
        os.close(reader)
        return Result(start, time.time(), error.exit_code, str(error)[:limit])
    finally:
        os.close(writer)
    output = _Output(reader, limit)
    in_time = output.follow(entered, time.monotonic() + timeout)
    if not in_time:
        _end(entered, output)
    code = exit_code(entered.pid)
    output.take()
    os.close(reader)
    os.waitpid(entered.pid, os.WNOHANG)
    os.close(entered.pidfd)
    end = time.time()
    if in_time and code is not None:
        return Result(start, end, code, output.text())
    return Result(start, end, -1, f"Health check exceeded timeout ({timeout:g}s): {output.text()}"[:limit])


class _Output:
    """What a check writes: the beginning is kept, the rest is read so that it does not wait for us."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._kept = bytearray()
        self._open = True

    def follow(self, entered: Entered, deadline: float) -> bool:
        """Read until the process ends; False where the time (time.monotonic) is over before. Others may hold the pipe
        for longer: what a check leaves behind."""
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                return wait_exit(entered.pidfd, 0)
            poll = select.poll()
            poll.register(entered.pidfd, select.POLLIN)
            if self._open:
                poll.register(self._fd, select.POLLIN)
            ready = dict(poll.poll(min(int(left * 1000) + 1, 1 << 30)))
            if entered.pidfd in ready:
                return True
            if self._fd in ready:
                self._read()

    def take(self) -> None:
        """Read what is in the pipe when the process has ended."""
        left = _MOST_OUTPUT
        while self._open and left > 0 and (count := self._read()):
            left -= count

    def _read(self) -> int:
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return 0
        self._open = bool(data)
        self._kept += data[: self._limit - len(self._kept)]
        return len(data)

    def text(self) -> str:
        return self._kept.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _end(entered: Entered, output: _Output) -> None:
    """End a check that takes too long, with all of its session. It is not waited for, so its number stays its own."""
    _signal_group(entered.pid, _signal.SIGTERM)
    output.follow(entered, time.monotonic() + _GRACE)
    _signal_group(entered.pid, _signal.SIGKILL)
    for name in os.listdir("/proc"):
        if name.isdigit() and _session(name) == entered.pid:
            _kill_member(int(name), entered.pid)
    wait_exit(entered.pidfd, int(_GRACE * 1000))


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # it has not come as far as having one, or nothing of it is left
        try:
            os.kill(group, number)
        except OSError:
            pass


def _session(pid: int | str) -> int:
    fields = stat_fields(pid)
    return int(fields[_SESSION]) if len(fields) > _SESSION else 0


def _kill_member(pid: int, session: int) -> None:
    try:
        pidfd = open_pidfd(pid)
    except OSError:
        return
    try:
        if _session(pid) == session:
            send(pidfd, _signal.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def act(store: Store, container: Container, action: str) -> None:
    """Do to an unhealthy container what --health-on-failure says, other than a restart by its monitor."""
    from rootless.engine.records import RUNNING, get
    from rootless.engine.stop import stop

    current = get(store.db, container.id)
    if current is None or current.state != RUNNING or current.pid_start != container.pid_start:
        return  # the user is at it
    if action == "kill":
        from rootless.kernel.pidfd import open_if_same

        pidfd = open_if_same(container.pid, container.pid_start, container.boot_id)
        if pidfd is not None:
            send(pidfd, _signal.SIGKILL)  # whatever restart policy there is goes on
    elif action in ("stop", "restart"):
        stop(store, container.id, again=action == "restart")


def run_now(store: Store, reference: str) -> str:
    """`healthcheck run`: what to call the outcome, "healthy", "unhealthy", or "starting" where a check at startup has
    failed. The action that follows is taken.

    Raises NotFoundError, ConflictError where the container has no check or does not run.
    """
    from rootless.engine.health.plan import is_check
    from rootless.engine.records import RUNNING
    from rootless.engine.recover import find, need_here
    from rootless.jsontext import loads

    container = find(store, reference)
    plan = loads(container.request).get("health")
    if plan is None or not is_check(plan):
        raise ConflictError(
            f"checking {container.name}: it has no health check", "make it with --health-cmd COMMAND to give it one"
        )
    if container.state != RUNNING:
        raise ConflictError(f"checking {container.name}: it is not running ({container.state})")
    need_here(container, "checking")
    startup = results.at_startup(store.db, container, plan)
    found = check(store, container, plan, time.time() - container.started)
    if found is None:
        raise ConflictError(f"checking {container.name}: it does not run any more")
    result, verdict = found
    if verdict.action == "restart":
        from rootless.engine.run import start_detached

        act(store, container, "stop")
        start_detached(store, container.id, lambda text: None)
    else:
        act(store, container, verdict.action)
    if result.code == 0:
        return HEALTHY
    return STARTING if startup else UNHEALTHY
