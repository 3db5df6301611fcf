"""What is still pending when a container has ended: seldom anything, so this is loaded only then."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import select

from rootless.engine.monitor.streams import POLLOUT, Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.monitor.attach_server import Client

_LAST_FLUSH_MS = 10_000


def hand_over(takers: list[Output | Client], signals: tuple[int, ...]) -> None:
    """Give everybody the rest: our own output for as long as it takes, others for a while.

    `signals` end us while we wait for our own output; afterwards they are ignored, so that the exit code gets through.
    """
    for number in signals:
        _signal.signal(number, _signal.SIG_DFL)
    while True:
        takers = [taker for taker in takers if taker.pending]
        patient = any(isinstance(taker, Output) for taker in takers)
        poll = select.poll()
        for taker in takers:
            poll.register(taker.fd if isinstance(taker, Output) else taker.socket.fileno(), POLLOUT)
        if not takers or not poll.poll(None if patient else _LAST_FLUSH_MS):
            break
        for taker in takers:
            taker.flush()
    for number in signals:
        _signal.signal(number, _signal.SIG_IGN)
