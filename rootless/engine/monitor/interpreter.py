"""Going on as a lean interpreter: same pid, same children, and of the descriptors those that are needed."""

from __future__ import annotations

import marshal
import os
import sys

from rootless.kernel.process import close_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


def execute(state: dict[str, Any], kept: set[int]) -> NoReturn:
    """Execute `lean.py` with this state, of our descriptors with those in `kept` alone. Raises OSError."""
    engine = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = engine.rsplit("/", 2)[0]
    # storage and network lie beside rootless, or where an editable installation put them
    state["path"] = [root, *[entry for entry in sys.path if entry not in ("", root)]]
    memory = os.memfd_create("state", 0)
    os.write(memory, marshal.dumps(state))
    close_range(3, cloexec=True)  # what the caller happened to have open is not for us to keep
    for fd in (memory, *kept):
        if fd >= 0:
            os.set_inheritable(fd, True)
    # The interpreter itself, not the link to it in a virtual environment: nothing of that is needed.
    program = os.path.realpath(sys.executable)
    os.execv(program, [program, "-I", "-S", f"{engine}/lean.py", str(memory), state["root"], state["id"][:12]])
