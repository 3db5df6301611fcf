"""Which signals a monitor passes on to its container, and by which of them a user ends it."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

PROXIED = tuple(
    getattr(_signal, name)
    for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGCONT", "SIGWINCH")
)
# By these, sent to its monitor, a user ends a container for good, whatever its restart policy.
ENDING = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM)
# By these a program ends that does not expect them.
DEADLY = tuple(number for number in PROXIED if number not in (_signal.SIGCONT, _signal.SIGWINCH))
