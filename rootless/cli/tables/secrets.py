"""Options of the verbs that work on secrets."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, LIST, SOME, STR, Argument, Command, Option

_SECRETS = (Argument("secrets", ANY, "SECRET..."),)

TABLE = {
    "secret create": Command(
        "secret create",
        "Keep a secret for containers, and print its id.",
        (
            Option(
                "--driver -d", CHOICE, "How it is kept: file (a private file of the store)", "file", "DRIVER", ("file",)
            ),
            Option("--driver-opts", LIST, "Note an option of the driver", metavar="KEY=VALUE"),
            Option("--env", BOOL, "Take it from the environment variable that the argument names"),
            Option("--ignore", BOOL, "Do not mind if there is one of this name"),
            Option("--label -l", LIST, "Note something on it", metavar="KEY[=VALUE]"),
            Option("--replace", BOOL, "Put it in the place of one of this name"),
        ),
        (Argument("name"), Argument("source", metavar="FILE|-", completes="file")),
        module="secret_create",
        examples=(
            "rootless secret create password password.txt",
            "pass show db | rootless secret create password -",
            "rootless run --secret password,type=env,target=PGPASSWORD postgres",
        ),
    ),
    "secret exists": Command(
        "secret exists",
        "End with 0 if there is such a secret, else with 1.",
        (),
        (Argument("secret"),),
        module="secret_exists",
    ),
    "secret inspect": Command(
        "secret inspect",
        "Show all that is known of secrets, as JSON.",
        (
            Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--pretty", BOOL, "Print it for people"),
            Option("--showsecret", BOOL, "Show the data too"),
        ),
        (Argument("secrets", SOME, "SECRET..."),),
        module="secret_inspect",
    ),
    "secret ls": Command(
        "secret ls",
        "List secrets.",
        (
            Option("--filter -f", LIST, "Only those that match (name=, id=)", metavar="KEY=VALUE"),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--noheading -n", BOOL, "Print no line of headings"),
            Option("--quiet -q", BOOL, "Print ids only"),
        ),
        module="secret_ls",
    ),
    "secret rm": Command(
        "secret rm",
        "Remove secrets; containers that have them keep them.",
        (
            Option("--all -a", BOOL, "All secrets"),
            Option("--ignore -i", BOOL, "Do not mind if there is none such"),
        ),
        _SECRETS,
        module="secret_rm",
    ),
}
