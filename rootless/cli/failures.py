"""How failures look: one line on standard error, and a hint where there is something to do."""

from __future__ import annotations

import errno
import os

import rootless
from rootless.errors import RootlessError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts

INTERNAL = 125
_NO_ROOM = "failed to map segment"  # of a library, where memory is limited
_HINTS = {
    errno.ENOSPC: "free some space there: `df` and `df -i` show what is left",
    errno.EDQUOT: "your quota on that file system is used up: `quota -s`",
    errno.EROFS: "choose another place with --root and --runroot",
    errno.EMFILE: "raise the limit of open files: `ulimit -n`",
}


def tell(error: BaseException, log_level: str = "warn") -> int:
    """Print `error` and return the exit code that goes with it."""
    if isinstance(error, RootlessError):
        message, hint, code = error.message, error.hint, error.exit_code
    elif isinstance(error, OSError) and error.strerror:
        place = f"{_text(error.filename)}: " if error.filename is not None else ""
        message, hint, code = f"{place}{error.strerror}", _HINTS.get(error.errno or 0), INTERNAL
    elif isinstance(error, MemoryError) or (isinstance(error, ImportError) and _NO_ROOM in str(error)):
        message, hint, code = "out of memory", None, INTERNAL
    elif isinstance(error, ModuleNotFoundError) and not str(error.name).startswith(("rootless", "storage", "network")):
        message = f"the Python package {error.name} is not installed beside rootless"
        hint, code = "install rootless again, with what it needs: pip install rootless", INTERNAL
    elif isinstance(error, ImportError) and str(error.name).startswith(("rootless", "storage", "network")):
        message = f"the installation of rootless is damaged: {error}"
        hint = "another package may have files of its names: install it apart: pipx install rootless"
        code = INTERNAL
    else:
        message = f"internal error: {type(error).__name__}: {error}"
        hint, code = "this is a fault of rootless; please report it with what --log-level debug prints", INTERNAL
    if not message.isprintable():
        from rootless.cli.output import printable

        message = printable(message, "\n\t")  # names of files and images are in it
    lines = f"Error: {message}\n"
    if hint:
        lines += f"hint: {hint}\n"
    if log_level == "debug":
        import traceback

        lines = "".join(traceback.format_exception(error)) + lines
    complain(lines)
    return code


def complain(text: str) -> None:
    """Write to standard error; nobody is left to tell when that fails."""
    try:
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass


def explain(text: str) -> None:
    """One step of what is done, for --log-level debug."""
    import time

    if not text.isprintable():
        from rootless.cli.output import printable

        text = printable(text)
    now = time.time()
    complain(f"debug {time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1000):03d}: {text}\n")


def warn(message: str, hint: str | None = None) -> None:
    """Print a warning to standard error, as errors are printed, unless --log-level wants none."""
    if rootless.warns:
        complain(f"Warning: {message}\n" + (f"hint: {hint}\n" if hint else ""))


def warn_of_no_terminal(opts: Opts) -> None:
    """Where --interactive and --tty are given, and what is read is no terminal."""
    if opts.interactive and opts.tty and not os.isatty(0):
        warn("the input device is not a TTY: --tty and --interactive might not work properly")


def _text(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, bytes | str) else str(name)
