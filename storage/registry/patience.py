"""Trying again: how often, after which pauses, and when there is no hope."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from storage.registry.faults import Cancelled, PassingFault, UnreachableFault

_LONGEST_WAIT = 120.0  # a server that asks for more than this is reported, not waited for
_LONGEST_PAUSE = 30.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a passing fault is tried again, and the first pause in seconds (doubled each time).

    `asked`: the user has said so, and means a registry that cannot be reached at all, too.
    """

    retries: int = 3
    delay: float = 1.0
    asked: bool = False


class Pauses:
    """The pauses of one pull. `cancel` ends them all; `met` becomes true with the first answer of the registry."""

    def __init__(self, patience: Patience, cancel: threading.Event) -> None:
        self._patience = patience
        self._cancel = cancel
        self.met = False

    def after(self, fault: PassingFault, tried: int) -> None:
        """Wait before another try, `tried` of which were in vain; raises `fault` where there is none left."""
        hopeless = isinstance(fault, UnreachableFault) and not self.met and not self._patience.asked
        if hopeless or tried >= self._patience.retries or (fault.after or 0) > _LONGEST_WAIT:
            if tried:
                fault.message += f" (tried {tried + 1} times)"
            raise fault
        pause = min(self._patience.delay * 2**tried, _LONGEST_PAUSE) if fault.after is None else fault.after
        if self._cancel.wait(pause):
            raise Cancelled(fault.message)

    def patiently(self, action: Callable[[], T]) -> T:
        """The result of `action`, however often passing faults make it fail within the limits."""
        tried = 0
        while True:
            try:
                return action()
            except PassingFault as fault:
                self.after(fault, tried)
                tried += 1

    def check(self) -> None:
        """Raises Cancelled where all has been given up."""
        if self._cancel.is_set():
            raise Cancelled("given up")
