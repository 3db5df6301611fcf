"""Keeping a container's hands off the interpreter that starts it (CVE-2019-5736).

What executes `/proc/self/exe` inside, or a script that names it, reaches the file of the program that called exec: our
interpreter. A system's python3 belongs to real root, whom no container of ours has mapped, so nothing can happen to it.
One of the user's own (pyenv, conda, uv) could be overwritten by the container's root, who is that user on the host. In
that case the process that becomes the container first moves into a sealed copy of the interpreter in memory, which
costs one more start of Python and is paid only there.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import sys

from rootless.errors import KernelError
from rootless.runtime.channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

_EXECUTABLE = "/proc/self/exe"
_BOOT = "import sys; sys.path[:] = {path!r}; from rootless.runtime.reentry import resume; resume({state})"


def interpreter_is_exposed() -> bool:
    """Whether somebody in a user namespace of ours could write to the interpreter's file: it is ours, or its group's or
    everybody's to write."""
    found = os.stat(_EXECUTABLE)
    return found.st_uid == os.geteuid() or bool(found.st_mode & 0o022)


def move_into_copy(
    resumption: Callable[..., NoReturn], channel: Channel, keep_fds: Iterable[int], *arguments: Any
) -> NoReturn:
    """Execute a sealed copy of the interpreter and call `resumption(channel, *arguments)` in it.

    `resumption` is a module's function, `arguments` are plain values; descriptors of `keep_fds` stay open. The caller
    is root of its user namespace (exec would take the capabilities of anybody else). Raises KernelError.
    """
    try:
        copy = _sealed_copy()
        state = os.memfd_create("state", 0)
        number = channel.fileno()
        os.write(state, marshal.dumps((name_of(resumption), number, arguments)))
        os.lseek(state, 0, os.SEEK_SET)
        for fd in (number, *keep_fds):
            os.set_inheritable(fd, True)
        boot = _BOOT.format(path=sys.path, state=state)
        # No environment: the copy's memory may be read by whoever may trace processes in the container.
        os.execve(f"/proc/self/fd/{copy}", [sys.executable or "python3", "-I", "-S", "-c", boot], {})
    except OSError as error:
        raise KernelError(f"protecting the interpreter from the container: {error.strerror}") from None


def resume(state: int) -> None:
    """The first call in the copy."""
    with open(state, "rb") as file:
        name, number, arguments = marshal.load(file)
    import _socket

    channel = Channel(_socket.socket(fileno=number))
    os.set_inheritable(number, False)
    function_of(name)(channel, *arguments)


def name_of(function: Callable[..., object]) -> str:
    """A module's function as text, for `function_of`."""
    return f"{function.__module__}:{function.__qualname__}"


def function_of(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    __import__(module)
    found: Callable[..., Any] = getattr(sys.modules[module], attribute)
    return found


def _sealed_copy() -> int:
    copy = os.memfd_create("python", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    source = os.open(_EXECUTABLE, os.O_RDONLY | os.O_CLOEXEC)
    while os.sendfile(copy, source, None, 1 << 30):
        pass
    os.close(source)
    os.fchmod(copy, 0o555)
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, seals)
    return copy
