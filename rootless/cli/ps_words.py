"""What the columns of `ps` say."""

from __future__ import annotations

from rootless.cli.output import ago, human_duration, human_size
from rootless.jsontext import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.records import Container

_COMMAND_WIDTH = 17


def status(container: Container, now: float) -> str:
    """The state in words: "Up 2 minutes", "Up 2 minutes (healthy)", "Exited (0) 3 hours ago"."""
    state = container.state
    if state == "running":
        up = f"Up {human_duration(now - container.started)}"
        return f"{up} ({container.health})" if container.health else up
    if state == "restarting":
        return f"Restarting ({container.exit_code}) {ago(container.finished, now)}"
    if state == "exited":
        return f"Exited ({container.exit_code}) {ago(container.finished, now)}"
    return state.capitalize()


def ports(text: str) -> str:
    """Published ports (JSON of the column) as "0.0.0.0:8080->80/tcp, ..."."""
    if text == "[]":
        return ""
    return ", ".join(f"{_host(host)}:{port}->{inside}/{protocol}" for host, port, inside, protocol in loads(text))


def size_words(pair: tuple[int, int]) -> str:
    """What was written, and the whole root file system."""
    written, whole = (human_size(size).replace(" ", "") for size in pair)
    return f"{written} (virtual {whole})"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address or "0.0.0.0"


def cut(text: str) -> str:
    """A command as the table has room for it."""
    return text if len(text) <= _COMMAND_WIDTH + 3 else text[:_COMMAND_WIDTH] + "..."
