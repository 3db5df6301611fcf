"""Limits of a container, and where its control group lies. Loaded where one of them is asked for."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable

from rootless.engine.cgroups import HINT, MODES, name_of, scope
from rootless.engine.cgroups.limits import Limit, limits_of
from rootless.engine.records import Container
from rootless.engine.request import CreateRequest
from rootless.errors import ConflictError, KernelError, RootlessError, UsageError
from rootless.kernel import cgroups

_PATIENCE = 2.0  # seconds for a group to become empty
_PAUSE = 0.002


def check(request: CreateRequest) -> None:
    """Whether what is asked for makes sense, and can be had here. Raises UsageError, RootlessError."""
    if request.cgroups is not None and request.cgroups not in MODES:
        raise UsageError(f"--cgroups {request.cgroups}: not supported", f"one of: {' '.join(MODES)}")
    if not request.confined:
        return
    if request.cgroups == "disabled":
        raise UsageError("--cgroups disabled contradicts limits and --cgroup-parent", "leave one of them out")
    if request.cgroup_parent and request.cgroups == "split":
        raise UsageError("--cgroups split contradicts --cgroup-parent", "leave one of them out")
    limits = limits_of(request)
    parent = request.cgroup_parent
    if parent and not parent.endswith(".slice"):
        _check_controllers(_parent(parent), limits)
    elif not scope.address():
        base = cgroups.delegated(cgroups.directory_of())
        if parent or not base:
            raise _refusal("there is no control group that is ours")
        _check_controllers(base, limits)


def _refusal(why: str) -> RootlessError:
    return RootlessError(f"limiting what a container uses: {why}", HINT)


def _parent(path: str) -> str:
    """The directory of a group that was named as the kernel does."""
    place = cgroups.mounted()
    if place is None:
        raise _refusal("control groups of version 2 are not mounted here")
    parts = path.split("/")
    if not path.startswith("/") or ".." in parts:
        hint = "a group, like /user.slice/mine, or a slice of your systemd, like mine.slice"
        raise UsageError(f'--cgroup-parent "{path}": not the name of a group', hint)
    top, root = place
    directory = top + "/" + path.removeprefix(root.rstrip("/")).strip("/")
    above = directory if os.path.isdir(directory) else os.path.dirname(directory)
    if not os.access(f"{above}/cgroup.procs", os.W_OK) or not cgroups.can_join(above):
        raise RootlessError(f"--cgroup-parent {path}: we may not move processes there", HINT)
    return directory


def _check_controllers(base: str, limits: Iterable[Limit]) -> None:
    above = base
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    there = cgroups.read(above, "cgroup.controllers").split()
    missing = sorted({limit.controller for limit in limits} - {*there})
    if missing:
        raise _refusal(f"not delegated to us: {', '.join(missing)}")


def move(container_id: str, pid: int, group: str, request: CreateRequest) -> str:
    """Put pid 1 of a container that is about to run where it belongs; the directory of its group, not limited yet.

    `group`: the one that it has by now, "" for none. Raises RootlessError.
    """
    limits = limits_of(request)
    parent = request.cgroup_parent
    if group:
        try:
            _check_controllers(group.rpartition("/")[0], limits)
        except RootlessError:
            if not scope.address():
                raise
        else:
            return group
    name = name_of(container_id)
    if parent and not parent.endswith(".slice"):
        directory = _parent(parent)
        _check_controllers(directory, limits)
        cgroups.make(directory)
        inside = f"{directory}/{name}"
        cgroups.make(inside)
        try:
            cgroups.join(inside, pid)
        except OSError as error:
            cgroups.remove(inside)
            raise KernelError(f"moving the container into {inside}: {error.strerror}", HINT) from None
        return inside
    try:
        inside = scope.start(name, pid, parent)
    except KernelError as error:
        raise _refusal(f"{error}") from None
    if group:
        cgroups.remove(group)
    return inside


def limit(group: str, request: CreateRequest) -> None:
    """Have a group keep the limits of a request. Raises RootlessError."""
    limits = limits_of(request)
    base = group.rpartition("/")[0]
    _check_controllers(base, limits)
    enable(base, {limit.controller for limit in limits})
    write(group, limits)


def enable(directory: str, controllers: set[str]) -> None:
    """Have controllers work in the groups below a group. Those of its processes that are not in one of these, which the
    kernel does not allow then, move into one of their own. Raises KernelError."""
    wanted = controllers - set(cgroups.read(directory, "cgroup.subtree_control").split())
    if not wanted:
        return
    words = " ".join(f"+{name}" for name in sorted(wanted))
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            cgroups.write(directory, "cgroup.subtree_control", words)
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise KernelError(
                    f"enabling {words} in the control group {directory}: {error.strerror}", HINT
                ) from None
        _clear_out(directory)


def _clear_out(directory: str) -> None:
    leaf = f"{directory}/{cgroups.LEAF}"
    cgroups.make(leaf)
    for word in cgroups.read(directory, "cgroup.procs").split():
        try:
            cgroups.join(leaf, int(word))
        except ProcessLookupError:
            continue
        except OSError as error:
            raise KernelError(f"moving process {word} into the control group {leaf}: {error.strerror}", HINT) from None
    time.sleep(_PAUSE)


def write(group: str, limits: list[Limit]) -> None:
    """Set limits of a group. Raises KernelError."""
    for limit in limits:
        file, value = limit.file, limit.value
        if limit.instead is not None and not os.path.exists(f"{group}/{file}"):
            file, value = limit.instead
        try:
            cgroups.write(group, file, value)
        except FileNotFoundError:
            if limit.optional:
                continue
            raise _refusal(f"the kernel has no {file} here") from None
        except OSError as error:
            raise _refusal(f"writing {value} into {file}: {error.strerror}") from None


def change(container: Container, request: CreateRequest) -> None:
    """Set the limits of a container that runs as `request` has them now. Raises RootlessError, ConflictError where it
    has no group that could take them."""
    limits_of(request)
    if not container.cgroup:
        raise ConflictError(
            f"updating {container.name}: it was started without a control group of its own",
            f"rootless stop {container.name}, then update it and start it again ({HINT})",
        )
    limit(container.cgroup, request)
