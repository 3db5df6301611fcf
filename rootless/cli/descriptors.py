"""The columns of `top`: names, headings and codes as ps(1) and Podman have them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from rootless.cli.output import go_time
from rootless.cli.times import go_duration
from rootless.engine.processes import TICKS, Names, Process
from rootless.errors import UsageError
from rootless.kernel.capabilities import last_capability, names

DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")
_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}
_PTS = range(136, 144)  # major numbers of pseudo-terminals: devices.txt of the kernel


@dataclass(frozen=True, slots=True)
class Context:
    """What a column needs beside the process: names of the container, the moment (Unix seconds), seconds since boot."""

    names: Names
    now: float
    uptime: float

    def age(self, process: Process) -> float:
        return max(0.0, self.uptime - process.started / TICKS)


Column = Callable[[Process, Context], str]


def _host_user(number: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _host_group(number: int) -> str:
    import grp

    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _id(field: str, which: int) -> Callable[[Process], int]:
    """Real (0) or effective (1) ids of /proc/PID/status, as the host sees them."""
    return lambda process: int(process.status[field].split()[which])


_EUID, _RUID = _id("Uid", 1), _id("Uid", 0)
_EGID, _RGID = _id("Gid", 1), _id("Gid", 0)


def _groups(process: Process) -> list[int]:
    return [int(word) for word in process.status.get("Groups", "").split()]


def _capabilities(field: str) -> Column:
    def column(process: Process, context: Context) -> str:
        mask = int(process.status.get(field, "0"), 16)
        if mask == 0:
            return "none"
        if mask == (2 << last_capability()) - 1:
            return "full"
        return ",".join(name.removeprefix("CAP_") for name in names(mask))

    return column


def _tty(process: Process, context: Context) -> str:
    if process.tty == 0:
        return "?"
    major, minor = os.major(process.tty), os.minor(process.tty)
    return f"pts/{minor + (major - _PTS.start) * 256}" if major in _PTS else f"{major}:{minor}"


def _args(process: Process, context: Context) -> str:
    return " ".join(process.args) or f"[{process.comm}]"


def _share(process: Process, context: Context) -> str:
    age = context.age(process)
    return f"{100 * process.cpu / TICKS / age if age else 0:.3f}"


def _label(process: Process, context: Context) -> str:
    try:
        with open(f"/proc/{process.host_pid}/attr/current") as file:
            return file.read().rstrip("\0\n") or "?"
    except OSError:
        return "?"


COLUMNS: dict[str, tuple[str, Column]] = {
    "args": ("COMMAND", _args),
    "capamb": ("AMBIENT CAPS", _capabilities("CapAmb")),
    "capbnd": ("BOUNDING CAPS", _capabilities("CapBnd")),
    "capeff": ("EFFECTIVE CAPS", _capabilities("CapEff")),
    "capinh": ("INHERITED CAPS", _capabilities("CapInh")),
    "capprm": ("PERMITTED CAPS", _capabilities("CapPrm")),
    "comm": ("COMMAND", lambda process, context: process.comm),
    "etime": ("ELAPSED", lambda process, context: go_duration(context.age(process))),
    "group": ("GROUP", lambda process, context: context.names.group(_EGID(process))),
    "groups": ("GROUPS", lambda process, context: ",".join(map(context.names.group, _groups(process)))),
    "hgroup": ("HGROUP", lambda process, context: _host_group(_EGID(process))),
    "hgroups": ("HGROUPS", lambda process, context: ",".join(map(_host_group, _groups(process)))),
    "hpid": ("HPID", lambda process, context: str(process.host_pid)),
    "huid": ("HUID", lambda process, context: str(_EUID(process))),
    "huser": ("HUSER", lambda process, context: _host_user(_EUID(process))),
    "label": ("LABEL", _label),
    "nice": ("NI", lambda process, context: str(process.nice)),
    "pcpu": ("%CPU", _share),
    "pgid": ("PGID", lambda process, context: str(process.group)),
    "pid": ("PID", lambda process, context: str(process.pid)),
    "ppid": ("PPID", lambda process, context: str(process.parent)),
    "rgroup": ("RGROUP", lambda process, context: context.names.group(_RGID(process))),
    "rss": ("RSS", lambda process, context: str(process.memory >> 10)),
    "ruser": ("RUSER", lambda process, context: context.names.user(_RUID(process))),
    "seccomp": ("SECCOMP", lambda process, context: _SECCOMP.get(process.status.get("Seccomp", ""), "?")),
    "state": ("STATE", lambda process, context: process.state),
    "stime": ("STIME", lambda process, context: go_time(context.now - context.age(process))),
    "time": ("TIME", lambda process, context: go_duration(process.cpu / TICKS)),
    "tty": ("TTY", _tty),
    "uid": ("UID", lambda process, context: str(context.names.inside("uid", _EUID(process)))),
    "user": ("USER", lambda process, context: context.names.user(_EUID(process))),
    "vsz": ("VSZ", lambda process, context: str(process.virtual >> 10)),
}
_CODES = {
    "%C": "pcpu",
    "%G": "group",
    "%P": "ppid",
    "%U": "user",
    "%a": "args",
    "%c": "comm",
    "%g": "rgroup",
    "%n": "nice",
    "%p": "pid",
    "%r": "pgid",
    "%t": "etime",
    "%u": "ruser",
    "%x": "time",
    "%y": "tty",
    "%z": "vsz",
}


def chosen(words: list[str]) -> list[str]:
    """Names of columns from what was typed: descriptors and codes, apart or with commas. Raises UsageError."""
    found = [_CODES.get(name, name) for word in words for name in word.split(",") if name]
    for name in found:
        if name not in COLUMNS:
            raise UsageError(f"top: there is no column {name!r}", "there are: " + " ".join(COLUMNS))
    return found or list(DEFAULT)


def table_of(processes: list[Process], columns: list[str], names: Names) -> list[list[str]]:
    """The heading, and a row for each process."""
    with open("/proc/uptime") as file:
        context = Context(names, time.time(), float(file.read().split()[0]))
    rows = [[COLUMNS[name][0] for name in columns]]
    return rows + [[COLUMNS[name][1](process, context) for name in columns] for process in processes]
