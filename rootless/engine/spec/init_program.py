"""The program that `--init` makes pid 1 of a container. Loaded where that is asked for."""

from __future__ import annotations

import os

from rootless.errors import UsageError


def find_init(path: str | None = None) -> str:
    """The path of an init for `--init` on this host: `path`, or one that is installed. Raises UsageError where there is
    none."""
    if path is not None:
        if not (path.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK)):
            raise UsageError(f"--init-path {path}: not the absolute path of a program")
        return path
    for path in ("/usr/libexec/podman/catatonit", "/usr/bin/catatonit", "/usr/bin/tini-static", "/usr/bin/tini"):
        if os.access(path, os.X_OK):
            return path
    raise UsageError("--init: neither catatonit nor tini is installed", "sudo apt-get install catatonit (or tini)")
