"""Subordinate ids: the entries of /etc/subuid and /etc/subgid, and the tools that put them to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from rootless.engine.doctor.finding import OK, PROBLEM, WARNING, Finding, as_root
from rootless.engine.hostfacts import read
from rootless.engine.programs import install_command
from rootless.errors import RootlessError
from rootless.kernel.idmaps import default_user_map, find_program, keeps_root_out, own_ids, privilege_of
from rootless.kernel.subids import (
    FILES,
    NSSWITCH,
    clip,
    names_another_source,
    parse_line,
    subordinate_ranges,
    user_name_of,
)
from rootless.kernel.userns import UserNamespace

# What images take for granted: ids up to nobody's, 65534.
ENOUGH = 65536
_FIRST = 100000

_TOOLS = {"newuidmap": "cap_setuid", "newgidmap": "cap_setgid"}


class Entry(NamedTuple):
    """A line of the file; `start` and `size` are 0 where it is malformed."""

    line: int
    owner: str
    start: int
    size: int


def check_tools() -> Iterator[Finding]:
    """newuidmap and newgidmap: installed, and with the privilege that makes them work."""
    for tool, capability in _TOOLS.items():
        path = find_program(tool)
        mend: tuple[str, ...]
        if path is None:
            yield Finding(
                tool,
                WARNING,
                "not installed (or not in PATH): containers have one user id only",
                (as_root(install_command("newuidmap")),),
            )
            continue
        trouble = privilege_of(path)
        if trouble is None:
            yield Finding(tool, OK, path)
        elif "nosuid" in trouble:
            mend = (as_root(f"mount -o remount,suid {_mount_point(path)}"),)
            yield Finding(tool, WARNING, f"{trouble}: containers have one user id only", mend)
        else:
            mend = (as_root(f"chown root:root {path}"), as_root(f"chmod 4755 {path}"))
            note = f"or, without set-user-ID: {as_root(f'setcap {capability}=ep {path}')}"
            yield Finding(tool, WARNING, f"{trouble}: containers have one user id only", mend, note)


def check_files() -> Iterator[Finding]:
    """The entries for this user, in both files, and what else is wrong in them."""
    uid = os.getuid()
    name = user_name_of(uid)
    other_source = names_another_source(read(NSSWITCH).encode())
    for kind, path in FILES.items():
        if other_source:
            yield from _check_answer(kind, name, uid)
        else:
            yield from _check_file(kind, path, name, uid)


def check_mapping() -> Iterator[Finding]:
    """Make a user namespace with all the ids that containers get."""
    user_map = default_user_map()
    if keeps_root_out(user_map):
        mend = ("su - NAME   # an ordinary user; contrib/start makes one",)
        yield Finding("id map", PROBLEM, "we are root, whose store the ids of containers cannot reach", mend)
        return
    try:
        UserNamespace.create(user_map).close()
    except RootlessError as error:
        yield Finding("id map", PROBLEM, error.message, ("see what is said of newuidmap, newgidmap and the files",))
        return
    ids = sum(count for _, _, count in user_map.uids)
    if user_map.single:
        yield Finding("id map", WARNING, f"one user id only: {user_map.reason}")
    else:
        yield Finding("id map", OK, f"{ids} user ids and {sum(row[2] for row in user_map.gids)} group ids, tried")


def _check_answer(kind: str, name: str, uid: int) -> Iterator[Finding]:
    check = f"subordinate {kind}s"
    count = sum(count for _, count in subordinate_ranges(kind, name, uid))
    if find_program("getsubids") is None:
        text = f"{NSSWITCH} names another source than files, and getsubids, which asks it, is not installed"
        yield Finding(check, WARNING, text, (as_root(install_command("newuidmap")),))
    elif count < ENOUGH:
        text = f"{count} for {name}, from the source that {NSSWITCH} names; images take {ENOUGH} for granted"
        yield Finding(check, WARNING, text, ("have whoever keeps that source give you more",))
    else:
        yield Finding(check, OK, f"{count}, from the source that {NSSWITCH} names")


def _check_file(kind: str, path: str, name: str, uid: int) -> Iterator[Finding]:
    check = f"subordinate {kind}s"
    entries = _entries(path)
    us = {name, str(uid)} - {""}
    mine = [entry for entry in entries if entry.owner in us]
    valid = [(entry.start, entry.size) for entry in mine if entry.size]
    own = os.getuid() if kind == "uid" else os.getgid()
    usable = clip(valid, own_ids(kind), [(own, 1)])
    total = sum(count for _, count in usable)
    sound = True
    for entry in entries:
        if entry.size:
            continue
        if entry.owner in us:
            sound = False
            yield Finding(
                check,
                WARNING,
                f"{path}, line {entry.line} is malformed and ignored (it must read {name or uid}:START:COUNT)",
                (as_root(f"sed -i {entry.line}d {path}"),),
            )
    foreign = _shared_with(mine, entries, us)
    if foreign is not None:
        sound = False
        ours, theirs = foreign
        yield Finding(
            check,
            WARNING,
            f"{path}, line {ours.line} overlaps line {theirs.line} of {theirs.owner}: "
            "each of you can touch the files of the other's containers",
            (as_root(f"sed -i {ours.line}d {path}"), _add_command(kind, name, entries)),
        )
    useless = _useless(valid, kind, own)
    if useless:
        sound = False
        yield Finding(
            check,
            WARNING,
            f"{path}: ranges of {name or uid} overlap, hold our own id, or do not exist in this container; "
            f"{total} ids are left of them",
            tuple(
                as_root(f"usermod --del-sub{kind}s {start}-{start + count - 1} {name or '$(id -un)'}")
                for start, count in useless
            ),
        )
    if total < ENOUGH:
        text = f"{path}: {total} for {name or uid}; images take {ENOUGH} for granted"
        if not total:
            text = f"{path}: none for {name or uid}: containers have one user id only"
        yield Finding(check, WARNING, text, (_add_command(kind, name, entries),))
    elif sound:
        yield Finding(check, OK, f"{path}: {total} for {name or uid}")


def _useless(ranges: list[tuple[int, int]], kind: str, own: int) -> list[tuple[int, int]]:
    """The ranges of which not every id can be used beside those before them."""
    found = []
    taken = [(own, 1)]
    for one in ranges:
        kept = clip([one], own_ids(kind), taken)
        if sum(count for _, count in kept) < one[1]:
            found.append(one)
        taken += kept
    return found


def _entries(path: str) -> list[Entry]:
    found = []
    for number, line in enumerate(read(path).splitlines(), 1):
        entry = parse_line(os.fsencode(line))
        if entry is not None:
            found.append(Entry(number, os.fsdecode(entry[0]), entry[1], entry[2]))
        elif line.strip() and not line.startswith("#"):
            found.append(Entry(number, line.partition(":")[0].strip(), 0, 0))
    return found


def _shared_with(mine: list[Entry], entries: list[Entry], us: set[str]) -> tuple[Entry, Entry] | None:
    for ours in mine:
        for theirs in entries:
            if (
                theirs.owner not in us
                and ours.start < theirs.start + theirs.size
                and theirs.start < ours.start + ours.size
            ):
                return ours, theirs
    return None


def _add_command(kind: str, name: str, entries: list[Entry]) -> str:
    """The command that gives this user a range which nobody has."""
    start = max([_FIRST, *[entry.start + entry.size for entry in entries if entry.size]])
    return as_root(f"usermod --add-sub{kind}s {start}-{start + ENOUGH - 1} {name or '$(id -un)'}")


def _mount_point(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path
