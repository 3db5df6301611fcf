"""`import`: an image out of the tarball of a root file system."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.engine.one_id import warn_of_one_id
from storage.archives.import_rootfs import ImportOptions, import_rootfs


def command(settings: Settings, opts: Opts) -> int:
    """Import `opts.path` under the name `opts.reference` (or none), and print the id."""
    options = ImportOptions(opts.change, opts.message, opts.arch, opts.os, opts.variant)
    display = Quiet() if opts.quiet else Lines()
    store = settings.store()
    warn_of_one_id(store, warn)
    lines([f"sha256:{import_rootfs(store, opts.path, opts.reference, options, display)}"])
    return 0
