"""Options of the verbs that work on images."""

from __future__ import annotations

from rootless.cli.options import BOOL, CHOICE, LIST, MAYBE, SOME, STR, UINT, Argument, Command, Option

SORTS = ("created", "id", "repository", "size", "tag")
POLICIES = ("always", "missing", "never", "newer")
ARCHIVES = ("docker-archive", "docker-dir", "oci-archive", "oci-dir")

_IMAGE = (Argument("image", completes="image"),)
_IMAGES = (Argument("images", SOME, "IMAGE...", "image"),)
_QUIET = Option("--quiet -q", BOOL, "Print ids only")
_NO_TRUNC = Option("--no-trunc", BOOL, "Print ids in full")
_FILTER = Option("--filter -f", LIST, "Only those that match (dangling=, reference=, label=, ...)", metavar="KEY=VALUE")

TABLE = {
    "history": Command(
        "history",
        "Show the layers of an image, newest first.",
        (
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--human -H", BOOL, "Print sizes and times for people (default: yes)", True),
            _NO_TRUNC,
            _QUIET,
        ),
        _IMAGE,
    ),
    "image analyze": Command(
        "image analyze",
        "Show what each layer adds, changes and removes, and what of it is wasted.",
        (
            Option("--ci", BOOL, "Judge, with dive's limits where none is given (0.9, none, 0.1)"),
            Option("--format", STR, "Print with a Go template for each layer, or as json", metavar="TEMPLATE"),
            Option("--highest-user-wasted-percent", STR, "End with 1 where more is wasted (0.1)", metavar="SHARE"),
            Option("--highest-wasted-bytes", STR, "End with 1 where more is wasted (20MB)", metavar="SIZE"),
            Option("--interactive -i", BOOL, "Browse the layers and their files (needs rootless[analyze])"),
            Option("--lowest-efficiency", STR, "End with 1 where it is less efficient (0.9)", metavar="SHARE"),
            _NO_TRUNC,
        ),
        _IMAGE,
        module="image_analyze",
        examples=(
            "rootless image analyze my/app",
            "rootless image analyze --lowest-efficiency 0.95 --highest-wasted-bytes 20MB my/app",
        ),
    ),
    "image exists": Command(
        "image exists", "End with 0 if there is such an image, else with 1.", (), _IMAGE, module="image_exists"
    ),
    "image inspect": Command(
        "image inspect",
        "Show all that is known of images, as JSON.",
        (Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),),
        _IMAGES,
        module="image_inspect",
    ),
    "image prune": Command(
        "image prune",
        "Remove images that have no name.",
        (
            Option("--all -a", BOOL, "All that no container uses"),
            Option("--filter", LIST, "Only those that match", metavar="KEY=VALUE"),
            Option("--force -f", BOOL, "Do not ask"),
        ),
        module="image_prune",
    ),
    "image tree": Command(
        "image tree",
        "Show the layers of an image as a tree.",
        (Option("--whatrequires", BOOL, "Show what stands on the image's highest layer"),),
        _IMAGE,
        module="image_tree",
    ),
    "images": Command(
        "images",
        "List images.",
        (
            Option("--all -a", BOOL, "Accepted: images here have no intermediate ones"),
            Option("--digests", BOOL, "Show digests"),
            _FILTER,
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            _NO_TRUNC,
            Option("--noheading -n", BOOL, "Print no line of headings"),
            _QUIET,
            Option("--sort", CHOICE, "Order by one of: " + ", ".join(SORTS), "created", "COLUMN", SORTS),
        ),
        (Argument("image", MAYBE, completes="image"),),
    ),
    "import": Command(
        "import",
        "Make an image of the tar archive of a root file system (a file, a URL, or - for standard input).",
        (
            Option("--arch", STR, "Architecture of the image", metavar="ARCH"),
            Option("--change -c", LIST, "Set something of the image, as in a Containerfile", metavar="INSTRUCTION"),
            Option("--message -m", STR, "Note in the image's history", metavar="TEXT"),
            Option("--os", STR, "Operating system of the image", metavar="OS"),
            Option("--quiet -q", BOOL, "Print the id only"),
            Option("--variant", STR, "Variant of the architecture", metavar="VARIANT"),
        ),
        (Argument("path", completes="file"), Argument("reference", MAYBE)),
        module="import_",
        examples=("rootless import --change CMD=/bin/sh rootfs.tar my/base:1",),
    ),
    "load": Command(
        "load",
        "Load images from an archive (docker-archive, oci-archive or a directory of either).",
        (
            Option("--input -i", STR, "Read this file, not standard input", metavar="FILE"),
            Option("--quiet -q", BOOL, "No progress"),
        ),
    ),
    "pull": Command(
        "pull",
        "Fetch images from registries, or by other transports (oci:DIR, docker-archive:FILE, ...).",
        (
            Option("--all-tags -a", BOOL, "Fetch all that the repository has"),
            Option("--arch", STR, "Take the image for this architecture", metavar="ARCH"),
            Option("--authfile", STR, "Take credentials from this file", metavar="FILE"),
            Option("--cert-dir", STR, "Take certificates (*.crt, *.cert, *.key) from here only", metavar="DIR"),
            Option("--creds", STR, "Credentials for the registry", metavar="USER[:PASSWORD]"),
            Option("--os", STR, "Take the image for this operating system", metavar="OS"),
            Option("--platform", STR, "Take the image for this platform", metavar="OS/ARCH[/VARIANT]"),
            Option("--policy", CHOICE, "When: always, missing, never or newer", "always", "WHEN", POLICIES),
            Option("--quiet -q", BOOL, "Print the id only"),
            Option("--retry", UINT, "Times to try again after a failure", metavar="NUMBER"),
            Option("--retry-delay", STR, "Time between tries", metavar="TIME"),
            Option("--tls-verify", BOOL, "Ask for https and a valid certificate", None),
            Option("--variant", STR, "Take the image for this variant of the architecture", metavar="VARIANT"),
        ),
        _IMAGES,
    ),
    "rmi": Command(
        "rmi",
        "Remove images.",
        (
            Option("--all -a", BOOL, "All images"),
            Option(
                "--force -f",
                BOOL,
                "Also those that containers use (and these containers); do not mind those that are gone",
            ),
            Option("--ignore -i", BOOL, "Do not mind those that are gone"),
            Option("--no-prune", BOOL, "Accepted: images here have no parents that could be removed"),
        ),
        (Argument("images", "*", "IMAGE...", "image"),),
    ),
    "save": Command(
        "save",
        "Write images to an archive or a directory.",
        (
            Option("--compress", BOOL, "Compress the layers of a docker-dir"),
            Option("--format", CHOICE, "One of: " + ", ".join(ARCHIVES), "docker-archive", "FORMAT", ARCHIVES),
            Option("--multi-image-archive -m", BOOL, "Accepted: an archive may always hold several images"),
            Option("--output -o", STR, "Write this file, not standard output", metavar="FILE"),
            Option("--quiet -q", BOOL, "No progress"),
            Option(
                "--uncompressed", BOOL, "Write plain layers into an OCI layout, also where compressed ones are kept"
            ),
        ),
        _IMAGES,
    ),
    "tag": Command(
        "tag",
        "Give an image more names.",
        (),
        (Argument("image", completes="image"), Argument("names", SOME, "NAME...")),
    ),
    "untag": Command(
        "untag",
        "Take names from an image (all of them, if none is given).",
        (),
        (Argument("image", completes="image"), Argument("names", "*", "NAME...", "image")),
    ),
}
