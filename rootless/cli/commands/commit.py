"""`commit`: an image out of a container."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.output_file import written
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.engine.files.commit import commit
from rootless.engine.files.commit_config import CommitOptions, read_given
from rootless.errors import UsageError
from rootless.kernel.files import write_all


def command(settings: Settings, opts: Opts) -> int:
    """Print the new image's id, and write it to --iidfile."""
    options = CommitOptions(
        author=opts.author,
        message=opts.message,
        changes=opts.change,
        config=read_given(opts.config) if opts.config else {},
        docker=opts.format == "docker",
        squash=opts.squash,
        pause=opts.pause,
        volumes=opts.include_volumes,
    )
    if opts.iidfile:
        _need_writable(opts.iidfile)
    display = Quiet() if opts.quiet else Lines()
    image_id = commit(settings.store(), opts.container, opts.image, options, warn, display)
    if opts.iidfile:
        with written(opts.iidfile) as descriptor:
            write_all(descriptor, image_id.encode())
    lines([image_id])
    return 0


def _need_writable(path: str) -> None:
    """Raise UsageError where a file cannot be written, before there is an image whose id could not be told."""
    real = os.path.realpath(path)
    special = os.path.exists(real) and not os.path.isfile(real)
    place = real if special else os.path.dirname(real)
    if os.path.isdir(path) or not os.access(place, os.W_OK):
        raise UsageError(f"--iidfile {path}: it cannot be written", "name a file in a directory of yours")
