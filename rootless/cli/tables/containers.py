"""Options of the verbs that work on containers."""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, CSV, INT, LIST, MAYBE, STR, UINT, Argument, Command, Option

SORTS = ("command", "created", "id", "image", "names", "runningfor", "size", "status")
TYPES = ("all", "container", "image", "network", "pod", "volume")

_CONTAINERS = (Argument("containers", ANY, "CONTAINER...", "container"),)
_RUNNING = (Argument("containers", ANY, "CONTAINER...", "running"),)
_ALL = Option("--all -a", BOOL, "All containers")
_LATEST = Option("--latest -l", BOOL, "The container that was made last")
_CIDFILE = Option("--cidfile", LIST, "Take the container's id from this file", metavar="FILE")
_DETACH_KEYS = Option("--detach-keys", STR, "Keys that leave a terminal without ending the container", metavar="KEYS")
_FORMAT = Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE")
_STOP_SIGNAL = Option(
    "--signal -s", STR, "Signal to send first (default: the container's stop signal)", metavar="SIGNAL"
)
_SIG_PROXY = Option("--sig-proxy", BOOL, "Pass signals on to the container (default: yes)", True)
_FILTER = Option("--filter -f", LIST, "Only those that match (name=, id=, status=, label=, ...)", metavar="KEY=VALUE")

TABLE = {
    "attach": Command(
        "attach",
        "Connect to the standard streams of a running container.",
        (_DETACH_KEYS, _LATEST, Option("--no-stdin", BOOL, "Do not pass standard input on"), _SIG_PROXY),
        (Argument("container", MAYBE, completes="running"),),
    ),
    "exec": Command(
        "exec",
        "Run a command in a running container.",
        (
            Option("--detach -d", BOOL, "Leave it running"),
            _DETACH_KEYS,
            Option("--env -e", LIST, "Set an environment variable", metavar="NAME[=VALUE]"),
            Option("--env-file", LIST, "Set environment variables from the lines of a file", metavar="FILE"),
            Option("--interactive -i", BOOL, "Keep standard input open"),
            _LATEST,
            Option("--preserve-fd", CSV, "Give it this open descriptor too", metavar="NUMBER"),
            Option("--preserve-fds", UINT, "Give it so many descriptors, from 3 on", metavar="COUNT"),
            Option("--privileged", BOOL, "All capabilities that the container's user namespace has"),
            Option("--tty -t", BOOL, "Give the command a terminal"),
            Option("--user -u", STR, "Run as this user", metavar="USER[:GROUP]"),
            Option("--workdir -w", STR, "Directory to start in", metavar="DIR"),
        ),
        (Argument("container", completes="running"), Argument("command", ANY, "COMMAND...")),
        stops=True,
        examples=("rootless exec -it web sh",),
    ),
    "inspect": Command(
        "inspect",
        "Show all that is known of containers, images or volumes, as JSON.",
        (
            _FORMAT,
            _LATEST,
            Option("--size -s", BOOL, "Count the sizes of the container's files"),
            Option("--type -t", CHOICE, "Look for this only: " + ", ".join(TYPES), "all", "TYPE", TYPES),
        ),
        (Argument("names", ANY, "NAME...", "container"),),
        examples=("rootless inspect --format '{{.State.Pid}}' web",),
    ),
    "container exists": Command(
        "container exists",
        "End with 0 if there is such a container, else with 1.",
        (Option("--external", BOOL, "Also what other programs keep in the store (there is nothing of the kind)"),),
        (Argument("container", completes="container"),),
        module="container_exists",
    ),
    "container inspect": Command(
        "container inspect",
        "Show all that is known of containers, as JSON.",
        (_FORMAT, _LATEST, Option("--size -s", BOOL, "Count the sizes of the container's files")),
        (Argument("names", ANY, "CONTAINER...", "container"),),
        module="inspect",
        fixed={"type": "container"},
    ),
    "container prune": Command(
        "container prune",
        "Remove the containers that do not run.",
        (
            Option("--filter", LIST, "Only those that match (label=, label!=, until=)", metavar="KEY=VALUE"),
            Option("--force -f", BOOL, "Do not ask"),
        ),
        module="container_prune",
    ),
    "kill": Command(
        "kill",
        "Send a signal to running containers.",
        (_ALL, _CIDFILE, _LATEST, Option("--signal -s", STR, "Signal to send", "KILL", "SIGNAL")),
        _RUNNING,
    ),
    "logs": Command(
        "logs",
        "Print what containers have written.",
        (
            Option("--color", BOOL, "Print each container in a colour of its own"),
            Option("--details", BOOL, "Put before each line what --log-opt tag=, labels= and env= have chosen"),
            Option("--follow -f", BOOL, "Go on printing as it comes"),
            _LATEST,
            Option("--names -n", BOOL, "Put the container's name before each line"),
            Option("--since", STR, "Only what was written after this time (RFC 3339, or 10m)", metavar="TIME"),
            Option("--tail", INT, "Only the last lines; -1 is all", -1, "NUMBER"),
            Option("--timestamps -t", BOOL, "Put the time before each line"),
            Option("--until", STR, "Only what was written before this time", metavar="TIME"),
        ),
        _CONTAINERS,
    ),
    "port": Command(
        "port",
        "List the published ports of a container.",
        (_ALL, _LATEST),
        (Argument("container", MAYBE, completes="running"), Argument("port", MAYBE, "PORT[/PROTOCOL]")),
    ),
    "ps": Command(
        "ps",
        "List containers.",
        (
            Option("--all -a", BOOL, "Stopped ones too"),
            Option("--external", BOOL, "Also what other programs keep in the store (there is nothing of the kind)"),
            _FILTER,
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--last -n", INT, "The last ones that were made, stopped ones too", -1, "NUMBER"),
            _LATEST,
            Option("--no-trunc", BOOL, "Print ids and commands in full"),
            Option("--noheading", BOOL, "Print no line of headings"),
            Option("--ns", BOOL, "Show the namespaces of the containers"),
            Option("--pod -p", BOOL, "Show columns for pods, which are empty"),
            Option("--quiet -q", BOOL, "Print ids only"),
            Option("--size -s", BOOL, "Count the sizes of the containers' files"),
            Option("--sort", CHOICE, "Order by one of: " + ", ".join(SORTS), "created", "COLUMN", SORTS),
            Option("--sync", BOOL, "Look for what has become of each container first (which is always done)"),
            Option("--watch -w", UINT, "Print again and again, with so many seconds between", metavar="SECONDS"),
        ),
        examples=("rootless ps -a --format '{{.Names}} {{.Status}}'",),
    ),
    "restart": Command(
        "restart",
        "Stop containers and start them again.",
        (
            _ALL,
            _CIDFILE,
            _FILTER,
            _LATEST,
            Option("--running", BOOL, "Only those that run"),
            _STOP_SIGNAL,
            Option("--time --timeout -t", INT, "Seconds to wait before killing", metavar="SECONDS"),
        ),
        _CONTAINERS,
    ),
    "rm": Command(
        "rm",
        "Remove containers.",
        (
            _ALL,
            _CIDFILE,
            Option("--depend", BOOL, "Remove the containers that need them too"),
            Option("--filter", LIST, "Only those that match", metavar="KEY=VALUE"),
            Option("--force -f", BOOL, "Kill those that run; do not mind those that are gone"),
            Option("--ignore -i", BOOL, "Do not mind those that are gone"),
            _LATEST,
            Option("--time --timeout -t", INT, "Seconds to wait before killing", metavar="SECONDS"),
            Option("--volumes -v", BOOL, "Remove their anonymous volumes too"),
        ),
        _CONTAINERS,
    ),
    "start": Command(
        "start",
        "Start containers.",
        (
            Option("--all", BOOL, "All containers"),
            Option("--attach -a", BOOL, "Stay connected to its output, and end as it ends"),
            _DETACH_KEYS,
            _FILTER,
            Option("--interactive -i", BOOL, "Keep standard input open"),
            _LATEST,
            _SIG_PROXY,
        ),
        _CONTAINERS,
    ),
    "stop": Command(
        "stop",
        "Stop containers: their stop signal, some patience, then KILL.",
        (
            _ALL,
            _CIDFILE,
            _FILTER,
            Option("--ignore -i", BOOL, "Do not mind those that are gone"),
            _LATEST,
            _STOP_SIGNAL,
            Option("--time --timeout -t", INT, "Seconds to wait before killing", metavar="SECONDS"),
        ),
        _RUNNING,
    ),
    "wait": Command(
        "wait",
        "Wait until containers end, and print their exit codes.",
        (
            Option(
                "--condition",
                CSV,
                "Wait for one of these states (default: stopped): configured, created, exited, healthy, initialized, "
                "paused, removing, running, stopping, unhealthy",
                metavar="STATE",
            ),
            Option("--ignore", BOOL, "Print -1 for those that are gone"),
            Option("--interval -i", STR, "Time between looks, for states other than stopped", metavar="TIME"),
            _LATEST,
        ),
        _CONTAINERS,
    ),
}
