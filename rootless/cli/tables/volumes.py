"""Options of the verbs that work on volumes."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, INT, LIST, MAYBE, SOME, STR, Argument, Command, Option

DRIVERS = ("local", "image")

_VOLUME = Argument("volume", completes="volume")
_VOLUMES = (Argument("volumes", ANY, "VOLUME...", "volume"),)
_FILTERS = "(name=, label=, label!=, dangling=, anonymous=, driver=, opt=, scope=, since=, until=)"

TABLE = {
    "volume create": Command(
        "volume create",
        "Make a volume, and print its name.",
        (
            Option(
                "--driver -d",
                CHOICE,
                "How it begins: local (empty) or image (a copy of one)",
                "local",
                "DRIVER",
                DRIVERS,
            ),
            Option("--ignore", BOOL, "Do not mind if there is one of this name"),
            Option("--label -l", LIST, "Note something on it", metavar="KEY[=VALUE]"),
            Option("--opt -o", LIST, "How it is made: type=, device=, o=, or image=", metavar="KEY[=VALUE]"),
        ),
        (Argument("name", MAYBE),),
        module="volume_create",
        examples=(
            "rootless volume create --label app=web data",
            "rootless volume create --opt o=uid=999,gid=999 database",
            "rootless volume create --opt type=tmpfs --opt o=size=64m scratch    (memory, of each container its own)",
            "rootless volume create --opt type=none --opt o=bind --opt device=$HOME/site site",
            "rootless volume create --driver image --opt image=busybox tools",
        ),
    ),
    "volume exists": Command(
        "volume exists",
        "End with 0 if there is such a volume, else with 1.",
        (),
        (_VOLUME,),
        module="volume_exists",
    ),
    "volume export": Command(
        "volume export",
        "Write the files of a volume as a tar archive.",
        (Option("--output -o", STR, "Write this file, not standard output", metavar="FILE"),),
        (_VOLUME,),
        module="volume_export",
        examples=("rootless volume export data --output data.tar", "rootless volume export data | zstd > data.tar.zst"),
    ),
    "volume import": Command(
        "volume import",
        "Put the files of a tar archive, compressed or not, into a volume that is there.",
        (),
        (_VOLUME, Argument("source", MAYBE, "FILE|-", "file")),
        module="volume_import",
        examples=("rootless volume import data data.tar.zst",),
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
    "volume mount": Command(
        "volume mount",
        "Print where the files of volumes are; inside `rootless unshare` mount those that need it.",
        (),
        (Argument("volumes", SOME, "VOLUME...", "volume"),),
        module="volume_mount",
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
    "volume unmount": Command(
        "volume unmount",
        "Undo `volume mount`.",
        (),
        (Argument("volumes", SOME, "VOLUME...", "volume"),),
        module="volume_unmount",
    ),
}
