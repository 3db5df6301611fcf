"""Binds that are more than binds: a part of a tree, an overlay over it, other owners for its files.

What a mount of the configuration says under "rootless":

    subpath     the part of the source that is mounted; links in it never lead out of the source
    overlay     {"upperdir", "workdir"}: what is written goes there; or {"temporary": DIR}, made anew each time
    idmap       {"uids", "gids"}: rows of (id on the file system, id in the container, count); nothing: the same ids
    relabel     "z" or "Z": labels for SELinux (rootless.runtime.owners)
    owner       [uid, gid] of the directory itself (rootless.runtime.owners)
    chown       all of it belongs to the container's user (rootless.runtime.owners)

Cold: only containers with such mounts load this.
"""

from __future__ import annotations

import errno
import os

from rootless.errors import NotFoundError, RootlessError
from rootless.kernel.files import remove_tree
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import (
    AT_EMPTY_PATH,
    AT_RECURSIVE,
    MOUNT_ATTR_IDMAP,
    fsconfig_create,
    fsconfig_flag,
    fsconfig_string,
    fsmount,
    fsopen,
    mount_setattr,
)
from rootless.kernel.namespaces import CLONE_NEWUSER, unshare
from rootless.runtime.inside import open_inside
from rootless.runtime.mounting import clone_tree
from rootless.runtime.mountoptions import MountOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def special_tree(source: str, options: MountOptions, special: dict[str, Any]) -> int:
    """A detached mount of `source`, a path of the host, as `special` says. Raises RootlessError."""
    opened = _open(source, special.get("subpath"))
    try:
        if "overlay" in special:
            return _overlay(opened, source, special["overlay"], options)
        tree = clone_tree(source, options, opened)
    finally:
        os.close(opened)
    if "idmap" in special:
        try:
            map_ids(tree, source, special["idmap"])
        except BaseException:
            os.close(tree)
            raise
    return tree


def _open(source: str, subpath: str | None) -> int:
    try:
        top = os.open(source, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise RootlessError(f"mounting {source}: {error.strerror}") from None
    if subpath is None:
        return top
    try:
        return open_inside(top, subpath)
    except FileNotFoundError:
        raise NotFoundError(f"mounting {subpath} of {source}: there is no such path in it", "make it first") from None
    except OSError as error:
        raise RootlessError(f"mounting {subpath} of {source}: {error.strerror}") from None
    finally:
        os.close(top)


def _overlay(lower: int, source: str, overlay: dict[str, str], options: MountOptions) -> int:
    """A detached overlay over the directory `lower`. Names are given as descriptors: they may hold any character."""
    upper, work = overlay.get("upperdir", ""), overlay.get("workdir", "")
    temporary = overlay.get("temporary")
    opened: list[int] = []
    try:
        if temporary:
            upper, work = _fresh(temporary, lower)
        for path in (upper, work):
            opened.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        context = fsopen("overlay")
        try:
            for key, fd in zip(("lowerdir", "upperdir", "workdir"), [lower, *opened], strict=True):
                fsconfig_string(context, key, f"/proc/self/fd/{fd}")
            fsconfig_flag(context, "userxattr")
            if temporary:
                fsconfig_flag(context, "volatile")
            fsconfig_create(context)
            return fsmount(context, 0, options.attributes)
        finally:
            os.close(context)
    except SyscallError as error:
        raise RootlessError(
            f"mounting an overlay over {source} (O): {error.message}",
            "the kernel's overlay must be allowed here (`rootless doctor`), and nothing be mounted below the directory",
        ) from None
    except OSError as error:
        raise RootlessError(f"mounting an overlay over {source} (O): {error.filename}: {error.strerror}") from None
    finally:
        for fd in opened:
            os.close(fd)


def _fresh(place: str, lower: int) -> tuple[str, str]:
    """Empty directories for an overlay; what an earlier run has left is removed. The top is like that of `lower`."""
    left = remove_tree(place)
    if left:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), left[0])
    upper, work = f"{place}/upper", f"{place}/work"
    for path in (place, upper, work):
        os.mkdir(path, 0o700)
    like = os.fstat(lower)
    try:
        os.chown(upper, like.st_uid, like.st_gid)
    except OSError:
        pass  # an id that is not mapped: root's, then
    os.chmod(upper, like.st_mode & 0o7777)
    return upper, work


def map_ids(tree: int, source: str, maps: dict[str, Any]) -> None:
    """Have files of a detached mount belong to other ids, where the kernel lets us. Raises RootlessError."""
    namespace = _namespace(maps.get("uids") or _own_ids("uid"), maps.get("gids") or _own_ids("gid"))
    try:
        mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_IDMAP, userns_fd=namespace)
    except SyscallError as error:
        raise RootlessError(
            f"mounting {source} with other ids (idmap): {os.strerror(error.errno or 0)}",
            "the kernel lets only the host's root map ids of the host's file systems; U gives the files to the"
            " container's user instead",
        ) from None
    finally:
        os.close(namespace)


def _own_ids(kind: str) -> list[list[int]]:
    """A map of the ids that there are in the container onto themselves."""
    with open(f"/proc/self/{kind}_map", "rb", buffering=0) as file:
        rows = [line.split() for line in file.readall().splitlines()]
    return [[int(inside), int(inside), int(count)] for inside, _, count in rows]


def _namespace(uids: list[list[int]], gids: list[list[int]]) -> int:
    """A user namespace with these maps, by its descriptor."""
    ready, ended = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            os.close(ended[1])
            unshare(CLONE_NEWUSER)
            os.write(ready[1], os.fsencode(os.readlink("/proc/self")))
            os.read(ended[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        os.close(ended[0])
        number = os.read(ready[0], 32).decode()  # as this /proc, which is the host's, counts
        for name, rows in (("uid_map", uids), ("gid_map", gids)):
            with open(f"/proc/{number}/{name}", "wb", buffering=0) as file:
                file.write("".join(f"{on_disk} {inside} {count}\n" for on_disk, inside, count in rows).encode())
        return os.open(f"/proc/{number}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise RootlessError(
            f"mapping ids for a mount (idmap): {error.strerror}", "the ids must be mapped in the container"
        ) from None
    finally:
        os.close(ready[0])
        os.close(ended[1])
        os.waitpid(child, 0)
