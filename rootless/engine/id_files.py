"""Files that tell ids of a container: --pidfile, --conmon-pidfile, --cidfile. Loaded where one of them is used."""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.request import CreateRequest


def write_pid_files(request: CreateRequest, pid: int) -> None:
    """Tell `pid`, that of pid 1 of the container, and our own, its monitor's. Raises RootlessError."""
    for path, number in ((request.pidfile, pid), (request.conmon_pidfile, os.getpid())):
        if path:
            try:
                _write_number(path, number)
            except OSError as error:
                raise RootlessError(f"writing a process id to {path}: {error.strerror}") from None


def _write_number(path: str, number: int) -> None:
    """A file takes the place of what is at `path`, a link too, once it is whole; a fifo or device is written to."""
    try:
        special = not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        special = False
    draft = path if special else f"{path}.{os.urandom(4).hex()}.partial"
    flags = os.O_NONBLOCK | os.O_NOCTTY if special else os.O_CREAT | os.O_EXCL
    fd = os.open(draft, os.O_WRONLY | os.O_CLOEXEC | flags, 0o644)
    try:
        os.write(fd, str(number).encode())
        if not special:
            os.rename(draft, path)
    except BaseException:
        if not special:
            os.unlink(draft)
        raise
    finally:
        os.close(fd)


def remove_cidfile(path: str, container_id: str) -> None:
    """Take away a file that names a container which is gone."""
    try:
        # A fifo that has taken its place must not hold us up.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            ours = os.read(fd, len(container_id) + 2).strip() == container_id.encode()
        finally:
            os.close(fd)
        if ours:
            os.unlink(path)
    except OSError:  # it is no longer there, or no longer a file
        pass
