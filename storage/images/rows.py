"""Changes to the images of a store: adding, naming, removing. Each is one transaction."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rootless.errors import ConflictError, ImageError, NotFoundError, StorageError, UsageError
from rootless.faults import step
from rootless.jsontext import loads
from storage.database import transaction
from storage.documents.config import LIMIT, digest_hex, parse_config, unix_time
from storage.events import emit
from storage.lease import Lease
from storage.list_lookup import ManifestList, find_list, list_name, member_for_host
from storage.lookup import Image, need_image
from storage.manifests.lists import forget_list
from storage.references import DEFAULT_TAG, parse
from storage.sqlite import Connection
from storage.store import Store


@dataclass(frozen=True, slots=True)
class AddedLayer:
    """A layer of an image that is being added; its directory is in place. `diff_id` and `blob` are hex digests.

    `size`: bytes extracted; `tar_size`: of the uncompressed tar (LayerInfo has both). `blob`: the compressed blob that
    the store keeps of it, with its size and media type, or None where its tar is rebuilt from the record.
    """

    diff_id: str
    size: int
    tar_size: int
    blob: str | None = None
    blob_size: int | None = None
    media_type: str | None = None
    id_map: str = ""


def add_image(
    store: Store,
    config_bytes: bytes,
    manifest_bytes: bytes,
    manifest_type: str,
    layers: Sequence[AddedLayer],
    names: Iterable[str] = (),
    digests: Iterable[str] = (),
    pinned: str | None = None,
) -> str:
    """Record an image whose layers (lowest first) lie in the store, and return its id (hex).

    `names` ("docker.io/library/alpine:latest") move here from the images that have them now; `digests`
    ("docker.io/library/alpine@sha256:...") are added; `pinned` is the one of them by which the image was asked for, and
    is a name of it from then on. When this returns, the image survives a power cut.
    Raises ImageError where configuration and layers do not fit together, StorageError where a layer is not there.
    The caller holds a `Lease` that protects the layers.
    """
    image_id = hashlib.sha256(config_bytes).hexdigest()
    where = f"adding image {image_id[:12]}"
    config = parse_config(config_bytes, where)
    if len(manifest_bytes) > LIMIT:
        raise ImageError(f"{where}: the manifest has {len(manifest_bytes)} bytes, more than {LIMIT}")
    expected = [digest_hex(diff_id, where) for diff_id in config["rootfs"]["diff_ids"]]
    if expected != [layer.diff_id for layer in layers]:
        raise ImageError(f"{where}: its configuration lists other layers ({len(expected)}) than it has ({len(layers)})")
    now = time.time()
    created = config.get("created") or ""
    step("layers-recorded")
    store.layers.settle(expected)
    step("layers-settled")
    with transaction(store.db, durable=True) as db:
        for layer in layers:
            if not store.layers.has(layer.diff_id):
                raise StorageError(f"{where}: layer {layer.diff_id[:12]} has gone meanwhile", "try again")
        _record(db, layers)
        marks = ",".join("?" * len(set(expected)))
        sizes = dict(db.execute(f"SELECT diff_id, size FROM layers WHERE diff_id IN ({marks})", [*set(expected)]))
        # Of two manifests of one image the later is better only if it alone lists what the store has.
        old = db.execute("SELECT manifest FROM images WHERE id = ?", (image_id,)).fetchone()
        replace = (
            "UPDATE SET manifest = excluded.manifest, manifest_digest = excluded.manifest_digest,"
            " manifest_type = excluded.manifest_type"
            if old and not _can_give(db, bytes(old[0]), where) and _can_give(db, manifest_bytes, where)
            else "NOTHING"
        )
        db.execute(
            f"INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO {replace}",
            (
                image_id,
                config_bytes.decode(),
                manifest_bytes,
                "sha256:" + hashlib.sha256(manifest_bytes).hexdigest(),
                manifest_type,
                sum(sizes[diff_id] for diff_id in expected),
                created,
                unix_time(created),
                now,
            ),
        )
        db.executemany(
            "INSERT OR IGNORE INTO image_layers VALUES (?, ?, ?)",
            [(image_id, position, diff_id) for position, diff_id in enumerate(expected)],
        )
        db.executemany("INSERT OR REPLACE INTO image_names VALUES (?, ?)", [(name, image_id) for name in names])
        db.executemany(
            "INSERT INTO image_digests VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE"
            " SET image_id = excluded.image_id, pinned = max(pinned, excluded.pinned)",
            [(name, image_id, name == pinned) for name in digests],
        )
        step("image-written")
    step("image-recorded")
    return image_id


def bring_back(store: Store, reference: str) -> str | None:
    """The id of the image for this machine of the manifest list that `reference` names: where it was removed, it is an
    image again (without a name), made of what the list has kept. None where the list has none, or there is no list."""
    member = member_for_host(store.db, reference)
    if member is None or not member.config:
        return None
    where = f"taking an image out of the manifest list {reference}"
    diff_ids = [digest_hex(one, where) for one in parse_config(member.config, where)["rootfs"]["diff_ids"]]
    with Lease(store) as lease:
        lease.protect(diff_ids)
        layers = [layer for diff_id in diff_ids if (layer := present_layer(store, diff_id))]
        if len(layers) != len(diff_ids):
            return None
        return add_image(store, member.config, member.manifest, member.manifest_type, layers)


def record_layers(store: Store, layers: Sequence[AddedLayer]) -> None:
    """Tell the database of layers as soon as they are extracted, so that a load or pull that is killed can go on there.
    `add_image` does so too."""
    with transaction(store.db) as db:
        _record(db, layers)


def present_layer(store: Store, diff_id: str) -> AddedLayer | None:
    """The layer (hex) where it is here and recorded, as `add_image` takes it; else None. Without its row nobody knows
    its sizes: it is to be extracted again."""
    row = store.db.execute(
        "SELECT diff_id, size, tar_size, blob, blob_size, media_type, id_map FROM layers WHERE diff_id = ?", (diff_id,)
    ).fetchone()
    return AddedLayer(*row) if row is not None and store.layers.has(diff_id) else None


def _record(db: Connection, layers: Sequence[AddedLayer]) -> None:
    now = time.time()
    db.executemany(
        "INSERT INTO layers VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (diff_id) DO UPDATE SET"
        " blob = excluded.blob, blob_size = excluded.blob_size, media_type = excluded.media_type"
        " WHERE blob IS NULL AND excluded.blob IS NOT NULL",
        [(lr.diff_id, lr.size, lr.tar_size, lr.blob, lr.blob_size, lr.media_type, lr.id_map, now) for lr in layers],
    )


def _can_give(db: Connection, manifest: bytes, where: str) -> bool:
    """Whether every layer that the manifest lists is kept as it is listed, compressed or not."""
    try:
        wanted = {digest_hex(entry["digest"], where) for entry in loads(manifest)["layers"]}
    except (ValueError, TypeError, KeyError):
        raise ImageError(f"{where}: its manifest lists no layers") from None
    marks = ",".join("?" * len(wanted))
    found = db.execute(
        f"SELECT count(*) FROM layers WHERE blob IN ({marks}) OR diff_id IN ({marks})", [*wanted, *wanted]
    ).fetchone()
    return int(found[0]) == len(wanted)


def full_name(text: str) -> str:
    """The name as it is stored ("docker.io/library/alpine:latest") of a reference without digest.

    Raises UsageError where the text is no reference, or names a digest.
    """
    reference = parse(text)
    if reference.digest:
        raise UsageError(f"naming an image {text}: a name to give has a tag, not a digest", "leave @sha256:... away")
    return reference.tagged


def tag(store: Store, source: str, targets: Sequence[str]) -> None:
    """Give the image or manifest list `source` the names `targets`, which move here from where they are.

    Raises NotFoundError."""
    names = [full_name(target) for target in targets]
    with transaction(store.db, durable=True) as db:
        image = find_list(db, source) or need_image(db, source)
        db.executemany("INSERT OR REPLACE INTO image_names VALUES (?, ?)", [(name, image.id) for name in names])
    for name in names:
        emit(store, "image", "tag", image.id, name)


def untag(store: Store, source: str, names: Sequence[str] = ()) -> None:
    """Take `names` away from the image `source`, or all its names where none are given, also the digests by which it
    was pulled. Raises NotFoundError."""
    meant = {name: (full_name(name), list_name(name)) for name in names}
    with transaction(store.db, durable=True) as db:
        image = find_list(db, source) or need_image(db, source)
        wanted = [next((one for one in meant[name] if one in image.names), "") for name in names]
        for name, found in zip(names, wanted, strict=True):
            if not found:
                raise NotFoundError(f"untag {source}: it has no name {meant[name][0]}", exit_code=125)
        for name in wanted or image.names:
            db.execute("DELETE FROM image_names WHERE name = ?", (name,))
        if not wanted:
            db.execute("UPDATE image_digests SET pinned = 0 WHERE image_id = ?", (image.id,))
    for name in wanted or image.names:
        emit(store, "image", "untag", image.id, name)


@dataclass(slots=True)
class Removed:
    """What `remove` did to the image `id`: `untagged` names, ids of `deleted` images."""

    id: str = ""
    untagged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)


def users_of(db: Connection, image_id: str) -> list[tuple[str, str, str]]:
    """(id, name, state) of the containers that were made from the image."""
    return db.execute("SELECT id, name, state FROM containers WHERE image_id = ?", (image_id,)).fetchall()


def remove(store: Store, reference: str, force: bool = False) -> Removed:
    """Remove a name, and with its last name the image or the manifest list; by id, either with all its names.

    As Podman and Docker: an id with several names needs `force`; an image that containers use is a ConflictError with
    exit code 2 (`force`: the caller removes the containers first, see `users_of`). Files go with `collect_garbage`,
    which also has it on the disk that the image is no more.
    """
    with transaction(store.db) as db:
        removed = forget(db, reference, force)
    if removed.deleted:
        step("image-forgotten")
    tell_removed(store, removed)
    return removed


def forget(db: Connection, reference: str, force: bool = False) -> Removed:
    """What `remove` does, within a write transaction of the caller's, who then calls `tell_removed`."""
    removed = Removed()
    image = find_list(db, reference) or _need(db, reference)
    removed.id = image.id
    name = name_meant(image, reference)
    if name and len(image.names) > 1:
        db.execute("DELETE FROM image_names WHERE name = ?", (name,))
        removed.untagged.append(name)
    elif not name and len(image.names) > 1 and not force:
        raise ConflictError(
            f"removing image {reference}: it has several names: {', '.join(sorted(image.names))}",
            "remove them one by one, or all with --force",
        )
    else:
        if isinstance(image, Image):
            refuse_if_used(db, image)
            forget_image(db, image.id)
        else:
            forget_list(db, image.id)
        removed.untagged += sorted(image.names)
        removed.deleted.append(image.id)
    return removed


def tell_removed(store: Store, removed: Removed) -> None:
    """Write down the events of a removal."""
    for untagged in removed.untagged:
        emit(store, "image", "untag", removed.id, untagged)
    for image_id in removed.deleted:
        emit(store, "image", "remove", image_id, removed.untagged[0] if removed.untagged else "")


def _need(db: Connection, reference: str) -> Image:
    """As `need_image`, with the exit code that Podman's `rmi` has."""
    try:
        return need_image(db, reference)
    except NotFoundError as error:
        error.exit_code = 1
        raise


def refuse_if_used(db: Connection, image: Image) -> None:
    """Raise ConflictError (exit code 2) where containers have the image."""
    users = users_of(db, image.id)
    if users:
        listed = ", ".join(f"{name} ({state})" for _, name, state in users[:5])
        more = f" and {len(users) - 5} more" if len(users) > 5 else ""
        shown = image.names[0] if image.names else image.id[:12]
        raise ConflictError(
            f"removing image {shown}: in use by container{'s' if len(users) > 1 else ''} {listed}{more}",
            "remove the containers first (rootless rm), or both with --force",
            exit_code=2,
        )


def forget_image(db: Connection, image_id: str) -> None:
    """Delete the rows of an image; within the caller's transaction."""
    for table in ("image_names", "image_digests", "image_layers"):
        db.execute(f"DELETE FROM {table} WHERE image_id = ?", (image_id,))
    db.execute("DELETE FROM images WHERE id = ?", (image_id,))


def name_meant(image: Image | ManifestList, reference: str) -> str | None:
    """The one of the image's names that `reference` spells, or None where it is an id or a digest."""
    try:
        meant = parse(reference)
    except UsageError:  # an id need not be a reference
        return None
    if meant.digest:
        return None
    if meant.tagged in image.names:
        return meant.tagged
    ending = f"/{meant.path.removeprefix('library/')}:{meant.tag or DEFAULT_TAG}"
    return next((name for name in image.names if name.endswith(ending)), None)
