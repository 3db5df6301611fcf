"""Options of `run` and `create` about health checks, and `healthcheck run`."""

from __future__ import annotations

from rootless.cli.options import BOOL, CHOICE, STR, UINT, Argument, Command, Option

ACTIONS = ("none", "kill", "restart", "stop")
CHECKS = (
    Option(
        "--health-cmd", STR, "Check with this command: a line for the shell, a JSON list, or none", metavar="COMMAND"
    ),
    Option("--health-interval", STR, "Time between checks, or disable (default: 30s)", metavar="TIME"),
    Option(
        "--health-log-destination",
        STR,
        "Keep the log of checks here: local, events_logger (too), or a directory",
        metavar="PLACE",
    ),
    Option("--health-max-log-count", UINT, "Checks that the log keeps (default: 5; 0: 1000)", metavar="NUMBER"),
    Option(
        "--health-max-log-size",
        UINT,
        "Bytes of a check's output that the log keeps (default: 500; 0: 1 MiB)",
        metavar="BYTES",
    ),
    Option("--health-on-failure", CHOICE, "What to do when it is unhealthy (default: none)", None, "ACTION", ACTIONS),
    Option("--health-retries", UINT, "Failures in a row that make it unhealthy (default: 3)", metavar="NUMBER"),
    Option(
        "--health-start-interval",
        STR,
        "Time between checks in that period, while they fail (default: 5s)",
        metavar="TIME",
    ),
    Option("--health-start-period", STR, "Time from the start in which failures do not count", metavar="TIME"),
    Option("--health-startup-cmd", STR, "Check with this one first, until it succeeds", metavar="COMMAND"),
    Option("--health-startup-interval", STR, "Time between checks at startup (default: 30s)", metavar="TIME"),
    Option(
        "--health-startup-retries",
        UINT,
        "Failures at startup after which it is restarted (default: 0, never)",
        metavar="NUMBER",
    ),
    Option("--health-startup-success", UINT, "Successes that a check at startup needs", metavar="NUMBER"),
    Option("--health-startup-timeout", STR, "Time that a check at startup may take (default: 30s)", metavar="TIME"),
    Option("--health-timeout", STR, "Time that a check may take (default: 30s)", metavar="TIME"),
    Option("--no-healthcheck", BOOL, "Do not check, whatever the image says"),
)

TABLE = {
    "healthcheck run": Command(
        "healthcheck run",
        "Check a container now: ends with 0 if it is well, else with 1.",
        (),
        (Argument("container", completes="running"),),
        module="healthcheck_run",
    ),
}
