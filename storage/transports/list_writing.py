"""A manifest list of ours with its images into an OCI layout: what `manifest push` does with oci: and oci-archive:."""

from __future__ import annotations

from rootless.errors import StorageError, UsageError
from storage.archives.directory_write import DirectoryWriter
from storage.archives.plan import Plan, choose_kept, plan
from storage.archives.save import write_layout
from storage.archives.write import ArchiveWriter
from storage.documents.index import digest_of, oci_bytes
from storage.documents.manifests import OCI_MANIFEST
from storage.lease import Lease
from storage.list_lookup import members_of
from storage.manifests.lists import need_list
from storage.progress import Progress
from storage.store import Store
from storage.transports.places import OCI, OCI_ARCHIVE
from storage.transports.writing import locked_directory, new_file, other_entries, writable_place


def write_list(store: Store, reference: str, destination: str, progress: Progress | None = None) -> str:
    """Write the list to `destination` and return the digest ("sha256:...") of its index there. What is in an OCI layout
    already stays beside it, but for what has the same name.

    Raises NotFoundError, UsageError, ConflictError, StorageError; what is there is not harmed by a failure.
    """
    found = need_list(store.db, reference)
    place = writable_place(destination)
    where = f"pushing the manifest list {reference} to {destination}"
    if place.transport not in (OCI, OCI_ARCHIVE):
        raise UsageError(f"{where}: {place.transport} holds no lists", "push to a registry, to oci: or oci-archive:")
    progress = progress or Progress()
    members = members_of(store.db, found.id)
    plans: list[Plan] = []
    entries = []
    with Lease(store) as lease:
        for entry in found.index["manifests"]:
            member = members[entry["digest"]]
            if member.source:
                raise UsageError(
                    f"{where}: {member.source} is not in this store", "pull it, and add that to the list in its place"
                )
            chosen = choose_kept(store, lease, member.config, member.manifest, member.manifest_type, where)
            plans.append(plan(chosen, OCI_MANIFEST))
            changed = {"mediaType": OCI_MANIFEST, "digest": f"sha256:{plans[-1].digest}"}
            entries.append({**entry, **changed, "size": len(plans[-1].manifest)})
        if not plans:
            raise UsageError(f"{where}: it is empty", f"rootless manifest add {reference} IMAGE")
        index = oci_bytes({**found.index, "manifests": entries})
        digest = digest_of(index)
        labelled = [(one, [place.name] if place.name else []) for one in plans]
        try:
            if place.transport == OCI_ARCHIVE:
                with new_file(place.path) as descriptor, ArchiveWriter(descriptor, progress) as archive:
                    write_layout(store, archive, labelled, index=index)
            else:
                with locked_directory(place.path) as root:
                    others = other_entries(root, digest.removeprefix("sha256:"), place)
                    with DirectoryWriter(root, progress) as writer:
                        write_layout(store, writer, labelled, others, index)
        except OSError as error:
            raise StorageError(f"{where}: {error.strerror}") from None
    return digest
