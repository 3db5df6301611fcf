"""`manifest remove`: an entry less."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.settings import Settings
from rootless.errors import UsageError
from storage.documents.index import without
from storage.manifests.lists import edit_list
from storage.upkeep.garbage import collect_garbage


def command(settings: Settings, opts: Opts) -> int:
    """Take the entry `opts.digest` out of the list `opts.list`; prints the id of the list."""
    if not opts.digest.startswith("sha256:"):
        raise UsageError(
            f"{opts.digest} is not a digest (sha256:...)", f"rootless manifest inspect {opts.list} shows them"
        )
    store = settings.store()
    where = f"removing from the manifest list {opts.list}"
    changed = edit_list(store, opts.list, lambda index: without(index, opts.digest, where))
    collect_garbage(store)
    write(changed.id + "\n")
    return 0
