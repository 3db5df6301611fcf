"""Pushing: from an image in the store to a registry.

what to send (push_plan) -> configuration -> layers that are not there yet (push_layers) -> manifest
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable

import rootless
from rootless.errors import ImageError, RegistryError, UsageError
from rootless.faults import step
from rootless.jsontext import loads
from storage.database import transaction
from storage.events import emit
from storage.images.rows import name_meant
from storage.lease import Lease
from storage.lookup import Image, need_image
from storage.progress import Progress
from storage.references import Reference, parse, split_transport
from storage.registry.access import Access
from storage.registry.patience import Pauses
from storage.registry.upload import Bytes, Uploader
from storage.remote.push_layers import send_layers
from storage.remote.push_plan import Layer, Recipe, StoredImage, image_of, manifest_for, plan, target_type
from storage.settings.registries_conf import Endpoint, RegistriesConf, load
from storage.sqlite import Connection
from storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.signatures.signing import Signer

_MOST_SOURCES = 3  # repositories that are tried for a blob
_MOST_SCOPES = 8  # repositories that a token is asked for


def push(
    store: Store,
    reference: str,
    destination: str | None = None,
    recipe: Recipe | None = None,
    access: Access | None = None,
    progress: Progress | None = None,
    signer: Signer | None = None,
) -> str:
    """Send the image `reference` to a registry and return the digest ("sha256:...") of its manifest there.

    `destination` is the name there, with or without docker://; None is the image's own. What a pull has brought and
    nobody has changed arrives byte for byte. `signer` signs it for its name there.
    Raises NotFoundError, RegistryError, ImageError, StorageError, UsageError.
    """
    recipe, access, progress = recipe or Recipe(), access or Access(), progress or Progress()
    image = need_image(store.db, reference)
    target = destination_of(image, reference, destination)
    where = f"pushing {target}"
    conf = load()
    endpoint = access.endpoint(conf, target)
    if signer:
        signer.check_place(target)
    with Lease(store) as lease:
        lease.protect(image.diff_ids)
        content = image_of(store.db, image.id, reference)
        data, kind = _send(store, content, target, endpoint, conf, recipe, access, progress, lease, signer)
    step("push-stored")
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    register(store, image.id, f"{target.name}@{digest}")
    emit(store, "image", "push", image.id, str(target))
    progress.note(f"Pushed {target} as {digest}")
    if rootless.debug:
        rootless.debug(f"{where}: {kind}, {len(data)} bytes")
    return digest


def destination_of(image: Image, reference: str, destination: str | None) -> Reference:
    """Where to push: `destination`, or the image's own name. Raises UsageError."""
    if destination is None:
        return _own_name(image, reference)
    transport, rest = split_transport(destination)
    if transport not in ("", "docker"):
        raise UsageError(f"pushing to {destination}: that is not in a registry", "write REGISTRY/NAME:TAG")
    return parse(rest)


def _own_name(image: Image, reference: str) -> Reference:
    name = name_meant(image, reference)
    if name:
        return parse(name)
    if "@" in reference:
        return parse(reference)
    if len(image.names) == 1:
        return parse(image.names[0])
    raise UsageError(
        f"pushing {reference}: the image has {len(image.names) or 'no'} names",
        "say where to: rootless push IMAGE REGISTRY/NAME:TAG",
    )


def _send(
    store: Store,
    image: StoredImage,
    target: Reference,
    endpoint: Endpoint,
    conf: RegistriesConf,
    recipe: Recipe,
    access: Access,
    progress: Progress,
    lease: Lease,
    signer: Signer | None,
) -> tuple[bytes, str]:
    """Send all of it; the manifest as it is there, and its media type."""
    where = f"pushing {target}"
    credentials = access.credentials_for(conf, endpoint)
    if rootless.debug:
        who = f"as {credentials.user or 'a token'}, from {credentials.source}" if credentials else "as nobody"
        rootless.debug(f"{where}: to {endpoint.host}, {endpoint.repository}, {who}")
    sources = sources_at(store.db, conf, target, endpoint)
    cancel = threading.Event()
    pauses = Pauses(access.patience, cancel)
    uploader = Uploader(endpoint, credentials, where, pauses, _scopes(sources.values()))
    progress.note(f"Pushing {target}...")
    try:
        data, kind = send_image(store, uploader, image, recipe, sources, lease, progress, cancel, where)
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if target.digest and target.digest != digest:
            raise ImageError(f"{where}: the manifest has the digest {digest}", "name a tag in the place of the digest")
        uploader.put_manifest(data, kind, target.digest or target.tag or "latest")
        if signer:
            from storage.registry.client import Client

            signer.sign(Client(endpoint, credentials, where, pauses), uploader, target, [digest], where)
    finally:
        uploader.close()
    return data, kind


def send_image(
    store: Store,
    uploader: Uploader,
    image: StoredImage,
    recipe: Recipe,
    sources: dict[str, list[str]],
    lease: Lease,
    progress: Progress,
    cancel: threading.Event,
    where: str,
) -> tuple[bytes, str]:
    """Send configuration and layers, and return the manifest that is to be stored, with its media type.

    `lease` protects the layers. Nothing names the blobs in the registry until the manifest is there.
    """
    kind = target_type(image, recipe)
    layers = _protected_plan(store, image, recipe, lease, where)
    config = Bytes(image.config, hashlib.sha256(image.config).hexdigest())
    uploader.send(config, (), lambda count: None)
    sent = send_layers(store, uploader, layers, recipe, sources, lease, progress, cancel)
    step("push-sent")
    return manifest_for(image, kind, layers, sent), kind


def _protected_plan(store: Store, image: StoredImage, recipe: Recipe, lease: Lease, where: str) -> list[Layer]:
    """A plan whose blobs nobody takes away any more. One that is let go of in this moment makes another plan."""
    while True:
        layers = plan(store, image, recipe, where)
        kept = [layer.kept for layer in layers if layer.kept]
        lease.protect([blob.digest for blob in kept])
        if all(os.path.exists(blob.path) for blob in kept):
            return layers


def sources_at(db: Connection, conf: RegistriesConf, target: Reference, endpoint: Endpoint) -> dict[str, list[str]]:
    """Digest (hex) of a blob -> repositories of the same registry that have had an image with it."""
    domain = target.domain
    rows = db.execute(
        "SELECT d.name, i.manifest, (SELECT group_concat(y.blob) FROM image_layers l JOIN layers y"
        " ON y.diff_id = l.diff_id WHERE l.image_id = i.id) FROM image_digests d JOIN images i ON i.id = d.image_id"
        " WHERE d.name >= ? AND d.name < ?",
        (domain + "/", domain + "0"),
    ).fetchall()
    found: dict[str, list[str]] = {}
    for name, manifest, blobs in rows:
        source = parse(name.partition("@")[0])
        if source.name == target.name:
            continue
        try:
            there = conf.endpoints(source)[-1]
        except RegistryError:  # blocked
            continue
        if there.host != endpoint.host:
            continue
        listed = [str(entry.get("digest"))[7:] for entry in loads(bytes(manifest)).get("layers") or ()]
        for digest in {*listed, *(blobs or "").split(",")}:
            repositories = found.setdefault(digest, [])
            if there.repository not in repositories and len(repositories) < _MOST_SOURCES:
                repositories.append(there.repository)
    return found


def _scopes(sources: Iterable[list[str]]) -> list[str]:
    names = dict.fromkeys(name for names in sources for name in names)
    return list(names)[:_MOST_SCOPES]


def register(store: Store, image_id: str, name: str) -> None:
    """Remember that a registry has the image (hex) as `name` ("host/repository@sha256:...")."""
    with transaction(store.db) as db:
        if db.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone():
            db.execute(
                "INSERT INTO image_digests VALUES (?, ?, 0)"
                " ON CONFLICT (name) DO UPDATE SET image_id = excluded.image_id",
                (name, image_id),
            )
