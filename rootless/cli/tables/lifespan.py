"""Options of `run` and `create` that say when a container begins and ends."""

from __future__ import annotations

from rootless.cli.options import BOOL, CSV, STR, UINT, Option

SHARED = (
    Option("--attach -a", CSV, "Attach to this stream alone: stdin, stdout or stderr", metavar="STREAM"),
    Option("--conmon-pidfile", STR, "Write the process id of the container's monitor to this file", metavar="FILE"),
    Option("--pidfile", STR, "Write the process id of the container's first process to this file", metavar="FILE"),
    Option("--replace", BOOL, "Remove the container that has this name first"),
    Option(
        "--requires", CSV, "Start this container first; it cannot be removed as long as it is needed", metavar="NAME"
    ),
    Option(
        "--restart",
        STR,
        "Start it again when it ends: no, on-failure[:RETRIES], always or unless-stopped",
        metavar="POLICY",
    ),
    Option("--stop-signal", STR, "Signal that `stop` sends first", metavar="SIGNAL"),
    Option("--stop-timeout", UINT, "Seconds that `stop` waits before it kills", metavar="SECONDS"),
    Option("--timeout", UINT, "Kill it when it has run for so many seconds", metavar="SECONDS"),
)
RUN_ONLY = (Option("--rmi", BOOL, "With --rm: remove the image too, unless another container has it"),)
