"""Which verbs there are, and which table describes each.

A table module is loaded only when one of its verbs is asked for: describing `run` costs more than all of `ps`.
"""

from __future__ import annotations

from rootless.cli.options import ANY, BOOL, CHOICE, STR, Argument, Command, Option

LOG_LEVELS = ("trace", "debug", "info", "warn", "warning", "error", "fatal", "panic")

GLOBAL = Command(
    "rootless",
    "Containers without root and without a daemon.",
    (
        Option("--root", STR, "Keep images and containers in this directory", metavar="DIR"),
        Option("--runroot", STR, "Keep the state of running containers in this directory", metavar="DIR"),
        Option(
            "--storage-driver", STR, "How layers are stacked: overlay, fuse-overlayfs, btrfs or vfs", metavar="DRIVER"
        ),
        Option(
            "--log-level",
            CHOICE,
            "How much to tell: debug (or trace), info, warn (or warning), or no warnings: error (or fatal, panic)",
            "warn",
            "LEVEL",
            LOG_LEVELS,
        ),
        Option("--version -v", BOOL, "Print the version"),
    ),
    (Argument("words", ANY),),
    stops=True,
)

VERBS = {
    "attach": "containers",
    "commit": "changes",
    "cp": "copying",
    "create": "create",
    "diff": "changes",
    "doctor": "system",
    "events": "reports",
    "exec": "containers",
    "export": "changes",
    "history": "images",
    "images": "images",
    "import": "images",
    "info": "system",
    "init": "states",
    "inspect": "containers",
    "kill": "containers",
    "load": "images",
    "login": "registries",
    "logout": "registries",
    "logs": "containers",
    "mount": "mounts",
    "pause": "states",
    "port": "containers",
    "ps": "containers",
    "pull": "images",
    "push": "registries",
    "rename": "states",
    "restart": "containers",
    "rm": "containers",
    "rmi": "images",
    "run": "create",
    "save": "images",
    "search": "registries",
    "start": "containers",
    "stats": "processes",
    "stop": "containers",
    "tag": "images",
    "top": "processes",
    "unmount": "mounts",
    "unpause": "states",
    "unshare": "mounts",
    "untag": "images",
    "update": "states",
    "version": "system",
    "wait": "containers",
}
"""Verb -> table module."""

SECOND_NAMES = {"umount": "unmount"}
"""Another spelling of a verb -> the verb."""

NOUNS = {
    "container": {
        **{
            verb: verb
            for verb, table in VERBS.items()
            if table in ("changes", "containers", "copying", "create", "processes", "states")
        },
        "clone": "container clone",
        "diff": "container diff",
        "exists": "container exists",
        "inspect": "container inspect",
        "list": "ps",
        "ls": "ps",
        "mount": "mount",
        "prune": "container prune",
        "umount": "unmount",
        "unmount": "unmount",
    },
    "healthcheck": {
        "run": "healthcheck run",
    },
    "image": {
        "analyze": "image analyze",
        "diff": "image diff",
        "exists": "image exists",
        "history": "history",
        "import": "import",
        "inspect": "image inspect",
        "list": "images",
        "load": "load",
        "ls": "images",
        "mount": "image mount",
        "prune": "image prune",
        "pull": "pull",
        "push": "push",
        "rm": "rmi",
        "remove": "rmi",
        "save": "save",
        "search": "search",
        "tag": "tag",
        "tree": "image tree",
        "trust": "image trust",
        "umount": "image unmount",
        "unmount": "image unmount",
        "untag": "untag",
    },
    "manifest": {
        "add": "manifest add",
        "annotate": "manifest annotate",
        "create": "manifest create",
        "exists": "manifest exists",
        "inspect": "manifest inspect",
        "push": "manifest push",
        "remove": "manifest remove",
        "rm": "manifest rm",
    },
    "secret": {
        "create": "secret create",
        "exists": "secret exists",
        "inspect": "secret inspect",
        "list": "secret ls",
        "ls": "secret ls",
        "remove": "secret rm",
        "rm": "secret rm",
    },
    "system": {
        "check": "system check",
        "df": "system df",
        "events": "events",
        "info": "info",
        "prune": "system prune",
        "reset": "system reset",
    },
    "volume": {
        "create": "volume create",
        "exists": "volume exists",
        "export": "volume export",
        "import": "volume import",
        "inspect": "volume inspect",
        "list": "volume ls",
        "ls": "volume ls",
        "mount": "volume mount",
        "prune": "volume prune",
        "remove": "volume rm",
        "rm": "volume rm",
        "unmount": "volume unmount",
    },
}
"""Noun -> word after it -> name of the command in its table."""

_TABLE_OF_NOUN = {
    "container": "containers",
    "healthcheck": "health",
    "image": "images",
    "manifest": "manifests",
    "secret": "secrets",
    "system": "system",
    "volume": "volumes",
}

_TABLES = {  # where it is not the noun's
    "container clone": "states",
    "container diff": "changes",
    "image diff": "changes",
    "image mount": "mounts",
    "image unmount": "mounts",
    "image trust": "registries",
}


def command_named(name: str) -> Command:
    """The command that a table lists under `name` ("run", "image inspect"). Raises KeyError for any other name."""
    noun, _, second = name.partition(" ")
    table = _TABLES.get(name) or (_TABLE_OF_NOUN[noun] if second else VERBS[name])
    module = __import__(f"rootless.cli.tables.{table}", fromlist=("TABLE",))
    found: Command = module.TABLE[name]
    return found


def find(words: list[str]) -> tuple[Command, list[str]] | None:
    """The command that `words` begin with, and the words after it; None where there is none such."""
    if not words:
        return None
    verb = SECOND_NAMES.get(words[0], words[0])
    if verb in VERBS:
        return command_named(verb), words[1:]
    name = NOUNS[words[0]].get(words[1]) if words[0] in NOUNS and len(words) > 1 else None
    return (command_named(name), words[2:]) if name else None
