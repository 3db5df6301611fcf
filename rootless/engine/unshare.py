"""`unshare`: a command as root of a user namespace with the ids of containers, in a mount namespace of its own.

There the store belongs to uid 0, files of subordinate ids can be seen and changed, and root file systems mounted.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from typing import NoReturn

from rootless.errors import CannotInvokeError, CommandNotFoundError, ConflictError
from rootless.kernel.idmaps import UNSHARED, may_administer
from rootless.kernel.mounts import MS_REC, MS_SLAVE, mount
from rootless.kernel.namespaces import CLONE_NEWNS, CLONE_NEWUSER, namespace_id, setns, unshare
from storage.store import Store


def execute(store: Store, words: list[str]) -> NoReturn:
    """Become the command `words` (the user's shell, where there are none). Supplementary groups stay, as they open
    files. What is mounted on the host later is seen; what is mounted here ends with the last process.

    Raises CommandNotFoundError, CannotInvokeError, KernelError.
    """
    words = words or [os.environ.get("SHELL") or "/bin/sh"]
    environment = {**os.environ, "ROOTLESS_ROOT": store.root, "ROOTLESS_RUNROOT": store.runroot}
    if store.driver_request:
        environment["ROOTLESS_STORAGE_DRIVER"] = store.driver_request
    setns(store.user_namespace().fd, CLONE_NEWUSER)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_SLAVE)
    environment[UNSHARED] = str(namespace_id("self", "user"))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them
        signal.signal(number, signal.SIG_DFL)
    path = words[0] if "/" in words[0] else shutil.which(words[0])
    if path is None:
        raise CommandNotFoundError(f"unshare: {words[0]}: not found in $PATH")
    try:
        os.execve(path, words, environment)
    except FileNotFoundError:
        raise CommandNotFoundError(f"unshare: {words[0]}: No such file or directory") from None
    except OSError as error:
        hint = "a script needs a first line such as #!/bin/sh" if error.errno == errno.ENOEXEC else None
        raise CannotInvokeError(f"unshare: {words[0]}: {error.strerror}", hint) from None


def need_inside(doing: str) -> None:
    """Raise ConflictError for whoever is `doing` something that takes the right to mount."""
    if not may_administer():
        raise ConflictError(
            f"{doing}: only root of a user namespace may mount",
            "run it inside `rootless unshare` (a shell, or a command)",
        )
