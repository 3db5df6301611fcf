"""From arguments to a running program: working directory, search path, exec, the right exit code for each failure."""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import CannotInvokeError, CommandNotFoundError, RootlessError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from rootless.runtime.users import User

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Program:
    """What to execute: `path`, `arguments`, `environment`."""

    __slots__ = ("arguments", "environment", "path")

    def __init__(self, path: str, arguments: list[str], environment: dict[str, str]) -> None:
        self.path = path
        self.arguments = arguments
        self.environment = environment


def program_of(process: dict[str, Any], user: User, init: str | None = None) -> Program:
    """Enter the working directory and find the program of the OCI process object, as the container's user. `init` is
    the path of an init that shall start it.

    Raises CommandNotFoundError, CannotInvokeError, UsageError.
    """
    arguments: list[str] = list(process.get("args") or [])
    if not arguments or not arguments[0]:
        raise UsageError("no command was given, and the image has none")
    environment = environment_of(process.get("env") or [])
    environment.setdefault("HOME", user.home or "/")
    enter_directory(process.get("cwd") or "/")
    path = find_program(arguments[0], environment.get("PATH", _DEFAULT_PATH))
    if init:
        return Program(init, [init, "--", path, *arguments[1:]], environment)
    return Program(path, arguments, environment)


def environment_of(entries: list[str]) -> dict[str, str]:
    """KEY=value entries as a mapping; the last of several counts. Raises UsageError for an entry without "="."""
    environment = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or not key:
            raise UsageError(f"environment entry {entry!r}: it is not of the form KEY=value")
        environment[key] = value
    return environment


def enter_directory(path: str) -> None:
    """Make `path`, inside the container's root, the working directory.

    Raises RootlessError where it leads out of the root, as /proc/self/fd/N would (CVE-2024-21626).
    """
    if not path.startswith("/"):
        raise UsageError(f"working directory {path}: it is not an absolute path")
    try:
        os.chdir(path)
    except OSError as error:
        raise RootlessError(f"entering the working directory {path}: {error.strerror}") from None
    try:
        os.stat("..")
        inside = os.getcwd().startswith("/")
    except OSError:
        inside = False
    if not inside:
        raise RootlessError(f"entering the working directory {path}: it lies outside the container")


def find_program(name: str, search: str) -> str:
    """The file that `name` stands for: itself if it has a slash, else the first executable of that name in `search`.

    Raises CommandNotFoundError or CannotInvokeError.
    """
    if "/" in name:
        return name
    forbidden = None
    for directory in search.split(":"):
        if not directory.startswith("/"):
            continue  # what lies in the working directory is not to be run by accident
        path = f"{directory}/{name}"
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            if error.errno == errno.EACCES:
                forbidden = path
            continue
        if stat.S_ISREG(mode) and os.access(path, os.X_OK):
            return path
        forbidden = path
    if forbidden:
        raise CannotInvokeError(f"running {name}: {forbidden} is not executable")
    hint = "options come before the image or the container" if name.startswith("-") else None
    raise CommandNotFoundError(f"running {name}: it is not in the container's PATH ({search})", hint)


def execute(program: Program) -> NoReturn:
    """Become the program. Raises CommandNotFoundError, CannotInvokeError or UsageError where that fails."""
    try:
        os.execve(program.path, program.arguments, program.environment)
    except ValueError as error:
        raise UsageError(f"running {program.path}: {error} in an argument or in the environment") from None
    except OSError as error:
        raise _explain(program.path, error.errno or 0) from None


def _explain(path: str, number: int) -> RootlessError:
    what = os.strerror(number)
    if number in (errno.ENOENT, errno.ENOTDIR):
        if os.path.lexists(path):
            return CommandNotFoundError(f"running {path}: it is there, but not the interpreter or loader that it names")
        return CommandNotFoundError(f"running {path}: {what}")
    if number == errno.EACCES and os.path.isdir(path):
        what = "it is a directory"
    elif number == errno.ENOEXEC:
        what = "it is neither a program for this machine nor a script with a #! line"
    elif number == errno.E2BIG:
        what = "arguments and environment are too long"
    return CannotInvokeError(f"running {path}: {what}")
