"""Options of the verbs that show or keep what has changed."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, LIST, MAYBE, STR, Argument, Command, Option

FORMATS = ("oci", "docker")

_FORMAT = Option("--format", STR, "How to print: json, or lines where this is not given", metavar="FORMAT")
_LATEST = Option("--latest -l", BOOL, "The container that was made last")
_TWO = "NAME [OTHER]"
_SHOWS = "A: added, C: changed, D: deleted."

TABLE = {
    "commit": Command(
        "commit",
        "Make an image of a container.",
        (
            Option("--author -a", STR, "Who made the image", metavar="NAME"),
            Option("--change -c", LIST, "Set something of the image, as in a Containerfile", metavar="INSTRUCTION"),
            Option("--config", STR, 'Merge the "config" object in this file into the image\'s', metavar="FILE"),
            Option("--format -f", CHOICE, "Format of the image: oci or docker", "oci", "FORMAT", FORMATS),
            Option("--iidfile", STR, "Write the image's id to this file", metavar="FILE"),
            Option("--include-volumes", BOOL, "Make volumes of the image of all that is mounted in the container"),
            Option("--message -m", STR, "Note in the image's history", metavar="TEXT"),
            Option("--pause -p", BOOL, "Let the container's processes stand still meanwhile"),
            Option("--quiet -q", BOOL, "Print the id only"),
            Option("--squash -s", BOOL, "Make one layer of all"),
        ),
        (Argument("container", completes="container"), Argument("image", MAYBE)),
        examples=("rootless commit --change 'CMD [\"nginx\"]' web my/web:2",),
    ),
    "container diff": Command(
        "container diff",
        f"Show what a container has changed in its files ({_SHOWS[:-1]}).",
        (_FORMAT, _LATEST),
        (Argument("names", ANY, _TWO, "container"),),
        module="diff",
        fixed={"kind": "container"},
    ),
    "diff": Command(
        "diff",
        f"Show what a container or an image has changed in the files of what it was made from ({_SHOWS[:-1]}).",
        (_FORMAT, _LATEST),
        (Argument("names", ANY, _TWO, "container"),),
        fixed={"kind": "any"},
        examples=("rootless diff web",),
    ),
    "export": Command(
        "export",
        "Write the files of a container as a tar archive.",
        (Option("--output -o", STR, "Write this file, not standard output", metavar="FILE"),),
        (Argument("container", completes="container"),),
        examples=("rootless export web | tar -tv",),
    ),
    "image diff": Command(
        "image diff",
        f"Show what the last layer of an image has changed ({_SHOWS[:-1]}).",
        (_FORMAT,),
        (Argument("names", ANY, _TWO, "image"),),
        module="diff",
        fixed={"kind": "image", "latest": False},
    ),
}
