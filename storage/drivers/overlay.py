"""The kernel's overlay file system, mounted inside the user namespace (Linux 5.11, `userxattr`)."""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.kernel.libc import SyscallError
from rootless.kernel.mounts import MS_BIND, MS_RDONLY, MS_REMOUNT, mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from storage.layout import Layout

_PAGE = 4095
LOWER = "lower"  # in a container's directory: a link to what it stands on, where that is a directory and no image
# fs/overlayfs/params.h: OVL_MAX_STACK
MOST_LAYERS = 500


def make_upper(layout: Layout, container_dir: str, diff_ids: Sequence[str]) -> None:
    """The directories that take a container's changes. The root of what it sees has the mode of the image's root."""
    upper = container_dir + "/upper"
    try:
        os.mkdir(upper)
        os.chmod(upper, os.stat(layout.diff(diff_ids[-1])).st_mode & 0o7777 if diff_ids else 0o755)
        os.mkdir(container_dir + "/work", 0o700)
    except OSError as error:
        raise StorageError(f"making {error.filename}: {error.strerror}") from None


def stack_plan(
    driver: str,
    layout: Layout,
    container_dir: str,
    diff_ids: Sequence[str],
    read_only: bool = False,
    volatile: bool = False,
) -> dict[str, Any]:
    """Plan of a stack, for both overlay drivers. Paths are relative to the store: short, and nothing to escape."""
    lower: list[str] = []
    # A layer that occurs twice hides itself further down (and the kernel takes none twice).
    for diff_id in dict.fromkeys(reversed(diff_ids)):
        lower.append(f"layers/{diff_id}/diff")
        # The kernel and fuse-overlayfs ask no root of a layer whether it is opaque.
        if _is_opaque(layout.diff(diff_id)):
            break
    if len(lower) > MOST_LAYERS:
        raise StorageError(f"mounting {len(lower)} layers: {driver} stacks {MOST_LAYERS} at most", "use the driver vfs")
    base = f"{layout.root}/"
    if not container_dir.startswith(base):
        raise StorageError(f"mounting the layers: {container_dir} is outside of the store {layout.root}")
    container = container_dir[len(base) :]
    if not lower:
        lower.append(f"{container}/{_ground(container_dir)}")
    return {
        "driver": driver,
        "root": layout.root,
        "lower": lower,
        "container": None if read_only else container,
        "volatile": volatile,
    }


def _ground(container_dir: str) -> str:
    """What a stack without layers stands on, as an overlay needs something."""
    if os.path.lexists(f"{container_dir}/{LOWER}"):
        return LOWER
    os.makedirs(container_dir + "/empty", 0o755, exist_ok=True)
    return "empty"


def _is_opaque(diff: str) -> bool:
    try:
        return os.getxattr(diff, "user.overlay.opaque") == b"y"
    except OSError:
        return False


def mount_stack(plan: dict[str, Any], target: str) -> None:
    """Mount the stack on `target`. Raises KernelError."""
    lower: list[str] = plan["lower"]
    container = plan["container"]
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(plan["root"])
        if container is None and len(lower) == 1:
            _bind_read_only(lower[0], target)
            return
        if container is None:
            extra = ",userxattr"
        else:
            extra = ",userxattr,volatile" if plan["volatile"] else ",userxattr"
            _forget_volatile(container)
        data = _options(":".join(lower), container) + extra
        if len(data) > _PAGE:
            _mount_by_descriptors(lower, container, extra, target)
        else:
            _mount(data, container, target)
    finally:
        os.fchdir(here)
        os.close(here)


def _options(lower: str, container: str | None) -> str:
    upper = "" if container is None else f",upperdir={container}/upper,workdir={container}/work"
    return f"lowerdir={lower}{upper}"


def _forget_volatile(container: str) -> None:
    """Without `volatile` the kernel syncs the whole file system of the store when a container's mount goes. With it, it
    leaves a mark that forbids the next mount, lest a crash be overlooked; but a crash ends such a container anyway."""
    mark = container + "/work/work/incompat/volatile"
    try:
        os.unlink(mark + "/dirty")
        os.rmdir(mark)
    except OSError:
        pass  # nearly always: there is none


def _mount(data: str, container: str | None, target: str) -> None:
    try:
        mount("overlay", target, "overlay", MS_RDONLY if container is None else 0, data)
    except SyscallError as error:
        error.hint = "`rootless doctor` tells what this kernel allows; --storage-driver fuse-overlayfs does without it"
        raise


def _mount_by_descriptors(lower: list[str], container: str | None, extra: str, target: str) -> None:
    """Options must fit into a page: many layers are named by short numbers, as entries of /proc/self/fd."""
    descriptors: list[int] = []
    try:
        for path in [*lower, *([] if container is None else [container + "/upper", container + "/work"])]:
            descriptors.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
        os.chdir("/proc/self/fd")
        data = "lowerdir=" + ":".join(map(str, descriptors[: len(lower)]))
        if container is not None:
            data += f",upperdir={descriptors[-2]},workdir={descriptors[-1]}"
        _mount(data + extra, container, target)
    finally:
        for fd in descriptors:
            os.close(fd)


def _bind_read_only(source: str, target: str) -> None:
    mount(source, target, None, MS_BIND)
    mount(None, target, None, MS_BIND | MS_REMOUNT | MS_RDONLY)
