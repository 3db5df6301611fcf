"""A health check as its monitor has it done: in a child, an interpreter of its own, which is gone when it is over.

Down the pipe `report` go the seconds until the next check (None: there is none) and the action that follows, in
marshal's form; then the child takes the action. It dies with its monitor.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import marshal
import os
import time

from rootless.engine import records
from rootless.engine.health.plan import SECOND, is_check
from rootless.jsontext import loads
from rootless.kernel.process import set_parent_death_signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_RESERVE = 60  # seconds beyond the time of a check, for all that is ours: a child that takes longer is stuck


def main(state: dict[str, Any]) -> None:
    """`state`: root, runroot, driver, id; report, a descriptor; monitor and pid, of the monitor and of pid 1;
    since, when that began to run (time.monotonic)."""
    from storage.store import Store

    set_parent_death_signal(int(_signal.SIGKILL))
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    if os.getppid() != state["monitor"]:
        return
    store = Store(state["root"], state["runroot"], state["driver"])
    container = records.get(store.db, state["id"])
    if container is None or container.pid != state["pid"]:
        return
    plan = loads(container.request).get("health")
    if plan is None or not is_check(plan):
        _report(state, None, "none")
        return
    later = (plan["Interval"] or SECOND) / SECOND
    if container.state != records.RUNNING:
        _report(state, later, "none")
        return
    longest = max(plan["Timeout"], plan.get("Startup", plan)["Timeout"]) // SECOND
    _signal.alarm(min(longest + _RESERVE, 1 << 30))
    from rootless.engine.health_check import act, check

    found = check(store, container, plan, time.monotonic() - state["since"])
    _signal.alarm(0)
    if found is None:
        _report(state, later, "none")
        return
    verdict = found[1]
    _report(state, verdict.delay, verdict.action)
    if verdict.action != "none":
        set_parent_death_signal(0)  # whoever ends the container is not to be ended by its end
        act(store, container, verdict.action)


def _report(state: dict[str, Any], delay: float | None, action: str) -> None:
    os.write(state["report"], marshal.dumps((delay, action)))
