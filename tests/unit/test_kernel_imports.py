"""The kernel bindings are on the path of every container start: what they import is counted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KERNEL = Path(__file__).resolve().parents[2] / "rootless" / "kernel"

# What comes with a bare interpreter, C modules, and ourselves.
COLD = {"__init__", "libseccomp"}  # the latter compiles a filter once, and its result is kept
ALLOWED = {"__future__", "errno", "fcntl", "marshal", "os", "select", "stat", "struct", "sys", "termios"}


def test_nothing_is_imported_that_takes_time() -> None:
    names = sorted(path.stem for path in KERNEL.glob("*.py") if path.stem not in COLD)
    code = (
        f"import sys; sys.path.insert(0, {str(KERNEL.parents[1])!r}); before = set(sys.modules)\n"
        f"for name in {names}: __import__('rootless.kernel.' + name)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    output = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True).stdout
    imported = {
        name for name in output.split() if not name.startswith(("_", "rootless", "os.path", "posixpath", "genericpath"))
    }
    assert imported <= ALLOWED
