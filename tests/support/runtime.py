"""Containers started through rootless.runtime directly, on a busybox root directory, without store or engine.

A launch needs a process with one thread, so each one happens in a process of its own: `launch` starts that, which
starts the container, and hands back what came of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rootless.errors import RootlessError
from rootless.kernel.capabilities import DEFAULT
from rootless.kernel.idmaps import default_user_map
from rootless.kernel.namespaces import KINDS
from rootless.runtime.enter import enter
from rootless.runtime.launch import Launch, begin
from tests.support.images import BUSYBOX, GROUP, PASSWD, applets

REPOSITORY = Path(__file__).resolve().parents[2]

# All but the time namespace, which is for those who ask.
PRIVATE = sum(flag for kind, flag in KINDS.items() if kind != "time")

MASKED = [
    "/proc/acpi",
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
]
READ_ONLY = ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def make_rootfs(place: Path) -> Path:
    """A directory with busybox, its applets, and a few users."""
    for directory in ("bin", "etc", "tmp", "root", "home/alice"):
        (place / directory).mkdir(parents=True)
    (place / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, place / "bin/busybox")
    for applet in applets():
        (place / "bin" / applet).symlink_to("busybox")
    (place / "etc/passwd").write_text(PASSWD)
    (place / "etc/group").write_text(GROUP)
    return place


def mount(destination: str, fstype: str, *options: str, source: str | None = None) -> dict[str, Any]:
    return {"destination": destination, "type": fstype, "source": source or fstype, "options": list(options)}


def bind(source: Path | str, destination: str, *options: str) -> dict[str, Any]:
    return mount(destination, "bind", *(options or ("rbind",)), source=str(source))


def default_mounts() -> list[dict[str, Any]]:
    return [
        mount("/proc", "proc", "nosuid", "noexec", "nodev"),
        mount("/dev", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
        mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
        mount("/dev/shm", "tmpfs", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k", source="shm"),
        mount("/sys/fs/cgroup", "cgroup", "rprivate", "nosuid", "noexec", "nodev", "relatime", "ro"),
    ]


def config(rootfs: Path, *args: str, mounts: list[dict[str, Any]] | None = None, **process: Any) -> dict[str, Any]:
    """An OCI configuration as the engine writes it; keyword arguments are fields of the process object."""
    caps = list(DEFAULT)
    return {
        "ociVersion": "1.0.2",
        "hostname": "box",
        "root": {"path": str(rootfs), "readonly": False},
        "process": {
            "terminal": False,
            "args": list(args),
            "cwd": "/",
            "env": ["PATH=/bin"],
            "user": {"uid": 0, "gid": 0},
            "capabilities": {"bounding": caps, "effective": caps, "permitted": caps},
            **process,
        },
        "mounts": default_mounts() + (mounts or []),
        "linux": {"maskedPaths": MASKED, "readonlyPaths": READ_ONLY},
    }


@dataclass
class Outcome:
    """What a launch came to: output and exit code of the container, or the error that the launch raised."""

    code: int = 0
    out: str = ""
    err: str = ""
    error: str | None = None
    kind: str | None = None
    hint: str | None = None
    warnings: list[str] = field(default_factory=list)
    terminal: str = ""
    entered: list[dict[str, Any]] = field(default_factory=list)


def launch(
    cfg: dict[str, Any],
    *,
    flags: int = PRIVATE,
    plan: dict[str, Any] | None = None,
    enters: list[dict[str, Any]] | None = None,
    stdin: Any = subprocess.DEVNULL,
    wrapper: tuple[str, ...] = (),
    timeout: float = 30,
    executable: str = sys.executable,
    **more: Any,
) -> Outcome:
    """Start a container and wait for its end. `wrapper` is a command line put before the interpreter's (`executable`).

    With `enters` (keyword arguments of `enter`, "process" among them) these run in it one after the other, then it is
    killed; `Outcome.entered` has what each came to, its output under "out".
    """
    plan = dict(plan or {})
    if "seccomp" in plan:
        plan["seccomp"] = plan["seccomp"].hex()
    request = {"config": cfg, "flags": flags, "plan": plan, "enters": enters or []}
    reader, writer = os.pipe()
    asked = os.memfd_create("request")  # longer than an argument may be
    os.write(asked, json.dumps(request).encode())
    os.lseek(asked, 0, os.SEEK_SET)
    more.setdefault("pass_fds", ())
    try:
        done = subprocess.run(
            [*wrapper, executable, "-m", "tests.support.runtime", str(writer), str(asked)],
            stdin=stdin,
            capture_output=True,
            timeout=timeout,
            cwd=REPOSITORY,
            **{**more, "pass_fds": (writer, asked, *more["pass_fds"])},
        )
    finally:
        os.close(writer)
        os.close(asked)
    with open(reader, "rb") as pipe:
        report = pipe.read()
    if not report:
        raise AssertionError(f"the launching process failed ({done.returncode}): {done.stderr.decode()}")
    return Outcome(
        out=done.stdout.decode(errors="replace"), err=done.stderr.decode(errors="replace"), **json.loads(report)
    )


def _drain(master: int) -> str:
    output = b""
    with contextlib.suppress(OSError):
        while part := os.read(master, 4096):
            output += part
    return output.decode(errors="replace")


def _enter(started: Launch, arguments: dict[str, Any]) -> dict[str, Any]:
    reader, writer = os.pipe()
    try:
        entered = enter(started.init_pid, started.pidfd, stdio=[None, writer, writer], **arguments)
    except RootlessError as error:
        return {"code": error.exit_code, "error": error.message, "kind": type(error).__name__, "out": ""}
    finally:
        os.close(writer)
    if entered.terminal is not None:
        output = _drain(entered.terminal)
    else:
        with open(reader, "rb") as pipe:
            output = pipe.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(os.waitpid(entered.pid, 0)[1])
    return {"code": code, "out": output, "error": None, "warnings": entered.warnings}


def main(report: int, request: dict[str, Any]) -> None:
    os.set_inheritable(report, False)
    outcome: dict[str, Any] = {}
    plan = request["plan"]
    if "seccomp" in plan:
        plan["seccomp"] = bytes.fromhex(plan["seccomp"])
    try:
        started = begin(request["flags"])
        started.map_ids(default_user_map())
        started.send({"config": request["config"], **plan})
        master = started.wait_prepared()
        started.execute()
        if master is not None:
            outcome["terminal"] = _drain(master)
        if request["enters"]:
            outcome["entered"] = [_enter(started, one) for one in request["enters"]]
            os.kill(started.init_pid, 9)
        outcome["code"] = os.waitstatus_to_exitcode(os.waitpid(started.init_pid, 0)[1])
        outcome["warnings"] = started.warnings
    except RootlessError as error:
        outcome |= {"code": error.exit_code, "error": error.message, "kind": type(error).__name__, "hint": error.hint}
    os.write(report, json.dumps(outcome).encode())


if __name__ == "__main__":
    with open(int(sys.argv[2]), "rb") as asked:
        main(int(sys.argv[1]), json.loads(asked.read()))
