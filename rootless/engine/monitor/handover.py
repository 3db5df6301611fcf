"""From the process that started a detached container to the lean interpreter that watches it: same pid, same children,
same descriptors."""

from __future__ import annotations

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_DESCRIPTORS = ("pidfd", "userns_fd", "output", "error", "input", "log", "server")


def become_lean(state: dict[str, Any]) -> NoReturn:
    """Execute `lean.py` with this state (`Starter.monitor_state`)."""
    here = os.path.dirname(os.path.abspath(__file__))
    root = here.rsplit("/", 3)[0]
    # storage and network lie beside rootless, or where an editable installation put them
    state["path"] = [root, *[entry for entry in sys.path if entry not in ("", root)]]
    memory = os.memfd_create("state", 0)
    os.write(memory, marshal.dumps(state))
    kept = {memory, *[state[name] for name in _DESCRIPTORS], *state["clients"]}
    if state["helper"] is not None:
        kept |= {state["helper"]["pidfd"], state["helper"]["exit_fd"]}
    for fd in kept:
        if fd >= 0:
            os.set_inheritable(fd, True)
    # The interpreter itself, not the link to it in a virtual environment: nothing of that is needed.
    program = os.path.realpath(sys.executable)
    os.execv(program, [program, "-I", "-S", f"{here}/lean.py", str(memory), state["root"], state["id"][:12]])
