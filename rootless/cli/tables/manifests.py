"""Options of `manifest ...`."""

from __future__ import annotations

from rootless.cli.options import BOOL, CHOICE, CSV, INT, LIST, MAYBE, SOME, STR, Argument, Command, Option

FORMATS = ("oci", "v2s2")
COMPRESSIONS = ("gzip", "zstd")

_LIST = Argument("list", completes="image")
_IMAGES = Argument("images", SOME, "IMAGE...", "image")
_ALL = Option("--all", BOOL, "Where an image is a list: add all that it lists, not only what is for this machine")
_TLS = Option("--tls-verify", BOOL, "Ask for https and a valid certificate", None)
_AUTHFILE = Option("--authfile", STR, "Take credentials from this file", metavar="FILE")
_CERT_DIR = Option("--cert-dir", STR, "Take certificates (*.crt, *.cert, *.key) from here only", metavar="DIR")
_CREDS = Option("--creds", STR, "Credentials for the registry", metavar="USER[:PASSWORD]")
_ANNOTATION = Option("--annotation", LIST, "Annotate the entry", metavar="KEY=VALUE")
_ENTRY = (
    Option("--arch", STR, "Architecture that the entry is for", metavar="ARCH"),
    Option("--features", CSV, "Features of the processor (only in lists of Docker's format)", metavar="FEATURE,..."),
    Option("--os", STR, "Operating system that the entry is for", metavar="OS"),
    Option("--os-version", STR, "Version of that", metavar="VERSION"),
    Option("--variant", STR, "Variant of the architecture", metavar="VARIANT"),
)

TABLE = {
    "manifest add": Command(
        "manifest add",
        "Add images of this store or of registries to a manifest list.",
        (_ALL, _ANNOTATION, _AUTHFILE, _CERT_DIR, _CREDS, *_ENTRY, _TLS),
        (_LIST, _IMAGES),
        module="manifest_add",
        examples=("rootless manifest add app:1 app:1-arm64 docker://quay.io/me/app:1-riscv64",),
    ),
    "manifest annotate": Command(
        "manifest annotate",
        "Change what a manifest list says of an entry, or of itself.",
        (
            _ANNOTATION,
            *_ENTRY,
            Option("--index", BOOL, "Annotate the list, not an entry"),
            Option("--os-features", CSV, "Features of the operating system", metavar="FEATURE,..."),
            Option("--subject", STR, "With --index: the image that the list is about", metavar="IMAGE"),
        ),
        (_LIST, Argument("image", MAYBE, "DIGEST|IMAGE", "image")),
        module="manifest_annotate",
    ),
    "manifest create": Command(
        "manifest create",
        "Make a manifest list, of images if any are named.",
        (
            _ALL,
            Option("--amend -a", BOOL, "Add to the list where it is there"),
            Option("--annotation", LIST, "Annotate the list", metavar="KEY=VALUE"),
            _TLS,
        ),
        (Argument("list"), Argument("images", "*", "IMAGE...", "image")),
        module="manifest_create",
        examples=("rootless manifest create app:1 app:1-amd64 app:1-arm64",),
    ),
    "manifest exists": Command(
        "manifest exists",
        "End with 0 if there is such a manifest list, else with 1.",
        (),
        (_LIST,),
        module="manifest_exists",
    ),
    "manifest inspect": Command(
        "manifest inspect",
        "Show a manifest list of this store, or what a registry has under the name.",
        (_AUTHFILE, _TLS),
        (Argument("image", completes="image"),),
        module="manifest_inspect",
    ),
    "manifest push": Command(
        "manifest push",
        "Send a manifest list, and the images that it lists, to a registry or into an OCI layout.",
        (
            Option("--all", BOOL, "Send the images, too (default: yes)", True),
            _AUTHFILE,
            _CERT_DIR,
            Option("--compression-format", CHOICE, "Compress layers so: gzip or zstd", None, "FORMAT", COMPRESSIONS),
            Option("--compression-level", INT, "How hard: 1 to 9 with gzip, 1 to 22 with zstd", metavar="LEVEL"),
            _CREDS,
            Option("--digestfile", STR, "Write the digest of the pushed index into this file", metavar="FILE"),
            Option("--force-compression", BOOL, "Compress layers anew that are compressed otherwise", None),
            Option(
                "--format -f", CHOICE, "Kind of list: oci or v2s2 (default: as its images are)", None, "KIND", FORMATS
            ),
            Option("--quiet -q", BOOL, "No progress"),
            Option("--rm", BOOL, "Remove the list from this store once it is there"),
            Option(
                "--sign-by-sigstore-private-key", STR, "Sign with this private key (as cosign does)", metavar="FILE"
            ),
            Option(
                "--sign-passphrase-file", STR, "The passphrase of that key is the first line of FILE", metavar="FILE"
            ),
            _TLS,
        ),
        (_LIST, Argument("destination", MAYBE)),
        module="manifest_push",
        examples=(
            "rootless manifest push app:1 registry.example/team/app:1",
            "rootless manifest push app:1 oci-archive:app.tar:1",
        ),
    ),
    "manifest remove": Command(
        "manifest remove",
        "Take an entry out of a manifest list.",
        (),
        (_LIST, Argument("digest")),
        module="manifest_remove",
    ),
    "manifest rm": Command(
        "manifest rm",
        "Remove manifest lists; the images stay.",
        (Option("--ignore -i", BOOL, "Do not mind those that are gone"),),
        (Argument("lists", SOME, "LIST...", "image"),),
        module="manifest_rm",
    ),
}
