"""The command: reads the line, hands over to the verb, and tells every failure in one way.

Hot: a line that is right costs the small parser and the verb's module. Help, completion and wrong lines go to typer.
"""

from __future__ import annotations

import gc
import os
import sys

# Collecting while modules are imported is a twentieth of a `run` and finds nothing; long commands still collect.
gc.set_threshold(50_000)

from rootless.cli.parser import parse  # noqa: E402
from rootless.cli.settings import Settings  # noqa: E402
from rootless.cli.tables import GLOBAL, find  # noqa: E402
from rootless.cli.verbs import VERSION_LINE, execute  # noqa: E402

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from rootless.cli.options import Command, Opts

INTERRUPTED = 130
BROKEN_PIPE = 141


def entry(argv: list[str]) -> NoReturn:
    """`main`, and the end of the process without taking the interpreter apart, which would be a fifth of a `ps`."""
    code = main(argv)
    for stream in (sys.stdout, sys.stderr):  # ours is written directly; this is for what libraries have printed
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = code or BROKEN_PIPE
    os._exit(code)


def main(argv: list[str]) -> int:
    """Do what `argv` (the program's name first) says. Returns the exit code; prints every error, raises none."""
    _ensure_standard_streams()
    settings = Settings()
    try:
        return _dispatch(argv[1:], settings)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        from rootless.cli.failures import tell

        return tell(error, settings.log_level)


def _dispatch(words: list[str], settings: Settings) -> int:
    if "_ROOTLESS_COMPLETE" not in os.environ:
        chosen = _read(words, settings)
        if chosen is not None:
            return execute(chosen[0], settings, chosen[1])
    from rootless.cli.typerapp import run

    return run(words, settings)


def _read(words: list[str], settings: Settings) -> tuple[Command, Opts] | None:
    """The command and its values, with `settings` filled; None where the small parser does not understand."""
    before = None
    if words and words[0][:1] == "-":
        before = parse(GLOBAL, words)
        if before is None:
            return None
        if before.version:
            words = ["version", "--format", VERSION_LINE]
        else:
            words = before.words
    found = find(words)
    if found is None:
        return None
    opts = parse(*found)
    if opts is None:
        return None
    if before is not None:
        settings.apply(before)
    return found[0], opts


def _ensure_standard_streams() -> None:
    """Where a caller has closed descriptor 0, 1 or 2, put one there that fails as a closed one does.

    Otherwise the next file that is opened, a database perhaps, would become somebody's standard output.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open("/dev/null", os.O_WRONLY if number == 0 else os.O_RDONLY)


if __name__ == "__main__":
    entry(sys.argv)
