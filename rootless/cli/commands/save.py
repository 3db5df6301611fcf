"""`save`: images into an archive or a directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from rootless.cli.options import Opts
from rootless.cli.output_file import draft_of, written
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.errors import StorageError, UsageError
from storage.archives.save import AS_KEPT, COMPRESSED, DIRECTORIES, DOCKER_DIRECTORY, PLAIN, save_images


def command(settings: Settings, opts: Opts) -> int:
    """Write `opts.images` to `opts.output`, or to standard output where that is no terminal.

    A file or a directory appears when it is whole; a file takes the place of what was there.
    """
    display = Quiet() if opts.quiet else Lines()
    if opts.compress and opts.format != DOCKER_DIRECTORY:
        raise UsageError(f"--compress: layers are compressed in a docker-dir only, not in a {opts.format}")
    packing = COMPRESSED if opts.compress else PLAIN if opts.uncompressed else AS_KEPT

    def save(output: int | str) -> None:
        save_images(settings.store(), opts.images, output, opts.format, display, packing)

    path = None if opts.output in (None, "-", "/dev/stdout") else os.path.realpath(opts.output)
    try:
        if opts.format in DIRECTORIES:
            _to_directory(path, opts.format, save)
        elif path is None:
            if os.isatty(1):
                raise UsageError("saving images: standard output is a terminal", "name a file: -o FILE, or > FILE")
            save(1)
        else:
            with written(path) as descriptor:
                save(descriptor)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"writing {opts.output or 'standard output'}: {error.strerror}") from None
    return 0


def _to_directory(path: str | None, format: str, save: Callable[[int | str], None]) -> None:
    if path is None:
        raise UsageError(f"saving images: {format} is a directory", "name one that does not exist yet: --output DIR")
    draft = draft_of(path)
    os.mkdir(draft)
    try:
        save(draft)
        os.rename(draft, path)  # onto an empty directory at most
    except BaseException:
        shutil.rmtree(draft)
        raise
