"""What few containers ask for: namespaces shared with the host, devices, kernel settings, the time zone, and the like.

Each changes the OCI configuration that `engine.spec` has made. Loaded where one of these options is used; it checks
everything that can be checked before anything is written.
"""

from __future__ import annotations

import os
import stat

from rootless.engine.bundle import GROUPS
from rootless.errors import NotFoundError, UsageError
from rootless.kernel.namespaces import CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWUTS
from rootless.runtime.users import KEEP_GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest

    Config = dict[str, Any]

_ZONES = "/usr/share/zoneinfo"
_LARGEST_ID = 0x7FFFFFFF
_IPC_SETTINGS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_PERSONALITIES = ("LINUX", "LINUX32")
_WORDS = {
    "ipc": ("host", "private", "shareable", "none"),
    "uts": ("host", "private"),
    "cgroupns": ("host", "private"),
    "pid": ("private",),
}
_FLAGS = {"ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "cgroupns": CLONE_NEWCGROUP}


def shared_namespaces(request: CreateRequest) -> int:
    """CLONE_NEW* of the namespaces that the container has in common with the host. Raises UsageError."""
    shared = 0
    for option, words in _WORDS.items():
        word = getattr(request, option)
        if word and word not in words:
            hint = f"one of: {' '.join(words)}"
            if option == "pid":
                hint = "every container has a pid namespace of its own, by which its processes are found and ended"
            raise UsageError(f"--{option} {word}: not supported", hint)
        if word == "host":
            shared |= _FLAGS[option]
    return shared


def apply(request: CreateRequest, config: Config, mode: str) -> None:
    """Change the configuration as the request says. `mode`: the network's. Raises UsageError, NotFoundError."""
    process, linux = config["process"], config["linux"]
    shared = shared_namespaces(request)
    _share(request, config, shared)
    config["annotations"] |= parse_annotations(request.annotation)
    if request.domainname:
        if shared & CLONE_NEWUTS:
            raise UsageError("--domainname with --uts host: the host's domain name is not the container's to set")
        config["domainname"] = request.domainname
    names = [text for text in request.group_add if not text.isdigit()]
    if names:
        _check_groups(request.group_add)
        config["annotations"][GROUPS] = ",".join(names)
    if request.umask is not None:
        process["user"]["umask"] = parse_umask(request.umask)
    if request.oom_score_adj is not None:
        process["oomScoreAdj"] = _oom_score(request.oom_score_adj)
    if request.personality is not None:
        if request.personality not in _PERSONALITIES:
            raise UsageError(
                f"--personality {request.personality}: there is none such", f"one of: {' '.join(_PERSONALITIES)}"
            )
        linux["personality"] = {"domain": request.personality}
    if request.sysctl:
        linux["sysctl"] = sysctls(request.sysctl, mode, shared)
    config["mounts"] += [mount for text in request.device for mount in devices(text)]
    if request.tz:
        config["mounts"].append(zone_mount(request.tz))


def _share(request: CreateRequest, config: Config, shared: int) -> None:
    """What is mounted of the namespaces that are the host's: new mounts of them are not ours to make."""
    gone = []
    if shared & CLONE_NEWUTS:
        gone.append("uts")
        if request.hostname:
            raise UsageError("--hostname with --uts host: the host's name is not the container's to set")
    binds: dict[str, str] = {}
    if shared & CLONE_NEWIPC:
        if request.shm_size:
            raise UsageError("--shm-size with --ipc host: /dev/shm is the host's")
        gone.append("ipc")
        binds |= {"/dev/shm": "/dev/shm", "/dev/mqueue": "/dev/mqueue"}
    if shared & CLONE_NEWCGROUP:
        gone.append("cgroup")
        binds["/sys/fs/cgroup"] = "/sys/fs/cgroup"
    kinds = {"mqueue", "cgroup"}
    mounts = []
    for mount in config["mounts"]:
        place = mount["destination"]
        ours = mount["type"] in kinds or mount.get("source") == "shm"
        if ours and place in binds:
            if not os.path.isdir(binds[place]):
                continue
            access = [word for word in mount["options"] if word == "ro"]
            options = ["rbind", "rprivate", "nosuid", "noexec", "nodev", *access]
            mount = {"destination": place, "type": "bind", "source": binds[place], "options": options}
        elif ours and place == "/dev/shm" and request.ipc == "none":
            continue
        mounts.append(mount)
    config["mounts"] = mounts
    namespaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] not in gone]


def parse_annotations(given: list[str]) -> dict[str, str]:
    """`--annotation KEY=VALUE` as a mapping. Raises UsageError."""
    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"--annotation {text!r}: not KEY=VALUE")
        if key.startswith("org.rootless."):
            raise UsageError(f"--annotation {text!r}: keys that begin with org.rootless. are the engine's own")
        found[key] = value
    return found


def _check_groups(given: list[str]) -> None:
    if KEEP_GROUPS in given and len(given) > 1:
        raise UsageError("--group-add keep-groups: it cannot go with other groups", "leave the other --group-add out")
    for name in given:
        if not name or any(character in name for character in ",:\n"):
            raise UsageError(f"--group-add {name!r}: not the name of a group")


def parse_umask(text: str) -> int:
    """`--umask 0022`. Raises UsageError."""
    if not (text and len(text) <= 4 and set(text) <= set("01234567")):
        raise UsageError(f"--umask {text!r}: not an octal number up to 0777", "write it like 0022")
    mask = int(text, 8)
    if mask > 0o777:
        raise UsageError(f"--umask {text!r}: not an octal number up to 0777", "write it like 0022")
    return mask


def _oom_score(wanted: int) -> int:
    if not -1000 <= wanted <= 1000:
        raise UsageError(f"--oom-score-adj {wanted}: not between -1000 and 1000")
    with open("/proc/self/oom_score_adj", "rb", buffering=0) as file:
        own = int(file.read())
    return max(wanted, own)  # as Podman: a user may not make it likelier than before that others are killed


def sysctls(given: list[str], mode: str, shared: int) -> dict[str, str]:
    """`--sysctl NAME=VALUE` as a mapping, for namespaces that are the container's own. Raises UsageError."""
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip().replace("/", ".")
        if not equals or ".." in name or not name.translate({45: "", 46: "", 95: ""}).isalnum():  # - . _
            raise UsageError(f"--sysctl {text!r}: not NAME=VALUE")
        where = f"--sysctl {text}"
        if name.startswith("net."):
            if mode == "host":
                raise UsageError(f"{where}: with --network host it would be the host's setting")
        elif name.startswith(_IPC_SETTINGS):
            if shared & CLONE_NEWIPC:
                raise UsageError(f"{where}: with --ipc host it would be the host's setting")
        elif name in ("kernel.domainname", "kernel.hostname"):
            raise UsageError(f"{where}: not a setting to write", f"use --{name.partition('.')[2]}")
        else:
            raise UsageError(
                f"{where}: it is no setting of a namespace, so it would be the host's",
                "settings of containers: net.*, kernel.msg*, kernel.sem, kernel.shm*, fs.mqueue.*",
            )
        found[name] = value.strip()
    return found


def split_device(text: str) -> tuple[str, str, str]:
    """(path on the host, path in the container, rights) of `--device`. Raises UsageError."""
    words = text.split(":")
    rights = words.pop() if len(words) > 1 and words[-1] and set(words[-1]) <= set("rwm") else "rwm"
    if len(words) > 2 or not all(word.startswith("/") and len(word) > 1 for word in words):
        raise UsageError(f"--device {text}: not a device", "write it like /dev/fuse, or /dev/sdb:/dev/disk:r")
    return words[0], words[-1].rstrip("/"), rights


def devices(text: str) -> list[Config]:
    """The mounts of `--device HOST[:CONTAINER][:rwm]`; a directory stands for all devices in it.

    Raises UsageError, NotFoundError.
    """
    source, place, rights = split_device(text)
    where = f"--device {text}"
    try:
        kind = os.stat(source).st_mode
    except OSError as error:
        raise NotFoundError(f"{where}: {error.strerror}") from None
    if stat.S_ISDIR(kind):
        found = []
        for directory, below, names in os.walk(source):
            below.sort()
            for name in sorted(names):
                path = f"{directory}/{name}"
                if _is_device(path):
                    found.append((path, place + path[len(source.rstrip("/")) :]))
        if not found:
            raise UsageError(f"{where}: there are no devices in that directory")
    elif _is_device(source):
        found = [(source, place)]
    else:
        raise UsageError(f"{where}: it is not a device", "use --volume for files and directories")
    for path, _ in found:
        if not os.access(path, (os.R_OK if "r" in rights else 0) | (os.W_OK if "w" in rights else 0)):
            raise UsageError(
                f"{where}: you may not open {path} ({rights})",
                "a container has the rights of the user who starts it: see the device's group, or ask for :r alone",
            )
    options = ["bind", "rprivate", "nosuid", "noexec", *([] if "w" in rights else ["ro"])]
    return [{"destination": inside, "type": "bind", "source": path, "options": options} for path, inside in found]


def _is_device(path: str) -> bool:
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISCHR(kind) or stat.S_ISBLK(kind)


def zone_mount(name: str) -> Config:
    """The mount that gives the container a time zone: `Europe/Berlin`, or `local` for the host's own.

    Raises UsageError, NotFoundError.
    """
    if name == "local":
        source = os.path.realpath("/etc/localtime")
    elif name.startswith("/") or ".." in name.split("/"):
        raise UsageError(f"--tz {name}: not a time zone", "write it like Europe/Berlin, or local")
    else:
        source = os.path.realpath(f"{_ZONES}/{name}")
    if not os.path.isfile(source):
        raise NotFoundError(f"--tz {name}: the host has no such time zone", f"ls {_ZONES} (package tzdata)")
    return {
        "destination": "/etc/localtime",
        "type": "bind",
        "source": source,
        "options": ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"],
    }
