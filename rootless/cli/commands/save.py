"""`save`: images into an archive."""

from __future__ import annotations

import os
import stat

from rootless.cli.options import Opts
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.errors import StorageError, UsageError
from storage.archive_save import save_images


def command(settings: Settings, opts: Opts) -> int:
    """Write `opts.images` to `opts.output`, or to standard output where that is no terminal."""
    store = settings.store()
    display = Quiet() if opts.quiet else Lines()
    if opts.output is None or opts.output == "-":
        if os.isatty(1):
            raise UsageError("saving images: standard output is a terminal", "name a file: --output FILE, or > FILE")
        save_images(store, opts.images, 1, opts.format, display)
        return 0
    if _is_special(opts.output):
        descriptor = _open(opts.output, os.O_WRONLY)
        try:
            save_images(store, opts.images, descriptor, opts.format, display)
        finally:
            os.close(descriptor)
        return 0
    draft = f"{opts.output}.{os.urandom(4).hex()}.partial"
    descriptor = _open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        save_images(store, opts.images, descriptor, opts.format, display)
        os.rename(draft, opts.output)
    except OSError as error:
        os.unlink(draft)
        raise StorageError(f"writing {opts.output}: {error.strerror}") from None
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(descriptor)
    return 0


def _is_special(path: str) -> bool:
    """A fifo or a device is written to; a file appears when it is whole, in place of what was there."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _open(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"writing {path}: {error.strerror}") from None
