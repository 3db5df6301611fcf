"""`manifest push`: a manifest list and its images to a registry, or into an OCI layout."""

from __future__ import annotations

from rootless.cli.commands.push import write_digest
from rootless.cli.options import Opts
from rootless.cli.progress import choose_display
from rootless.cli.registry_options import access_of, signer_of
from rootless.cli.settings import Settings
from rootless.errors import UsageError
from storage.images.rows import remove
from storage.layers.pack import check_level
from storage.manifests.lists import need_list
from storage.references import split_transport
from storage.remote.list_push import push_list
from storage.remote.push_plan import Recipe
from storage.transports.list_writing import write_list
from storage.upkeep.garbage import collect_garbage


def command(settings: Settings, opts: Opts) -> int:
    """Push `opts.list` to `opts.destination`; the digest of its index there goes into `opts.digestfile`. With --rm the
    list goes from this store, once it is there."""
    recipe = Recipe(opts.format, opts.compression_format, opts.compression_level, opts.force_compression)
    check_level(recipe.packing, recipe.level)
    access = access_of(opts)
    signer = signer_of(opts)
    store = settings.store()
    list_id = need_list(store.db, opts.list).id
    with choose_display(opts.quiet) as display:
        if opts.destination and split_transport(opts.destination)[0] not in ("", "docker"):
            if recipe != Recipe() or not opts.all:
                raise UsageError(
                    f"pushing to {opts.destination}: a layout gets all images, as they are kept, in OCI's format",
                    "leave --all=false, --format and --compression-... away",
                )
            if signer:
                raise UsageError(f"pushing to {opts.destination}: signatures lie in registries only")
            digest = write_list(store, opts.list, opts.destination, display)
        else:
            digest = push_list(store, opts.list, opts.destination, recipe, access, opts.all, display, signer)
    if opts.digestfile:
        write_digest(opts.digestfile, digest)
    if opts.rm:
        remove(store, list_id, force=True)
        collect_garbage(store)
    return 0
