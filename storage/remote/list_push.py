"""Pushing manifest lists: the images first, then the index that names them as they are there.

An image of this store may get another manifest on its way, as its layers are compressed; the index says what was sent.
What only another registry has goes from there, byte for byte.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from rootless.errors import UsageError
from rootless.jsontext import loads
from storage.documents.config import digest_hex
from storage.documents.index import Entry, all_docker, digest_of, docker_bytes, oci_bytes
from storage.documents.manifests import DOCKER_LIST, OCI_INDEX
from storage.lease import Lease
from storage.list_lookup import ManifestList, Member, members_of
from storage.manifests.lists import need_list
from storage.progress import Progress
from storage.references import Reference, parse, split_transport
from storage.registry.access import Access
from storage.registry.patience import Pauses
from storage.registry.upload import Uploader
from storage.remote.list_copy import copy_manifest
from storage.remote.push import register, send_image, sources_at
from storage.remote.push_plan import FORMATS, Recipe, StoredImage
from storage.settings.registries_conf import Endpoint, RegistriesConf, load
from storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.signatures.signing import Signer

_MOST_SCOPES = 8  # repositories that a token is asked for


def push_list(
    store: Store,
    reference: str,
    destination: str | None,
    recipe: Recipe,
    access: Access,
    with_images: bool = True,
    progress: Progress | None = None,
    signer: Signer | None = None,
) -> str:
    """Send the list, and the images that it lists unless the registry has them, and return the digest ("sha256:...") of
    its index there. `destination`: as `push` takes it; None is the list's own name.
    `signer` signs the index and, where they are sent, the images, all for the name of the list there.

    Raises NotFoundError, RegistryError, ImageError, StorageError, UsageError.
    """
    found = need_list(store.db, reference)
    target = _target(found, reference, destination)
    conf = load()
    if signer:
        signer.check_place(target)
    endpoint = access.endpoint(conf, target)
    push = _Push(store, found, target, endpoint, conf, recipe, access, progress or Progress(), signer)
    return push.run(with_images)


def _target(found: ManifestList, reference: str, destination: str | None) -> Reference:
    if destination is None:
        if len(found.names) != 1:
            raise UsageError(
                f"pushing the manifest list {reference}: it has {len(found.names) or 'no'} names", "say where to"
            )
        return parse(found.names[0])
    transport, rest = split_transport(destination)
    if transport not in ("", "docker"):
        raise UsageError(
            f"pushing a manifest list to {destination}: lists are pushed to registries only", "write REGISTRY/NAME:TAG"
        )
    return parse(rest)


@dataclass(slots=True)
class _Push:
    """One push of one list."""

    store: Store
    found: ManifestList
    target: Reference
    endpoint: Endpoint
    conf: RegistriesConf
    recipe: Recipe
    access: Access
    progress: Progress
    signer: Signer | None

    def run(self, with_images: bool) -> str:
        """The digest of the index there."""
        where = f"pushing {self.target}"
        members = members_of(self.store.db, self.found.id)
        sources = sources_at(self.store.db, self.conf, self.target, self.endpoint)
        cancel = threading.Event()
        pauses = Pauses(self.access.patience, cancel)
        credentials = self.access.credentials_for(self.conf, self.endpoint)
        uploader = Uploader(self.endpoint, credentials, where, pauses, self._scopes(members, sources))
        try:
            entries: list[Entry] = self.found.index["manifests"]
            if with_images:
                with Lease(self.store) as lease:
                    entries = [
                        self._send(uploader, entry, members[entry["digest"]], sources, lease, cancel, number)
                        for number, entry in enumerate(entries, 1)
                    ]
            digest = self._put(uploader, entries)
            if self.signer:
                from storage.registry.client import Client

                digests = [digest, *(entry["digest"] for entry in entries if with_images)]
                self.signer.sign(
                    Client(self.endpoint, credentials, where, pauses), uploader, self.target, digests, where
                )
            return digest
        finally:
            uploader.close()

    def _scopes(self, members: dict[str, Member], sources: dict[str, list[str]]) -> list[str]:
        """Repositories of this registry from which blobs may be taken over."""
        names = [name for repositories in sources.values() for name in repositories]
        for member in members.values():
            if member.source:
                there = self.conf.endpoints(parse(member.source.removeprefix("docker://")))[-1]
                names += [there.repository] if there.host == self.endpoint.host else []
        return [name for name in dict.fromkeys(names) if name != self.endpoint.repository][:_MOST_SCOPES]

    def _send(
        self,
        uploader: Uploader,
        entry: Entry,
        member: Member,
        sources: dict[str, list[str]],
        lease: Lease,
        cancel: threading.Event,
        number: int,
    ) -> Entry:
        """Send one image; its entry as it is there."""
        self.progress.note(f"Pushing image {number} of {len(self.found.index['manifests'])}: {entry['digest']}")
        if member.source:
            return self._copy(uploader, entry, member.source.removeprefix("docker://"))
        diff_ids = [digest_hex(one, entry["digest"]) for one in loads(member.config)["rootfs"]["diff_ids"]]
        lease.protect(diff_ids)
        image_id = hashlib.sha256(member.config).hexdigest()
        listed = self.store.db.execute("SELECT name FROM image_digests WHERE image_id = ?", (image_id,)).fetchall()
        registered = any(name.endswith("@" + entry["digest"]) for (name,) in listed)
        image = StoredImage(member.config, member.manifest, member.manifest_type, tuple(diff_ids), registered)
        where = f"pushing {self.target}"
        data, kind = send_image(self.store, uploader, image, self.recipe, sources, lease, self.progress, cancel, where)
        digest = digest_of(data)
        uploader.put_manifest(data, kind, digest)
        register(self.store, image_id, f"{self.target.name}@{digest}")
        return {**entry, "mediaType": kind, "digest": digest, "size": len(data)}

    def _copy(self, uploader: Uploader, entry: Entry, source: str) -> Entry:
        wanted = FORMATS[self.recipe.format] if self.recipe.format else entry["mediaType"]
        if wanted != entry["mediaType"]:
            raise UsageError(
                f"pushing {self.target}: {source} is not in this store, and cannot be given another format",
                f"rootless pull {source}, and add that to the list; or leave --format away",
            )
        copy_manifest(source, uploader, self.endpoint.host, self.access, self.progress)
        return entry

    def _put(self, uploader: Uploader, entries: list[Entry]) -> str:
        index = {**self.found.index, "manifests": entries}
        plain = not index.get("annotations") and not any(entry.get("annotations") for entry in entries)
        docker = self.recipe.format == "v2s2" or (self.recipe.format is None and all_docker(index) and plain)
        data = docker_bytes(index) if docker else oci_bytes(index)
        digest = digest_of(data)
        if self.target.digest and self.target.digest != digest:
            raise UsageError(f"pushing {self.target}: the index has the digest {digest}", "name a tag instead")
        uploader.put_manifest(
            data, DOCKER_LIST if docker else OCI_INDEX, self.target.tag or self.target.digest or "latest"
        )
        self.progress.note(f"Pushed {self.target} as {digest}")
        return digest
