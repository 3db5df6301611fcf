"""Options of the verbs that work on volumes."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, INT, LIST, MAYBE, STR, Argument, Command, Option

DRIVERS = ("local",)

_VOLUMES = (Argument("volumes", ANY, "VOLUME...", "volume"),)
_FILTERS = "(name=, label=, dangling=, anonymous=, driver=, since=, until=)"

TABLE = {
    "volume create": Command(
        "volume create",
        "Make a volume, and print its name.",
        (
            Option("--driver -d", CHOICE, "Who keeps it: local", "local", "DRIVER", DRIVERS),
            Option("--ignore", BOOL, "Do not mind if there is one of this name"),
            Option("--label -l", LIST, "Note something on it", metavar="KEY[=VALUE]"),
        ),
        (Argument("name", MAYBE),),
        module="volume_create",
        examples=("rootless volume create --label app=web data",),
    ),
    "volume exists": Command(
        "volume exists",
        "End with 0 if there is such a volume, else with 1.",
        (),
        (Argument("volume", completes="volume"),),
        module="volume_exists",
    ),
    "volume inspect": Command(
        "volume inspect",
        "Show all that is known of volumes, as JSON.",
        (
            Option("--all -a", BOOL, "All volumes"),
            Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
        ),
        _VOLUMES,
        module="volume_inspect",
    ),
    "volume ls": Command(
        "volume ls",
        "List volumes.",
        (
            Option("--filter -f", LIST, f"Only those that match {_FILTERS}", metavar="KEY=VALUE"),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--noheading -n", BOOL, "Print no line of headings"),
            Option("--quiet -q", BOOL, "Print names only"),
        ),
        module="volume_ls",
    ),
    "volume prune": Command(
        "volume prune",
        "Remove volumes that no container has, with all that is in them.",
        (
            Option("--filter", LIST, f"Only those that match {_FILTERS}", metavar="KEY=VALUE"),
            Option("--force -f", BOOL, "Do not ask"),
        ),
        module="volume_prune",
    ),
    "volume rm": Command(
        "volume rm",
        "Remove volumes, with all that is in them.",
        (
            Option("--all -a", BOOL, "All volumes"),
            Option("--force -f", BOOL, "Also those that containers have (and these containers)"),
            Option("--time -t", INT, "Seconds that these containers get to end by themselves", metavar="SECONDS"),
        ),
        _VOLUMES,
        module="volume_rm",
    ),
}
