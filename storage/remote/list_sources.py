"""What becomes an entry of a manifest list: images of the store, and images and lists that registries have."""

from __future__ import annotations

from typing import Any

from rootless.errors import ImageError, NotFoundError, RootlessError
from rootless.jsontext import loads
from storage.documents.config import parse_config
from storage.documents.index import Entry, foreign_entry, new_entry
from storage.documents.manifests import Manifest, parse_manifest
from storage.documents.platform_choice import choose
from storage.list_lookup import ManifestList, find_list
from storage.lookup import Image, find_image, need_image
from storage.manifests.lists import NewMember
from storage.platforms import host_platform
from storage.references import Reference, split_transport
from storage.registry.access import Access
from storage.registry.asking import ask
from storage.registry.client import Client, RawManifest
from storage.settings.policy import DOCKER, docker_scopes
from storage.settings.policy import check as check_policy
from storage.store import Store

_WHAT = "adding to a manifest list"
_CONFIG_KEYS = ("architecture", "os", "os.version", "os.features", "variant")


def find_members(store: Store, text: str, all_images: bool, access: Access) -> list[NewMember]:
    """What `text` names: an image or a list of the store, else of a registry ("docker://" asks only there). Of a list
    the image for this machine, or with `all_images` all of it. Images of other transports come into the store.

    Raises NotFoundError, RegistryError, ImageError, UsageError.
    """
    transport, rest = split_transport(text)
    if transport == "docker":
        return _of_registry(rest, all_images, access)
    if transport == "containers-storage":
        members = _local(store, rest, all_images)
        if members is None:
            raise NotFoundError(f"{_WHAT}: {rest}: no such image here", "`rootless images` lists what there is")
        return members
    if transport:
        from storage.transports import read_image

        return [_local_member(store, read_image(store, text).id)]
    local = _local(store, text, all_images)
    if local is not None:
        return local
    try:
        return _of_registry(text, all_images, access)
    except RootlessError as error:
        error.message = f"{error.message}; and there is no image {text} here"
        raise


def _local(store: Store, text: str, all_images: bool) -> list[NewMember] | None:
    found = find_list(store.db, text)
    if found is not None and all_images:
        return _of_list(found)
    image = find_image(store.db, text)
    if image is None:
        if found is not None:
            raise NotFoundError(f"{_WHAT}: {text} has no image for this machine", "--all adds all that it lists")
        return None
    return [_local_member(store, image.id)]


def _local_member(store: Store, image_id: str) -> NewMember:
    image = find_image(store.db, image_id)
    if image is None:
        raise NotFoundError(f"{_WHAT}: image {image_id[:12]} has gone meanwhile")
    return NewMember(_entry_of_image(store, image), image.id)


def _entry_of_image(store: Store, image: Image) -> Entry:
    row = store.db.execute("SELECT manifest_type, manifest FROM images WHERE id = ?", (image.id,)).fetchone()
    platform = {key: image.config.get(key) for key in _CONFIG_KEYS}
    return new_entry(row[0], image.digest, len(bytes(row[1])), platform)


def _of_list(found: ManifestList) -> list[NewMember]:
    return [NewMember(entry, list_id=found.id) for entry in found.index["manifests"]]


def _of_registry(text: str, all_images: bool, access: Access) -> list[NewMember]:
    def question(client: Client, reference: Reference) -> list[NewMember]:
        where = f"{_WHAT} {reference}"
        check_policy(DOCKER, docker_scopes(reference), where)  # signatures are looked for when it is copied
        raw = client.manifest(reference.digest or reference.tag or "latest")
        return _members(client, reference, raw, all_images, where)

    return ask(text, _WHAT, access, question)


def _members(client: Client, reference: Reference, raw: RawManifest, all_images: bool, where: str) -> list[NewMember]:
    found = parse_manifest(raw.data, raw.media_type, where)
    if isinstance(found, Manifest):
        config = parse_config(client.document(found.config), where)
        entry = new_entry(found.media_type, raw.digest, len(raw.data), {key: config.get(key) for key in _CONFIG_KEYS})
        return [NewMember(entry, source=_source(reference, raw.digest))]
    listed = loads(raw.data)["manifests"]
    if not all_images:
        listed = [listed[found.entries.index(choose(found, host_platform(), where))]]
    return [_from_index(item, reference, client) for item in listed]


def _from_index(item: dict[str, Any], reference: Reference, client: Client) -> NewMember:
    if not item.get("platform"):
        item = {**item, "platform": _platform_there(client, item["digest"])}
    entry = foreign_entry(item, f"{_WHAT} {reference}")
    return NewMember(entry, source=_source(reference, item["digest"]))


def _platform_there(client: Client, digest: str) -> dict[str, Any]:
    """What the configuration says, where an index does not; nothing where it is no image."""
    raw = client.manifest(digest)
    try:
        found = parse_manifest(raw.data, raw.media_type, _WHAT)
        config = parse_config(client.document(found.config), _WHAT) if isinstance(found, Manifest) else {}
    except ImageError:
        return {}
    return {key: config.get(key) for key in _CONFIG_KEYS}


def _source(reference: Reference, digest: str) -> str:
    return f"docker://{reference.name}@{digest}"


def remote_manifest(text: str, access: Access) -> RawManifest:
    """The manifest or index that a registry has under the name, byte for byte. NotFoundError, RegistryError."""

    def question(client: Client, reference: Reference) -> RawManifest:
        return client.manifest(reference.digest or reference.tag or "latest")

    return ask(text, "inspecting the manifest", access, question)


def digest_in_list(store: Store, text: str) -> str:
    """The digest ("sha256:...") that names an entry: given as it is, or as an image of this store. NotFoundError."""
    if text.startswith("sha256:") and len(text) == 71:
        return text
    return need_image(store.db, text).digest


def subject_of(store: Store, text: str) -> dict[str, Any]:
    """The descriptor of an image of this store, for `subject` of an index. Raises NotFoundError."""
    image = need_image(store.db, text)
    entry = _entry_of_image(store, image)
    return {key: entry[key] for key in ("mediaType", "size", "digest")}
