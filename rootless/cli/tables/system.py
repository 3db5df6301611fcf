"""Options of the verbs that are about this host, this program, and the store as a whole."""

from __future__ import annotations

from rootless.cli.options import BOOL, LIST, STR, Command, Option

_FORMAT = (Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),)
_FORCE = Option("--force -f", BOOL, "Do not ask")

TABLE = {
    "doctor": Command("doctor", "Check all that this host must provide, and say how to mend what is missing.", _FORMAT),
    "info": Command("info", "Describe this host and the store.", _FORMAT),
    "system check": Command(
        "system check",
        "Check that the store is what it should be: its database, layers, blobs, images, containers and volumes.",
        (
            Option("--force -f", BOOL, "With --repair: also remove damaged images and their containers"),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--max -m", STR, "How old leftovers may be before they are told of", "24h", "DURATION"),
            Option("--quick -q", BOOL, "Compare what files look like, and do not read what is in them"),
            Option("--repair -r", BOOL, "Mend what can be mended without losing anything"),
        ),
        module="system_check",
    ),
    "system df": Command(
        "system df",
        "Show what images, containers and volumes take on the disk.",
        (
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--verbose -v", BOOL, "Show each image, container and volume"),
        ),
        module="system_df",
    ),
    "system prune": Command(
        "system prune",
        "Remove what is not used: stopped containers, images without a name, interrupted downloads.",
        (
            Option("--all -a", BOOL, "All images that no container uses"),
            Option("--blobs", BOOL, "Also the compressed blobs of layers, which takes a push longer then"),
            Option("--filter", LIST, "Only those that match (label=, label!=, until=)", metavar="KEY=VALUE"),
            _FORCE,
            Option("--volumes", BOOL, "Also volumes that no container has, with all that is in them"),
        ),
        module="system_prune",
    ),
    "system reset": Command(
        "system reset",
        "Stop and remove all containers, and delete all images and volumes, and the store itself.",
        (_FORCE,),
        module="system_reset",
    ),
    "version": Command("version", "Print the version.", _FORMAT),
}
