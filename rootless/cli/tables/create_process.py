"""Options of `run` and `create` that say what the process finds: environment, user, secrets."""

from __future__ import annotations

from rootless.cli.options import BOOL, CSV, INT, LIST, STR, Option

PROCESS = (
    Option(
        "--env -e",
        LIST,
        "Set an environment variable; NAME alone takes its value from here, NAME* those that begin so",
        metavar="NAME[=VALUE]",
    ),
    Option("--env-file", LIST, "Set environment variables from the lines of a file", metavar="FILE"),
    Option("--env-host", BOOL, "Pass all environment variables on that are set here"),
    Option(
        "--env-merge", LIST, "Set a variable from those of the image, like PATH=${PATH}:/opt/bin", metavar="NAME=VALUE"
    ),
    Option(
        "--group-add",
        CSV,
        "Add the process to a group (a name of the image's, a number, or keep-groups for yours)",
        metavar="GROUP",
    ),
    Option("--group-entry", STR, "The line for the user's group in /etc/group, where it lacks one", metavar="LINE"),
    Option("--hostuser", CSV, "Add this user of the host to /etc/passwd", metavar="NAME"),
    Option("--http-proxy", BOOL, "Pass http_proxy and its like on (default: yes)", None),
    Option(
        "--oom-score-adj", INT, "How readily it is killed when memory is short, from -1000 to 1000", metavar="NUMBER"
    ),
    Option(
        "--passwd-entry",
        STR,
        "The line for such a user; $USERNAME, $UID, $GID, $NAME, $HOME are filled in",
        metavar="LINE",
    ),
    Option("--personality", STR, "What uname tells of the machine: LINUX or LINUX32", metavar="PERSONA"),
    Option(
        "--secret",
        LIST,
        "Give it a secret, as /run/secrets/NAME or as a variable",
        metavar="NAME[,type=mount|env,target=,uid=,gid=,mode=]",
    ),
    Option("--tz", STR, "Time zone, like Europe/Berlin; local for the host's", metavar="ZONE"),
    Option("--ulimit", CSV, "Set a resource limit; host leaves yours", metavar="NAME=SOFT[:HARD]"),
    Option("--umask", STR, "Bits that new files do not get (0022)", metavar="MASK"),
    Option(
        "--unsetenv",
        LIST,
        "Take a variable of the image's away (not one that --env or --env-host sets)",
        metavar="NAME",
    ),
    Option("--unsetenv-all", BOOL, "Take all variables away that are not asked for here"),
    Option("--user -u", STR, "Run as this user", metavar="USER[:GROUP]"),
)

RUN_ONLY = (
    Option(
        "--passwd", BOOL, "Add a user that is given by number to /etc/passwd, where it lacks one (default: yes)", None
    ),
)
