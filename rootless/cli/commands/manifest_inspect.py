"""`manifest inspect`: a manifest list as JSON."""

from __future__ import annotations

from rootless.cli.failures import warn
from rootless.cli.options import Opts
from rootless.cli.output import pretty_json, write
from rootless.cli.registry_options import access_of
from rootless.cli.settings import Settings
from rootless.errors import ImageError, RootlessError
from rootless.jsontext import loads
from storage.documents.index import oci
from storage.documents.manifests import Manifest, parse_manifest
from storage.list_lookup import find_list
from storage.references import split_transport
from storage.remote.list_sources import remote_manifest


def command(settings: Settings, opts: Opts) -> int:
    """Print the list `opts.image` of this store, else what a registry has under that name."""
    transport, name = split_transport(opts.image)
    found = find_list(settings.store().db, opts.image) if not transport else None
    if found is not None:
        write(pretty_json(oci(found.index)) + "\n")
        return 0
    try:
        raw = remote_manifest(name if transport == "docker" else opts.image, access_of(opts))
    except RootlessError as error:
        if not transport:
            error.message += "; and there is no such manifest list here"
        raise
    if isinstance(parse_manifest(raw.data, raw.media_type, f"inspecting {opts.image}"), Manifest):
        warn(f"{opts.image} is a single image, not a manifest list")
    try:
        write(pretty_json(loads(raw.data)) + "\n")
    except RecursionError:
        raise ImageError(f"inspecting {opts.image}: its JSON is nested too deeply") from None
    return 0
