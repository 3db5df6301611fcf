"""`manifest add`: more entries for a manifest list."""

from __future__ import annotations

from dataclasses import replace

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from storage.documents.index import Marks, annotations_of, marked
from storage.manifests.lists import edit_list, need_list
from storage.remote.list_sources import find_members


def command(settings: Settings, opts: Opts) -> int:
    """Add all of `opts.images`, or nothing where one of them cannot be found; prints the id of the list."""
    marks = Marks(
        opts.arch,
        opts.os,
        opts.os_version,
        opts.variant,
        tuple(opts.features),
        annotations=annotations_of(opts.annotation),
    )
    store = settings.store()
    list_id = need_list(store.db, opts.list).id
    access = access_of(opts)
    members = [member for text in opts.images for member in find_members(store, text, opts.all, access)]
    changed = [replace(member, entry=marked(member.entry, marks)) for member in members]
    edit_list(store, list_id, lambda index: index, changed)
    write(list_id + "\n")
    return 0
