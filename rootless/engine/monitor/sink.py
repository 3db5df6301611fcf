"""Logs other than the ordinary one: which of them a monitor writes. Loaded where one was asked for."""

from __future__ import annotations

from rootless.engine.monitor.logfile import LogFile, encode_cri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from rootless.engine.monitor.logfile import Encode

    class Log(Protocol):
        """Where output goes. Bytes pass unchanged; what cannot be written is lost, and never holds up the container."""

        def write(self, stream: bytes, data: bytes) -> None:
            """Add output of `stream` (b"stdout", b"stderr"). One time stamp serves all the lines that came at once."""


def open_sink(state: dict[str, Any]) -> Log | None:
    """The log of a monitor's state: `log` is its descriptor or -1, `logging` what `log_options.plan` found."""
    plan = state["logging"]
    if plan["driver"] == "journald":
        from rootless.engine.monitor.journal import Journal

        return Journal(plan["fields"])
    if state["log"] < 0:
        return None
    encode: Encode = encode_cri
    if plan["driver"] == "json-file":
        from rootless.engine.monitor.json_log import encoder

        encode = encoder(plan["attributes"])
    if plan["size"]:
        from rootless.engine.monitor.rotation import RotatingLog

        return RotatingLog(state["log"], encode, plan["path"], plan["size"], plan["files"])
    return LogFile(state["log"], encode)
