"""`manifest create`: a manifest list, empty or of images."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from storage.documents.index import annotations_of
from storage.manifests.lists import check_new_name, create_list
from storage.remote.list_sources import find_members


def command(settings: Settings, opts: Opts) -> int:
    """Make the list `opts.list` and print its id; nothing is made where one of `opts.images` cannot be found."""
    annotations = annotations_of(opts.annotation)
    store = settings.store()
    check_new_name(store, opts.list, opts.amend)
    access = access_of(opts)
    members = [member for text in opts.images for member in find_members(store, text, opts.all, access)]
    write(create_list(store, opts.list, members, annotations, opts.amend) + "\n")
    return 0
