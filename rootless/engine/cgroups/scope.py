"""Scopes of the user's systemd, which has control groups delegated to it: a container gets one of its own where it
needs limits and the command that starts it lies in none that is ours, as in a login session.
org.freedesktop.systemd1(5)."""

from __future__ import annotations

import os
import time

from rootless.engine.cgroups import IN_SCOPE
from rootless.engine.cgroups.userbus import Bus, Writer, named
from rootless.errors import KernelError
from rootless.kernel import cgroups

_SYSTEMD = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_INSIDE = IN_SCOPE.rpartition("/")[2]  # the scope's own files are systemd's
_PATIENCE = 10.0  # seconds
_PAUSE = 0.005


def address() -> str:
    """The socket of the user's bus; "" where there is none."""
    given = os.environ.get("DBUS_SESSION_BUS_ADDRESS", "")
    paths = [part[len("unix:path=") :].partition(",")[0] for part in given.split(";") if part.startswith("unix:path=")]
    paths.append(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}") + "/bus")
    usable = [path for path in paths if os.access(path, os.W_OK)]
    return usable[0] if usable and os.path.isdir("/run/systemd/system") else ""


def start(name: str, pid: int, parent: str | None) -> str:
    """Have a process in a new scope `name`.scope, in the slice `parent` where one is given; the directory of the group
    in it that the process is in then. Raises KernelError."""
    properties = [
        named("Description", "s", f"rootless container {name}"),
        named("PIDs", "au", [pid]),
        named("Delegate", "b", True),
        named("CollectMode", "s", "inactive-or-failed"),
    ]
    if parent:
        properties.append(named("Slice", "s", parent))
    unit = f"{name}.scope"
    body = Writer().string(unit).string("fail").array(8, properties).array(8, [])
    _call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(body.data))
    scope = _wait_for(pid, unit)
    inside = f"{scope}/{_INSIDE}"
    cgroups.make(inside)
    try:
        cgroups.join(inside, pid)
    except OSError as error:
        raise KernelError(f"moving a process into {inside}: {error.strerror}") from None
    # Else systemd, which may do here what we may, removes the group when its last process ends, before its count of the
    # killed is read.
    os.chmod(scope, 0o555)
    return inside


def release(inside: str) -> None:
    """Let the group of a container in a scope be removed."""
    try:
        os.chmod(os.path.dirname(inside), 0o755)
    except OSError:
        pass  # there is nothing left of it


def end_scope(inside: str) -> None:
    """Remove the scope of a group that is gone. Its unit goes first: systemd looks into the scope for whether it is
    empty, and it has given it up already where that could not be removed."""
    scope = os.path.dirname(inside)
    try:
        _call("StopUnit", "ss", bytes(Writer().string(os.path.basename(scope)).string("fail").data))
    except KernelError:
        try:
            os.rmdir(scope)
        except OSError:
            pass


def attach(directory: str, pid: int, needed: bool) -> None:
    """Have systemd move a process into the group of a container, which lies in a delegated unit. Raises KernelError
    where it cannot be, and that is `needed`."""
    place = directory
    while place and not place.endswith((".scope", ".service")):
        place = place.rpartition("/")[0]
    try:
        if not place:
            raise KernelError(f"entering the control group {directory}: it is not ours to enter from here")
        unit, below = place.rpartition("/")[2], directory[len(place) :]
        body = Writer().string(unit).string(below).array(4, [pid.to_bytes(4, "little")])
        _call("AttachProcessesToUnit", "ssau", bytes(body.data))
    except KernelError:
        if needed:
            raise


def _call(member: str, signature: str, body: bytes) -> None:
    where = address()
    if not where:
        raise KernelError("asking systemd for a control group: the user's systemd is not reachable")
    bus = Bus(where)
    try:
        bus.call(*_SYSTEMD, member, signature, body)
    finally:
        bus.close()


def _wait_for(pid: int, unit: str) -> str:
    """The directory of the unit once systemd has moved the process there."""
    deadline = time.monotonic() + _PATIENCE
    while not (directory := cgroups.directory_of(pid)).endswith("/" + unit):
        if time.monotonic() > deadline:
            raise KernelError(f"asking systemd for the scope {unit}: the process has not come into it")
        time.sleep(_PAUSE)
    return directory
