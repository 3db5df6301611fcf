"""Options of `cp`."""

from __future__ import annotations

from rootless.cli.options import BOOL, Argument, Command, Option

TABLE = {
    "cp": Command(
        "cp",
        'Copy files between a container and the host, or another container. "-" is a tar stream.',
        (
            Option(
                "--archive -a",
                BOOL,
                "Give what is made in a container to its user; --archive=false keeps the owners of the source",
                True,
            ),
            Option("--follow-link -L", BOOL, "Copy what SOURCE leads to where it is a link (which is always done)"),
            Option("--overwrite", BOOL, "Let files take the place of directories, and directories that of files"),
            Option("--quiet -q", BOOL, "Say nothing of what has been left out"),
        ),
        (
            Argument("source", metavar="[CONTAINER:]SOURCE", completes="file"),
            Argument("target", metavar="[CONTAINER:]TARGET", completes="file"),
        ),
        examples=("rootless cp web:/etc/nginx ./nginx", "tar -c page.html | rootless cp - web:/srv"),
    ),
}
