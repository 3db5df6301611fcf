"""`manifest exists`: an exit code."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.settings import Settings
from storage.list_lookup import find_list
from storage.lookup import find_image
from storage.manifests.lists import need_list


def command(settings: Settings, opts: Opts) -> int:
    """0 where `opts.list` is a manifest list, 1 where there is nothing of that name; an image is an error."""
    db = settings.store().db
    if find_list(db, opts.list) is None:
        if find_image(db, opts.list) is None:
            return 1
        need_list(db, opts.list)
    return 0
