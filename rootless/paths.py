"""Where things live: the store under the user's data directory, live state under the runtime directory.

XDG variables that are set cost nothing; platformdirs (20 ms) is asked only where they are not.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import RootlessError, StorageError


def data_root(requested: str | None = None) -> str:
    """Absolute path of the store: `requested` (--root), $ROOTLESS_ROOT, or <user data directory>/rootless."""
    path = requested or os.environ.get("ROOTLESS_ROOT")
    if not path:
        base = os.environ.get("XDG_DATA_HOME", "")
        if os.path.isabs(base):
            path = base + "/rootless"
        else:
            home = os.environ.get("HOME", "")
            path = home + "/.local/share/rootless" if os.path.isabs(home) else _platform_data_directory()
    return os.path.abspath(path)


def _platform_data_directory() -> str:
    import platformdirs

    path = platformdirs.user_data_dir("rootless")
    if not os.path.isabs(path):
        raise RootlessError("finding the store: no home directory", "set HOME, or name a directory with --root")
    return path


def run_root(requested: str | None = None) -> str:
    """Absolute path of live state: `requested` (--runroot), $ROOTLESS_RUNROOT, $XDG_RUNTIME_DIR/rootless, or a private
    directory under /tmp where there is no runtime directory of ours."""
    path = requested or os.environ.get("ROOTLESS_RUNROOT")
    if path:
        return os.path.abspath(path)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and _is_ours(runtime):
        return runtime + "/rootless"
    return f"/tmp/rootless-run-{os.getuid()}"


def _is_ours(path: str) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and bool(found.st_mode & stat.S_IWUSR)


def make_private(path: str) -> str:
    """Create `path` (and its parents) as a directory of ours with mode 0700, or check that it is one; returns it.

    Raises StorageError where it belongs to somebody else, is a symbolic link, or cannot be made.
    """
    try:
        try:
            os.mkdir(path, 0o700)
        except FileNotFoundError:
            os.makedirs(path, 0o700)
    except FileExistsError:
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            raise StorageError(f"using {path}: not a directory", "move it away, or choose another place") from None
        if found.st_uid != os.getuid():
            raise StorageError(
                f"using {path}: it belongs to uid {found.st_uid}, not to us (uid {os.getuid()})",
                "choose another place with --root and --runroot",
            ) from None
        if found.st_mode & 0o077:
            os.chmod(path, 0o700)
    except OSError as error:
        hint = "choose another place with --root and --runroot"
        raise StorageError(f"making {error.filename or path}: {error.strerror}", hint) from None
    return path
