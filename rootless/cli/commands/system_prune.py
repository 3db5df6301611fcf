"""`system prune`: remove what is not used, of all kinds."""

from __future__ import annotations

from rootless.cli.failures import tell, warn
from rootless.cli.filters import container_filter
from rootless.cli.options import Opts
from rootless.cli.output import compact_size, write
from rootless.cli.prune_filters import check
from rootless.cli.questions import agreed
from rootless.cli.settings import Settings
from rootless.cli.volumes import volume_filter
from rootless.engine.upkeep.prune import Pruned, prune_containers, prune_volumes
from storage.images.filters import split_filters
from storage.upkeep.garbage import collect_garbage
from storage.upkeep.prune import prune_images
from storage.upkeep.release import release_blobs


def command(settings: Settings, opts: Opts) -> int:
    """Ask (unless --force), remove, and print what is gone and how many bytes it took. Goes on after a container that
    cannot be removed; the exit code tells."""
    check(opts.filter)
    split_filters(opts.filter)
    if not opts.force and not agreed(_warning(opts)):
        return 0
    store = settings.store()
    containers = prune_containers(store, container_filter(store, opts.filter), warn)
    _tell("Containers", containers.gone)
    volumes = prune_volumes(store, volume_filter(store, opts.filter)) if opts.volumes else Pruned()
    _tell("Volumes", volumes.gone)
    _tell("Images", prune_images(store, opts.filter, opts.all))
    freed = collect_garbage(store, downloads=True)
    size = containers.size + volumes.size + freed.size
    code = max([tell(error, settings.log_level) for error in containers.failures.values()], default=0)
    if opts.blobs:
        released = release_blobs(store)
        _tell("Blobs", released.blobs)
        size += released.size
        code = max([code, *[tell(error, settings.log_level) for error in released.failures]])
    write(f"Total reclaimed space: {compact_size(size)}\n")
    return code


def _tell(kind: str, gone: list[str]) -> None:
    if gone:
        write(f"Deleted {kind}\n" + "".join(f"{name}\n" for name in gone))


def _warning(opts: Opts) -> str:
    removed = ["all stopped containers"]
    if opts.volumes:
        removed.append("all volumes not used by at least one container")
    if opts.all:
        removed.append("all images without at least one container associated with them")
    else:
        removed.append("all dangling images")
    removed.append("all interrupted downloads")
    if opts.blobs:
        removed.append("the compressed blobs of all layers, without which a push compresses anew")
    return "WARNING! This command removes:\n" + "".join(f"\t- {one}\n" for one in removed) + "\n"
