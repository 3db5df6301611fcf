"""Options of the verbs that talk to registries, other than pull."""

from __future__ import annotations

from rootless.cli.options import BOOL, CHOICE, INT, LIST, MAYBE, STR, UINT, Argument, Command, Option

FORMATS = ("oci", "v2s2")
COMPRESSIONS = ("gzip", "zstd")
TRUSTS = ("signedBy", "sigstoreSigned", "accept", "reject")

_AUTHFILE = Option("--authfile", STR, "Take credentials from this file", metavar="FILE")
_CERT_DIR = Option("--cert-dir", STR, "Take certificates (*.crt, *.cert, *.key) from here only", metavar="DIR")
_CREDS = Option("--creds", STR, "Credentials for the registry", metavar="USER[:PASSWORD]")
_TLS_VERIFY = Option("--tls-verify", BOOL, "Ask for https and a valid certificate", None)

_COMPAT = Option("--compat-auth-file", STR, "Write this file, as Docker's config.json", metavar="FILE")
_WRITTEN = Option("--authfile", STR, "Keep credentials in this file", metavar="FILE")

TABLE = {
    "login": Command(
        "login",
        "Log in to a registry: check name and password there, and keep them.",
        (
            _WRITTEN,
            _CERT_DIR,
            _COMPAT,
            Option("--get-login", BOOL, "Print who is logged in, and nothing else"),
            Option("--password -p", STR, "Password (others can read it in the list of processes)", metavar="PASSWORD"),
            Option("--password-stdin", BOOL, "Read the password from standard input"),
            _TLS_VERIFY,
            Option("--username -u", STR, "Name of the user", metavar="NAME"),
            Option("--verbose -v", BOOL, "Say where the credentials are kept"),
        ),
        (Argument("registry", MAYBE),),
        examples=("rootless login -u alice --password-stdin quay.io < token",),
    ),
    "logout": Command(
        "logout",
        "Forget the credentials for a registry.",
        (Option("--all -a", BOOL, "Those for all registries"), _WRITTEN, _COMPAT),
        (Argument("registry", MAYBE),),
    ),
    "image trust": Command(
        "image trust",
        "Show which images policy.json lets in, or set it for a registry.",
        (
            Option("--json -j", BOOL, "show: print JSON"),
            Option("--noheading -n", BOOL, "show: print no line of headings"),
            Option("--pubkeysfile -f", LIST, "set: a public key that must have signed", metavar="FILE"),
            Option("--raw", BOOL, "show: print the file as it is"),
            Option("--type -t", CHOICE, "set: one of " + ", ".join(TRUSTS), None, "TYPE", TRUSTS),
        ),
        (Argument("action", metavar="show|set"), Argument("registry", MAYBE)),
        module="image_trust",
        examples=(
            "rootless image trust show",
            "rootless image trust set --type sigstoreSigned --pubkeysfile cosign.pub quay.io/team",
        ),
    ),
    "push": Command(
        "push",
        "Send an image to a registry, or into an archive or a directory.",
        (
            _AUTHFILE,
            _CERT_DIR,
            Option("--compression-format", CHOICE, "Compress layers so: gzip or zstd", None, "FORMAT", COMPRESSIONS),
            Option("--compression-level", INT, "How hard: 1 to 9 with gzip, 1 to 22 with zstd", metavar="LEVEL"),
            _CREDS,
            Option("--digestfile", STR, "Write the digest of the pushed manifest into this file", metavar="FILE"),
            Option("--force-compression", BOOL, "Compress layers anew that are compressed otherwise", None),
            Option("--format -f", CHOICE, "Kind of manifest: oci or v2s2 (default: as it is)", None, "KIND", FORMATS),
            Option("--quiet -q", BOOL, "No progress"),
            Option("--retry", UINT, "Times to try again after a failure", metavar="NUMBER"),
            Option("--retry-delay", STR, "Time between tries", metavar="TIME"),
            Option(
                "--sign-by-sigstore-private-key", STR, "Sign with this private key (as cosign does)", metavar="FILE"
            ),
            Option(
                "--sign-passphrase-file", STR, "The passphrase of that key is the first line of FILE", metavar="FILE"
            ),
            _TLS_VERIFY,
        ),
        (Argument("image", completes="image"), Argument("destination", MAYBE)),
        examples=(
            "rootless push my/app registry.example/team/app:1.0",
            "rootless push my/app oci:/srv/layout:1.0",
        ),
    ),
    "search": Command(
        "search",
        "Look for images in registries.",
        (
            _AUTHFILE,
            _CERT_DIR,
            Option("--compatible", BOOL, "Columns as Docker prints them"),
            _CREDS,
            Option(
                "--filter -f", LIST, "Only those that match (stars=, is-official, is-automated)", metavar="KEY=VALUE"
            ),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--limit", INT, "How many of each registry (default: 25)", metavar="NUMBER"),
            Option("--list-tags", BOOL, "List the tags of the repository that is named"),
            Option("--no-trunc", BOOL, "Print descriptions in full"),
            _TLS_VERIFY,
        ),
        (Argument("term"),),
        examples=("rootless search --list-tags quay.io/podman/hello",),
    ),
}
