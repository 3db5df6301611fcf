"""A user namespace of ours, and work done inside it by forked children.

Files of subordinate ids belong to nobody we are on the host; a child inside the mapped namespace is root over them.
"""

from __future__ import annotations

import errno
import marshal
import os

from rootless.errors import KernelError, RootlessError
from rootless.kernel.files import write_all
from rootless.kernel.idmaps import start_mapping
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import MS_PRIVATE, MS_REC, mount
from rootless.kernel.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    TOO_MANY_PROCESSES,
    open_namespace,
    remedy,
    setns,
    unshare,
)
from rootless.kernel.process import close_range, set_dumpable, set_parent_death_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from rootless.kernel.idmaps import UserMap

    T = TypeVar("T")

_SIGKILL = 9


class UserNamespace:
    """A user namespace by its descriptor, which keeps it alive; closed when this object goes, or by `close`."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls, user_map: UserMap) -> UserNamespace:
        """A new namespace with these ids. Raises KernelError where namespaces are forbidden or the ids are refused."""
        return cls(_create(user_map))

    @classmethod
    def from_fd(cls, fd: int) -> UserNamespace:
        """The namespace that `fd` is; the descriptor is ours from now on."""
        return cls(fd)

    def run(
        self,
        func: Callable[..., T],
        *args: Any,
        mount_ns: bool = False,
        chroot: str | None = None,
        keep_fds: Iterable[int] = (),
    ) -> T:
        """`func(*args)` in a child that is root inside; its result (plain values, as marshal knows) or its exception.

        `mount_ns` gives the child a private mount namespace, `chroot` a root directory. Descriptors other than 0 to 2
        and `keep_fds` are closed. An exception of ours and an OSError come back as what they were, others as
        RootlessError. The child dies with the calling thread.
        """
        return self.spawn(func, *args, mount_ns=mount_ns, chroot=chroot, keep_fds=keep_fds).result()  # type: ignore[no-any-return]

    def spawn(
        self,
        func: Callable[..., Any],
        *args: Any,
        mount_ns: bool = False,
        chroot: str | None = None,
        keep_fds: Iterable[int] = (),
    ) -> Child:
        """Start what `run` does and go on; `Child.result` collects it."""
        kept = list(keep_fds)
        reader, writer = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        pid = _fork(reader, writer)
        if pid == 0:
            _child(self.fd, parent, writer, kept, mount_ns, chroot, func, args)
        os.close(writer)
        return Child(pid, reader)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        try:
            self.close()
        except (OSError, AttributeError):
            pass


class Child:
    """A child that works inside a user namespace."""

    __slots__ = ("_pipe", "pid")

    def __init__(self, pid: int, pipe: int) -> None:
        self.pid = pid
        self._pipe = pipe

    def fileno(self) -> int:
        """The descriptor that becomes readable when there is a result, for poll(2)."""
        return self._pipe

    def result(self) -> Any:
        """Wait for the end and return what the function returned, or raise what it raised. Once only."""
        try:
            with open(self._pipe, "rb", buffering=0) as pipe:
                answer = pipe.read() or b""
        except BaseException:  # Ctrl-C: nobody will ask for the result any more
            os.kill(self.pid, _SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0
            raise
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        if code or not answer:
            end = f"signal {-code}" if code < 0 else f"status {code}"
            raise RootlessError(f"working inside the user namespace: the child process ended with {end}")
        succeeded, value = marshal.loads(answer)
        if succeeded:
            return value
        raise _revive(*value)

    def kill(self) -> None:
        """End the child at once and forget its result; harmless when it has ended."""
        if self.pid:
            os.kill(self.pid, _SIGKILL)
            os.close(self._pipe)
            os.waitpid(self.pid, 0)
            self.pid = 0


def _create(user_map: UserMap) -> int:
    """The descriptor of a new, mapped user namespace; the child that made it has ended."""
    ready_reader, ready_writer = os.pipe2(os.O_CLOEXEC)
    hold_reader, hold_writer = os.pipe2(os.O_CLOEXEC)
    pid = _fork(ready_reader, ready_writer, hold_reader, hold_writer)
    if pid == 0:
        try:
            os.close(hold_writer)
            try:
                unshare(CLONE_NEWUSER)
                os.write(ready_writer, b"0")
            except SyscallError as error:
                os.write(ready_writer, b"%d" % (error.errno or errno.EPERM))
            os.read(hold_reader, 1)
        finally:
            os._exit(0)
    try:
        os.close(ready_writer)
        os.close(hold_reader)
        number = int(os.read(ready_reader, 16) or errno.ECHILD)
        if number:
            raise SyscallError(number, "unshare(user)", hint=remedy(number))
        start_mapping(pid, user_map).finish()
        return open_namespace(pid, "user")
    finally:
        os.close(ready_reader)
        os.close(hold_writer)
        os.waitpid(pid, 0)


def _fork(*pipes: int) -> int:
    """os.fork; where it fails, `pipes` are closed and SyscallError says what limit was met."""
    try:
        return os.fork()
    except OSError as error:
        for fd in pipes:
            os.close(fd)
        raise SyscallError(error.errno or errno.EAGAIN, "fork", hint=remedy(error.errno or 0)) from None


def _child(
    userns: int,
    parent: int,
    writer: int,
    kept: list[int],
    mount_ns: bool,
    chroot: str | None,
    func: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    """The life of a forked child; never returns."""
    code = 1
    try:
        try:
            try:
                _enter(userns, parent, mount_ns, chroot)
            except SyscallError as error:
                if error.errno in (errno.EPERM, errno.EACCES, errno.ENOSPC):
                    error.hint = error.hint or remedy(error.errno)
                raise
            _close_all_but([0, 1, 2, writer, *kept])
            answer = marshal.dumps((True, func(*args)))
        except Exception as error:
            answer = marshal.dumps((False, _describe(error)))
        write_all(writer, answer)
        code = 0
    finally:
        os._exit(code)


def _enter(userns: int, parent: int, mount_ns: bool, chroot: str | None) -> None:
    """Become root in the namespace."""
    setns(userns, CLONE_NEWUSER)
    try:
        os.setgroups([])
    except PermissionError:  # a namespace with one id has setgroups(2) denied
        pass
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A change of credentials hands /proc/self to the host's root, and forgets the death signal.
    set_dumpable(True)
    set_parent_death_signal(_SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    if mount_ns:
        unshare(CLONE_NEWNS)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    if chroot is not None:
        os.chroot(chroot)
        os.chdir("/")


def _close_all_but(kept: list[int]) -> None:
    first = 0
    for fd in sorted(set(kept)):
        close_range(first, fd - 1)
        first = fd + 1
    close_range(first)


def _describe(error: Exception) -> tuple[Any, ...]:
    """An exception as plain values: class names from the nearest to the furthest, text, hint, exit code, and what the
    operating system said."""
    names = [cls.__name__ for cls in type(error).__mro__]
    message = str(error) or names[0]
    if isinstance(error, SyscallError):
        return (["SyscallError"], message, error.hint, error.exit_code, error.errno, error.filename, error.call)
    if isinstance(error, RootlessError):
        return (names, error.message, error.hint, error.exit_code, None, None, None)
    if isinstance(error, OSError):
        return (["OSError"], message, None, 0, error.errno, error.filename, error.strerror)
    if isinstance(error, RuntimeError) and "new thread" in message:
        return (["KernelError"], f"starting a thread: {message}", TOO_MANY_PROCESSES, 125, None, None, None)
    try:
        import traceback

        story = "".join(traceback.format_exception(error))
    except ImportError:  # nothing can be imported in another root directory
        story = None
    return (names, message, story, 0, None, None, None)


def _revive(
    names: list[str],
    message: str,
    hint: str | None,
    exit_code: int,
    number: int | None,
    path: str | bytes | None,
    said: str | None,
) -> Exception:
    if names[0] == "SyscallError":
        error = SyscallError(number or 0, said or "", path, hint)
        error.message = message
        return error
    if names[0] == "OSError":
        return OSError(number, said, path) if number is not None else OSError(message)
    import rootless.errors

    for name in names:
        cls = getattr(rootless.errors, name, None)
        if cls is not None:
            return cls(message, hint, exit_code)  # type: ignore[no-any-return]
    unexpected = KernelError(f"working inside the user namespace: {names[0]}: {message}")
    if hint:
        unexpected.add_note(hint)
    return unexpected
