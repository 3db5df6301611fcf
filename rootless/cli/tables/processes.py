"""Options of the verbs that show what runs in containers."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, STR, UINT, Argument, Command, Option

_LATEST = Option("--latest -l", BOOL, "The container that was made last")

TABLE = {
    "stats": Command(
        "stats",
        "Show what running containers use of processors, memory, network and disks, again and again.",
        (
            Option("--all -a", BOOL, "Stopped ones too"),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--interval -i", UINT, "Seconds between two looks", 5, "SECONDS"),
            _LATEST,
            Option("--no-reset", BOOL, "Print one table below the other"),
            Option("--no-stream", BOOL, "Look once"),
            Option("--no-trunc", BOOL, "Print ids in full"),
        ),
        (Argument("containers", ANY, "CONTAINER...", "running"),),
    ),
    "top": Command(
        "top",
        "Show the processes of a container.",
        (_LATEST,),
        (Argument("words", ANY, "CONTAINER [COLUMN...]", "running"),),
        stops=True,
        examples=("rootless top web pid user args", "rootless top web -eo pid,comm"),
    ),
}
