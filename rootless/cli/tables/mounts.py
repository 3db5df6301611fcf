"""Options of the verbs that look into root file systems from outside of containers."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, STR, Argument, Command, Option

_FORMAT = Option("--format", STR, "Print as json", metavar="json")
_LATEST = Option("--latest -l", BOOL, "The container that was made last")
_FORCE = Option("--force -f", BOOL, "Also where files in it are in use")
_CONTAINERS = (Argument("containers", ANY, "CONTAINER...", "container"),)
_IMAGES = (Argument("images", ANY, "IMAGE...", "image"),)

TABLE = {
    "image mount": Command(
        "image mount",
        "Mount the root file systems of images read-only, inside `rootless unshare`, and print where; "
        "without an image list those that are mounted.",
        (Option("--all -a", BOOL, "All images"), _FORMAT),
        _IMAGES,
        module="image_mount",
        examples=("rootless unshare sh -c 'ls $(rootless image mount alpine)'",),
    ),
    "image unmount": Command(
        "image unmount",
        "Undo `image mount`.",
        (Option("--all -a", BOOL, "All images"), _FORCE),
        _IMAGES,
        module="image_unmount",
    ),
    "mount": Command(
        "mount",
        "Mount the root file systems of containers, inside `rootless unshare`, and print where; "
        "without a container list those that are mounted.",
        (
            Option("--all -a", BOOL, "All containers"),
            _FORMAT,
            _LATEST,
            Option("--no-trunc", BOOL, "Print ids in full"),
        ),
        _CONTAINERS,
    ),
    "unmount": Command(
        "unmount",
        "Undo `mount`.",
        (Option("--all -a", BOOL, "All containers"), _FORCE, _LATEST),
        _CONTAINERS,
    ),
    "unshare": Command(
        "unshare",
        "Run a command (your shell) as root of a user namespace with the ids of containers.",
        (),
        (Argument("command", ANY, "COMMAND..."),),
        stops=True,
        examples=("rootless unshare ls -l ~/.local/share/rootless/volumes",),
    ),
}
