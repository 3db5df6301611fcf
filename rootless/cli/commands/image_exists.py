"""`image exists`: the exit code is the answer."""

from __future__ import annotations

from storage.lookup import find_image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.cli.options import Opts
    from rootless.cli.settings import Settings


def command(settings: Settings, opts: Opts) -> int:
    """0 where there is such an image, 1 where there is none."""
    return 0 if find_image(settings.store().db, opts.image) else 1
