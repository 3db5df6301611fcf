"""Restart policies: which there are, whether a container that has ended is started again and when, and how a user ends
that.

The row of a container that is about to be started again is in state restarting, and names the monitor that waits
(`engine.again`). Whoever changes that state decides: the monitor, by taking the row to start the container, or `stop`,
`kill`, `rm -f` and `start`, by taking it away.
"""

from __future__ import annotations

import os

from rootless.engine import records
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.records import Container
    from storage.store import Store

POLICIES = ("no", "on-failure", "always", "unless-stopped")
_FIRST_PAUSE = 0.1  # seconds
_LONGEST_PAUSE = 60.0
_GOOD_LIFE = 10.0  # seconds of running after which the pauses are short again
_SIGINT, _SIGQUIT, _SIGKILL, _SIGTERM = 2, 3, 9, 15
# Sent by a user, they end a container; not SIGHUP, which servers take for "read your configuration anew".
_ENDING = (_SIGINT, _SIGQUIT, _SIGKILL, _SIGTERM)


def parse_policy(text: str | None) -> str:
    """A policy as the database has it: "" for none, else always, unless-stopped, on-failure or on-failure:N.

    Raises UsageError.
    """
    name, colon, count = (text or "no").partition(":")
    if name not in POLICIES:
        raise UsageError(f"--restart {text}: not a restart policy", f"one of: {' '.join(POLICIES)}")
    if colon and name != "on-failure":
        raise UsageError(
            f"--restart {text}: only on-failure takes a number of retries", "write on-failure:3, or always"
        )
    if colon and not (count.isascii() and count.isdigit() and 0 < len(count) <= 9 and int(count) > 0):
        raise UsageError(f"--restart {text}: {count!r} is not a number of retries", "write it like on-failure:3")
    return "" if name == "no" else f"on-failure:{int(count)}" if colon else name


def shown_policy(policy: str) -> dict[str, Any]:
    """The object that `inspect` shows of a policy."""
    name, _, count = policy.partition(":")
    return {"Name": name or "no", "MaximumRetryCount": int(count or 0)}


def pause_before(container: Container, code: int, ran: float, last: float, renew: bool = False) -> float | None:
    """How many seconds to wait before a container that has ended with exit code `code` is started again; None where it
    is not. `ran`: seconds that it has run; `last`: the pause before this life of it, 0 where a user has begun it.
    `renew`: its health check has ended it, for that it be started again."""
    policy, _, most = container.restart.partition(":")
    if not (policy or renew) or container.stopped:
        return None
    if not renew and policy == "on-failure" and (code == 0 or (most and container.restarts >= int(most))):
        return None
    if not last or ran >= _GOOD_LIFE:
        return _FIRST_PAUSE
    return min(2 * last, _LONGEST_PAUSE)


def ends_policy(container: Container, number: int, stop_signal: int) -> bool:
    """Whether a user who sends this signal wants the container to end, and not to be started again."""
    return bool(container.restart) and (number in _ENDING or number == stop_signal)


def end(store: Store, container: Container) -> bool:
    """End a container that waits to be started again, and what waits for that; False where its row is not what it was,
    and nothing was done."""
    monitor = (container.monitor_pid, container.monitor_start, container.boot_id)
    ended = records.update_if(
        store.db, container, state=records.EXITED, stopped=1, pid=0, pid_start=0, monitor_pid=0, monitor_start=0
    )
    if not ended:
        return False
    from rootless.kernel.pidfd import open_if_same, send

    pidfd = open_if_same(*monitor)
    if pidfd is not None:
        send(pidfd, _SIGTERM)  # it would find out by itself, in a minute
        os.close(pidfd)
    if container.auto_remove:
        from rootless.engine.cleanup import take

        take(store, container, True)
    return True
