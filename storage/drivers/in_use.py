"""Whether an overlay writes to a directory, whoever has mounted it: the kernel knows, also where we may not look."""

from __future__ import annotations

import errno
import os

from rootless.errors import KernelError
from rootless.kernel.mounts import mount

# overlayfs(5) refuses an upper directory that is in use with EBUSY where `index=on` is asked for, before it compares
# its mount with that of the working directory, which it refuses with EINVAL: nothing is ever mounted or written.
_OPTIONS = "lowerdir=.,upperdir=upper,workdir=/proc/self,index=on,userxattr"


def is_written_to(directory: str) -> bool | None:
    """Whether <directory>/upper is an overlay's now; None where this kernel does not say. To be called as root of a
    user namespace, in a mount namespace of its own."""
    os.chdir(directory)
    try:
        mount("overlay", "upper", "overlay", 0, _OPTIONS)
    except KernelError as error:
        number = error.errno if isinstance(error, OSError) else None
        return True if number == errno.EBUSY else False if number == errno.EINVAL else None
    return None
