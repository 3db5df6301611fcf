"""Options of the verbs that take containers from one state to another, or change what they were made with."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, LIST, MAYBE, STR, Argument, Command, Option
from rootless.cli.tables.health import CHECKS
from rootless.cli.tables.limits import LIMITS

_CONTAINERS = (Argument("containers", ANY, "CONTAINER...", "container"),)
_LATEST = Option("--latest -l", BOOL, "The container that was made last")
_CIDFILE = Option("--cidfile", LIST, "Take the container's id from this file", metavar="FILE")
_FILTER = Option("--filter -f", LIST, "Only those that match (name=, id=, status=, label=, ...)", metavar="KEY=VALUE")

# Those of Podman's `container clone`.
_CLONED_LIMITS = tuple(row for row in LIMITS if row.dest != "pids_limit" and not row.dest.endswith("_iops"))

TABLE = {
    "init": Command(
        "init",
        "Prepare containers so far that only their programs are missing; `start` lets those run.",
        (Option("--all -a", BOOL, "All containers that do not run"), _LATEST),
        _CONTAINERS,
    ),
    "pause": Command(
        "pause",
        "Stop all processes of containers (SIGSTOP) until `unpause`.",
        (Option("--all -a", BOOL, "All containers that run"), _CIDFILE, _FILTER, _LATEST),
        (Argument("containers", ANY, "CONTAINER...", "running"),),
    ),
    "rename": Command(
        "rename",
        "Give a container another name.",
        (),
        (Argument("container", completes="container"), Argument("name")),
    ),
    "unpause": Command(
        "unpause",
        "Let paused containers go on.",
        (Option("--all -a", BOOL, "All containers that are paused"), _CIDFILE, _FILTER, _LATEST),
        _CONTAINERS,
    ),
    "update": Command(
        "update",
        "Change what a container does from now on.",
        (
            Option(
                "--restart",
                STR,
                "Start it again when it ends: no, on-failure[:RETRIES], always or unless-stopped",
                metavar="POLICY",
            ),
            *CHECKS,
            *LIMITS,
        ),
        (Argument("container", completes="container"),),
        examples=("rootless update --restart always web", "rootless update --memory 512m --cpus 1.5 web"),
    ),
    "container clone": Command(
        "container clone",
        "Make a container as another one was made, of the same image or another; its files are new.",
        (
            Option("--destroy", BOOL, "Remove the other one"),
            Option("--force -f", BOOL, "With --destroy: even if it runs"),
            Option("--name", STR, "Name of the new container (default: that of the other, and -clone)", metavar="NAME"),
            Option("--run", BOOL, "Start the new container"),
            *_CLONED_LIMITS,
        ),
        (Argument("container", completes="container"), Argument("new_name", MAYBE, "NAME"), Argument("image", MAYBE)),
        module="container_clone",
        examples=(
            "rootless container clone --destroy --run web web2 nginx:1.29",
            "rootless container clone --memory 1g web web-large",
        ),
    ),
}
