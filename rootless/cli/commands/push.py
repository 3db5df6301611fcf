"""`push`: an image to a registry, or to where another transport leads."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output_file import written
from rootless.cli.progress import Display, choose_display
from rootless.cli.registry_options import access_of, signer_of
from rootless.cli.settings import Settings
from rootless.errors import RootlessError, StorageError, UsageError
from rootless.kernel.files import write_all
from storage.layers.pack import check_level
from storage.references import transport_of
from storage.remote.push import push
from storage.remote.push_plan import Recipe


def command(settings: Settings, opts: Opts) -> int:
    """Push `opts.image` to `opts.destination`; the digest of its manifest there goes into `opts.digestfile`."""
    recipe = Recipe(opts.format, opts.compression_format, opts.compression_level, opts.force_compression)
    check_level(recipe.packing, recipe.level)
    access = access_of(opts)
    signer = signer_of(opts)
    with choose_display(opts.quiet) as display:
        if opts.destination and transport_of(opts.destination, new=True) not in ("", "docker"):
            if signer:
                raise UsageError(f"pushing to {opts.destination}: signatures lie in registries only")
            digest = _write(settings, opts, recipe, display)
        else:
            digest = push(settings.store(), opts.image, opts.destination, recipe, access, display, signer)
    if opts.digestfile:
        write_digest(opts.digestfile, digest)
    return 0


def _write(settings: Settings, opts: Opts, recipe: Recipe, display: Display) -> str:
    from storage.transports import write_image

    if recipe != Recipe(recipe.format):
        raise UsageError(
            f"pushing to {opts.destination}: layers are compressed for registries only",
            "leave --compression-format, --compression-level and --force-compression away",
        )
    return write_image(settings.store(), opts.image, opts.destination, recipe.format, display).digest


def write_digest(path: str, digest: str) -> None:
    """--digestfile: nothing but the digest, without a newline, as Podman writes it."""
    try:
        with written(path) as descriptor:
            write_all(descriptor, digest.encode())
    except StorageError as error:
        raise RootlessError(f"{error.message} (the digest is {digest})") from None
    except OSError as error:
        raise RootlessError(f"writing the digest {digest} to {path}: {error.strerror}") from None
