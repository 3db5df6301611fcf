"""How failures are told."""

from __future__ import annotations

import errno
import os

import pytest

from rootless.cli.failures import tell
from rootless.cli.main import main
from rootless.errors import CommandNotFoundError, NotFoundError, RootlessError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (RootlessError("doing x: y"), 125, "Error: doing x: y\n"),
        (RootlessError("doing x: y", "do z"), 125, "Error: doing x: y\nhint: do z\n"),
        (NotFoundError("gone", exit_code=1), 1, "Error: gone\n"),
        (CommandNotFoundError("no sh"), 127, "Error: no sh\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            125,
            "Error: /x/y: No space left on device\nhint: free some space there: `df` and `df -i` show what is left\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), 125, "Error: Permission denied\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", b"/\xff"), 125, "Error: /\\udcff: No such file\n"),
        (MemoryError(), 125, "Error: out of memory\n"),
        (RootlessError("a\x1b[2Jb"), 125, "Error: a\\x1b[2Jb\n"),
        (
            ModuleNotFoundError("No module named 'isal'", name="isal"),
            125,
            "Error: the Python package isal is not installed beside rootless\n"
            "hint: install rootless again, with what it needs: pip install rootless\n",
        ),
        (
            ZeroDivisionError("division by zero"),
            125,
            "Error: internal error: ZeroDivisionError: division by zero\n"
            "hint: this is a fault of rootless; please report it with what --log-level debug prints\n",
        ),
    ],
)
def test_a_failure_is_one_line_and_a_hint(
    capfd: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    assert tell(error) == code
    assert capfd.readouterr().err == text


def test_a_traceback_is_printed_only_for_debugging(capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise RootlessError("doing x: y")
    except RootlessError as error:
        tell(error, "debug")
    shown = capfd.readouterr().err
    assert shown.startswith("Traceback ")
    assert shown.endswith("\nError: doing x: y\n")


def test_the_command_returns_the_code_and_raises_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["rootless", "--no-such-flag"]) == 125
    assert main(["rootless", "version", "--no-such-flag"]) == 125
    assert main(["rootless", "--help"]) == 0
    captured = capfd.readouterr()
    assert captured.out.startswith("Usage: rootless")
    assert captured.err.count("Error: ") == 2


def test_standard_error_that_is_closed_is_no_failure_of_its_own() -> None:
    saved = os.dup(2)
    os.close(2)
    try:
        assert tell(RootlessError("x")) == 125
    finally:
        os.dup2(saved, 2)
        os.close(saved)
