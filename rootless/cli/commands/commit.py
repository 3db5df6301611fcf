"""`commit`: an image out of a container."""

from __future__ import annotations

import os

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import lines
from rootless.cli.progress import Lines, Quiet
from rootless.cli.settings import Settings
from rootless.engine.commit import commit
from rootless.engine.commit_config import CommitOptions, read_given
from rootless.errors import UsageError


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
    written = _open(opts.iidfile) if opts.iidfile else -1
    display = Quiet() if opts.quiet else Lines()
    image_id = commit(settings.store(), opts.container, opts.image, options, warn, display)
    if written >= 0:
        os.ftruncate(written, 0)
        os.write(written, image_id.encode())
        os.close(written)
    lines([image_id])
    return 0


def _open(path: str) -> int:
    """Before there is an image whose id could not be told; what is in the file stays until then."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"--iidfile {path}: {error.strerror}") from None
