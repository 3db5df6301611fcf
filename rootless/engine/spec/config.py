"""From a request and an image to the OCI runtime configuration (config.json) of a container.

Pure: nothing is read but the environment and the files that options name, nothing is written.
"""

from __future__ import annotations

import os

from rootless.engine.bundle import DEFAULT_SHM_SIZE, SECCOMP
from rootless.errors import UsageError
from rootless.kernel.capabilities import CAPS, DEFAULT, last_capability

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.request import CreateRequest

    Config = dict[str, Any]

# Variables that say how programs reach the network, passed on unless --http-proxy=false.
PROXIES = (
    "http_proxy",
    "https_proxy",
    "ftp_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# What Docker and Podman hide of the kernel: facts that identify the host, switches that affect it.
MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def arguments(request: CreateRequest, image: Config) -> list[str]:
    """The command line of pid 1: the entry point, then the command. Raises UsageError where there is none."""
    entrypoint = image.get("Entrypoint") or []
    command = request.command
    if request.entrypoint is not None:
        entrypoint = parse_entrypoint(request.entrypoint)
    elif not command:
        command = image.get("Cmd") or []
    line = [*entrypoint, *command]
    if not line:
        raise UsageError("there is no command: the image names none", "write one behind the image's name")
    if not line[0]:
        raise UsageError("the command is empty", "write one behind the image's name")
    return line


def parse_entrypoint(text: str) -> list[str]:
    """`--entrypoint`: a command, or a JSON list of it and its first arguments; "" takes the image's away."""
    if text.startswith("["):
        from rootless.jsontext import loads

        try:
            words = loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return [text] if text else []


def environment(request: CreateRequest, image: Config, hostname: str) -> list[str]:
    """NAME=VALUE lines: ours, then the image's, then the user's; later ones win, order is kept."""
    values = {"PATH": PATH, "container": "rootless"}
    if request.tty:
        values["TERM"] = "xterm"
    for line in (*request.default_env, *(image.get("Env") or [])):
        name, _, value = line.partition("=")
        values[name] = value
    if request.shapes_environment:
        from rootless.engine.spec.environment import shape

        shape(request, values)
    if request.http_proxy is not False:
        for name in PROXIES:
            if name in os.environ:
                values[name] = os.environ[name]
    for line in request.env:
        name, _, value = line.partition("=")
        values[name] = value
    values.setdefault("HOSTNAME", hostname)
    return [f"{name}={value}" for name, value in values.items()]


def capabilities(request: CreateRequest) -> list[str]:
    """Names of the capabilities that the container may have. Raises UsageError for unknown ones."""
    known = all_capabilities()
    names = set(known if request.privileged else DEFAULT)
    if request.cap_add or request.cap_drop:
        added = [_capability(text) for text in request.cap_add]
        dropped = [_capability(text) for text in request.cap_drop]
        if "ALL" in added:
            names = set(known)
        if "ALL" in dropped:
            names = set()
        names |= {name for name in added if name != "ALL"}
        names -= {name for name in dropped if name != "ALL"}
    return [name for name in known if name in names]


def all_capabilities() -> list[str]:
    """Names of all capabilities that this kernel knows."""
    last = last_capability()
    return [name for name, number in CAPS.items() if number <= last]


def _capability(text: str) -> str:
    name = text.upper()
    if name == "ALL":
        return name
    if not name.startswith("CAP_"):
        name = "CAP_" + name
    if name not in CAPS:
        raise UsageError(f"capability {text}: there is none of that name", "see capabilities(7), or use ALL")
    return name


class Security:
    """What the `--security-opt`s say: `no_new_privileges`, `seccomp` (None: the default profile, "unconfined", a file),
    `masked`, `read_only` paths, `proc`: mount options of /proc."""

    __slots__ = ("masked", "no_new_privileges", "proc", "read_only", "seccomp")

    def __init__(self, request: CreateRequest) -> None:
        self.no_new_privileges = False
        self.proc: list[str] = []
        self.seccomp: str | None = "unconfined" if request.privileged else None
        self.masked = [] if request.privileged else list(MASKED)
        self.read_only = [] if request.privileged else list(READ_ONLY)
        for option in request.security_opt:
            self._apply(option)

    def _apply(self, option: str) -> None:
        key, separator, value = option.partition("=")
        if not separator:
            key, separator, value = option.partition(":")
        where = f"--security-opt {option}"
        if key == "no-new-privileges" and value in ("", "true", "false"):
            self.no_new_privileges = value != "false"
        elif key == "seccomp" and value:
            self.seccomp = value
        elif key == "proc-opts" and value:
            self.proc += value.split(",")
        elif key == "mask" and value:
            self.masked += [_absolute(path, where) for path in value.split(":")]
        elif key == "unmask" and value:
            for path in value.split(":"):
                self._unmask(path, where)
        elif key == "systempaths" and value == "unconfined":  # Docker's word for unmask=ALL
            self.masked, self.read_only = [], []
        elif key == "label" and value == "disable":
            pass  # no labels are applied
        elif key == "apparmor" and value == "unconfined":
            pass  # no profile is applied
        else:
            raise UsageError(
                f"{where}: not supported",
                "known: no-new-privileges, seccomp=unconfined|FILE, mask=PATHS, unmask=ALL|PATHS, proc-opts=OPTIONS,"
                " systempaths=unconfined, label=disable, apparmor=unconfined",
            )

    def _unmask(self, path: str, where: str) -> None:
        if path.upper() == "ALL":
            self.masked, self.read_only = [], []
            return
        prefix = _absolute(path, where).rstrip("*").rstrip("/")

        def stays(one: str) -> bool:
            return one != prefix and not (path.endswith("*") and one.startswith(prefix))

        self.masked = [one for one in self.masked if stays(one)]
        self.read_only = [one for one in self.read_only if stays(one)]


def _absolute(path: str, where: str) -> str:
    if not path.startswith("/"):
        raise UsageError(f"{where}: {path!r} is not an absolute path")
    return path


def _rlimits(request: CreateRequest) -> list[dict[str, Any]]:
    if not request.ulimit:
        return []
    from rootless.engine.spec.ulimits import rlimits

    return rlimits(request.ulimit)


def size_in_bytes(text: str, where: str) -> int:
    """`64m`, `1g`, `65536`, `1.5GiB` in bytes. Raises UsageError."""
    number = text.lower().rstrip("ib")
    unit = {"k": 10, "m": 20, "g": 30, "t": 40}.get(number[-1:], 0)
    try:
        size = int(float(number[:-1] if unit else number) * (1 << unit))
    except (ValueError, OverflowError):
        size = -1
    if size < 0:
        raise UsageError(f"{where}: {text!r} is not a size", "write it like 64m or 1g")
    return size


def base_mounts(request: CreateRequest, mode: str, single_id: bool, proc: list[str]) -> list[dict[str, Any]]:
    """The file systems that every container has. `mode`: its network; `proc`: more options of /proc."""
    shm = size_in_bytes(request.shm_size, "--shm-size") if request.shm_size else DEFAULT_SHM_SIZE
    access = [] if request.privileged else ["ro"]
    terminals = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not single_id:
        terminals.append("gid=5")
    sys: dict[str, Any] = {
        "destination": "/sys",
        "type": "sysfs",
        "source": "sysfs",
        "options": ["nosuid", "noexec", "nodev", *access],
    }
    if mode == "host":  # a sysfs shows the network of who mounts it: the host's is not ours to mount
        sys = {
            "destination": "/sys",
            "type": "bind",
            "source": "/sys",
            "options": ["rbind", "rslave", "nosuid", "noexec", "nodev", *access],
        }
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev", *proc]},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
        },
        sys,
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": terminals},
        {
            "destination": "/dev/mqueue",
            "type": "mqueue",
            "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/dev/shm",
            "type": "tmpfs",
            "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", f"size={shm}"],
        },
    ]
    if mode != "host":
        mounts.append(
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", *access],
            }
        )
    if request.read_only and request.read_only_tmpfs is False:
        for mount in mounts:
            if mount["destination"] in ("/dev", "/dev/shm"):
                mount["options"].append("ro")
    elif request.read_only:  # as Podman: what programs cannot do without
        for path, mode_bits in (("/tmp", "1777"), ("/var/tmp", "1777"), ("/run", "755")):
            mounts.append(
                {
                    "destination": path,
                    "type": "tmpfs",
                    "source": "tmpfs",
                    "options": ["nosuid", "nodev", "tmpcopyup", f"mode={mode_bits}"],
                }
            )
    return mounts


def build(
    request: CreateRequest,
    image: Config,
    *,
    hostname: str,
    rootfs: str,
    mode: str,
    single_id: bool,
    mounts: list[dict[str, Any]],
) -> dict[str, Any]:
    """The OCI configuration. `image` is the image's "config" object, `mounts` what comes on top of the base ones (a
    mount replaces a base mount of the same destination), `rootfs` where the root file system will be mounted.

    Raises UsageError for values that make no sense.
    """
    security = Security(request)
    names = capabilities(request)
    workdir = request.workdir or image.get("WorkingDir") or "/"
    if not workdir.startswith("/"):
        if request.workdir:
            raise UsageError(f'--workdir "{workdir}": not an absolute path')
        workdir = "/" + workdir
    process: dict[str, Any] = {
        "terminal": request.tty,
        "user": {"uid": 0, "gid": 0, "additionalGids": groups(request)},
        "args": arguments(request, image),
        "env": environment(request, image, hostname),
        "cwd": workdir,
        "capabilities": {"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []},
        "rlimits": _rlimits(request),
        "noNewPrivileges": security.no_new_privileges,
    }
    own = {mount["destination"] for mount in mounts}
    base = [mount for mount in base_mounts(request, mode, single_id, security.proc) if mount["destination"] not in own]
    namespaces = ["user", "mount", "pid", "ipc", "uts", "cgroup", *([] if mode == "host" else ["network"])]
    config: dict[str, Any] = {
        "ociVersion": "1.1.0",
        "process": process,
        "root": {"path": rootfs, "readonly": request.read_only},
        "hostname": hostname,
        "mounts": base + sorted(mounts, key=lambda mount: str(mount["destination"]).count("/")),
        "linux": {
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": security.masked,
            "readonlyPaths": security.read_only,
        },
        "annotations": {SECCOMP: security.seccomp} if security.seccomp else {},
    }
    if request.needs_particulars:
        from rootless.engine.spec.particulars import apply

        apply(request, config, mode)
    return config


def groups(request: CreateRequest) -> list[int]:
    """The numbers among `--group-add`; names are looked up in the image, by pid 1. Raises UsageError."""
    numbers = [int(text) for text in request.group_add if text.isascii() and text.isdigit()]
    for number in numbers:
        if number > 0x7FFFFFFF:
            raise UsageError(f"--group-add {number}: not a number between 0 and {0x7FFFFFFF}")
    return numbers
