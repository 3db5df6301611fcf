"""The options of one mount, as fstab(5) and the OCI runtime specification write them, in the kernel's terms."""

from __future__ import annotations

from rootless.errors import UsageError
from rootless.kernel.mounts import (
    MOUNT_ATTR_NOATIME,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MOUNT_ATTR_STRICTATIME,
    MS_PRIVATE,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)

# name -> attribute to set. With an "r" before it (rro, rnosuid, ...) the whole tree of a recursive bind is meant.
_SET = {
    "ro": MOUNT_ATTR_RDONLY,
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
    "noatime": MOUNT_ATTR_NOATIME,
    "strictatime": MOUNT_ATTR_STRICTATIME,
    "nodiratime": MOUNT_ATTR_NODIRATIME,
    "nosymfollow": MOUNT_ATTR_NOSYMFOLLOW,
}
# name -> attribute that an earlier option of the same mount may have set. A bind keeps what its source has: what an
# outer namespace locked cannot be taken off.
_UNSET = {
    "rw": MOUNT_ATTR_RDONLY,
    "suid": MOUNT_ATTR_NOSUID,
    "dev": MOUNT_ATTR_NODEV,
    "exec": MOUNT_ATTR_NOEXEC,
    "atime": MOUNT_ATTR_NOATIME,
    "diratime": MOUNT_ATTR_NODIRATIME,
    "symfollow": MOUNT_ATTR_NOSYMFOLLOW,
    "relatime": MOUNT_ATTR_NOATIME | MOUNT_ATTR_STRICTATIME,
    "norelatime": 0,
    "nostrictatime": MOUNT_ATTR_STRICTATIME,
    "defaults": 0,
}
_PROPAGATION = {"private": MS_PRIVATE, "slave": MS_SLAVE, "shared": MS_SHARED, "unbindable": MS_UNBINDABLE}
# Flags of the file system itself rather than of the mount.
_FILE_SYSTEM_FLAGS = {"sync", "dirsync", "lazytime", "mand", "silent"}
_IGNORED = {"async", "nomand", "nolazytime", "loud", "iversion", "noiversion", "rec", "nodirsync"}


class MountOptions:
    """`bind`, `recursive` (of the bind), `attributes` (MOUNT_ATTR_*), `attributes_recursive`, `propagation` (MS_* or 0)
    and `propagation_recursive`, `data` ((key, value or None), for the file system), `copy_up` (tmpcopyup), `dress`
    (with owner and mode of the image's directory; not with tmpcopyup=files), `first_use` (a volume that nobody owns
    yet)."""

    __slots__ = (
        "attributes",
        "attributes_recursive",
        "bind",
        "copy_up",
        "data",
        "dress",
        "first_use",
        "propagation",
        "propagation_recursive",
        "recursive",
    )

    def __init__(self, options: list[str]) -> None:
        """Raises UsageError for what only mount(8) knows."""
        self.bind = self.recursive = self.propagation_recursive = self.attributes_recursive = False
        self.copy_up = self.dress = self.first_use = False
        self.attributes = self.propagation = 0
        self.data: list[tuple[str, str | None]] = []
        for option in options:
            if option in _SET:
                self.attributes |= _SET[option]
            elif option in _UNSET:
                self.attributes &= ~_UNSET[option]
            elif option in ("bind", "rbind"):
                self.bind = True
                self.recursive = option == "rbind"
            elif option in _PROPAGATION:
                self.propagation = _PROPAGATION[option]
            elif option[:1] == "r" and option[1:] in _PROPAGATION:
                self.propagation, self.propagation_recursive = _PROPAGATION[option[1:]], True
            elif option[:1] == "r" and option[1:] in _SET:
                self.attributes |= _SET[option[1:]]
                self.attributes_recursive = True
            elif option in ("tmpcopyup", "tmpcopyup=files"):
                self.copy_up = True
                self.dress = option == "tmpcopyup"
            elif option == "firstuse":
                self.first_use = True
            elif option in _FILE_SYSTEM_FLAGS:
                self.data.append((option, None))
            elif option in ("remount", "idmap", "ridmap"):
                raise UsageError(f"the mount option {option} is not supported")
            elif option and option not in _IGNORED:
                key, equals, value = option.partition("=")
                self.data.append((key, value if equals else None))
