"""`manifest annotate`: what a manifest list says of an entry, or of itself."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.settings import Settings
from rootless.errors import UsageError
from storage.documents.index import Index, Marks, annotations_of, entry_of, marked, with_annotations, with_entry
from storage.manifests.lists import edit_list
from storage.remote.list_sources import digest_in_list, subject_of
from storage.store import Store


def command(settings: Settings, opts: Opts) -> int:
    """Change the entry `opts.image`, or the list itself with --index; prints the id of the list."""
    if opts.subject and not opts.index:
        raise UsageError("--subject is said of a list", "give --index as well")
    if bool(opts.image) == opts.index:
        raise UsageError(
            "annotating a manifest list: name an entry (its digest, or its image), or give --index for the list"
        )
    store = settings.store()
    if opts.index:
        list_id = _annotate_list(store, opts)
    else:
        list_id = _annotate_entry(store, opts.list, opts.image, _marks(opts))
    write(list_id + "\n")
    return 0


def _marks(opts: Opts) -> Marks:
    return Marks(
        opts.arch,
        opts.os,
        opts.os_version,
        opts.variant,
        tuple(opts.features),
        tuple(opts.os_features),
        annotations_of(opts.annotation),
    )


def _annotate_list(store: Store, opts: Opts) -> str:
    if _marks(opts) != Marks(annotations=annotations_of(opts.annotation)):
        raise UsageError("--index: a list has no platform", "name an entry to say what that is for")
    annotations = annotations_of(opts.annotation)
    subject = subject_of(store, opts.subject) if opts.subject else None

    def change(index: Index) -> Index:
        changed = with_annotations(index, annotations)
        return {**changed, "subject": subject} if subject else changed

    return edit_list(store, opts.list, change).id


def _annotate_entry(store: Store, reference: str, image: str, marks: Marks) -> str:
    digest = digest_in_list(store, image)
    where = f"annotating the manifest list {reference}"
    return edit_list(
        store, reference, lambda index: with_entry(index, marked(entry_of(index, digest, where), marks))
    ).id
