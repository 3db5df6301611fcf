"""Pulling: from a reference to an image in the store.

manifest -> image of the platform -> configuration -> layers that are not here yet (pull_layers) -> database
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import rootless
from rootless.errors import ImageError, NotFoundError, RegistryError, RootlessError
from storage.blobs import remove_part
from storage.documents.config import parse_config
from storage.events import emit
from storage.images.rows import AddedLayer, add_image, present_layer
from storage.lease import Lease
from storage.lookup import Image, find_image
from storage.platforms import Platform, host_platform
from storage.progress import Progress
from storage.references import Reference, split_transport, transport_of
from storage.settings.auth import Credentials, find_credentials, from_option
from storage.settings.policy import DOCKER, Verdict, docker_scopes
from storage.settings.policy import check as check_policy
from storage.settings.registries_conf import Endpoint, RegistriesConf, load, with_tls_verify
from storage.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from storage.documents.manifests import Manifest
    from storage.registry.client import Client, RawManifest
    from storage.registry.patience import Patience

ALWAYS = "always"
MISSING = "missing"
NEVER = "never"
NEWER = "newer"


def pull(
    store: Store,
    text: str,
    platform: Platform | str | None = None,
    policy: str = MISSING,
    progress: Progress | None = None,
    tls_verify: bool | None = None,
    authfile: str | None = None,
    creds: str | None = None,
    patience: Patience | None = None,
    certificates: str | None = None,
) -> str:
    """Make sure the image that `text` names is in the store, and return its id (hex). One with another transport than
    docker:// (storage.transports) is read from there, whatever `policy` is.

    `policy`: "missing" asks a registry only where the image is not here (or is for another platform), "always" asks
    each time, "newer" takes what is here when no registry answers, "never" asks none. Nothing that is here already is
    fetched again. `creds`: "user:password"; `certificates`: a folder in the place of certs.d.
    Raises NotFoundError, RegistryError, ImageError, StorageError, UsageError.
    """
    progress = progress or Progress()
    if isinstance(platform, str):
        from storage.documents.platform_choice import parse_platform

        platform = parse_platform(platform)
    transport = transport_of(text)
    if transport not in ("", "docker"):
        from storage.transports import read_image

        found = read_image(store, text, platform, progress).id
        emit(store, "image", "pull", found, text)
        return found
    text = split_transport(text)[1]
    local = find_image(store.db, text)
    if local is not None and platform is not None and not is_for(local, platform):
        local = None
    if policy == NEVER and local is None:
        raise NotFoundError(f"{text}: no such image here, and the policy is to pull none", "rootless pull fetches it")
    if local is not None and policy in (MISSING, NEVER):
        return local.id
    credentials = from_option(creds) if creds else None
    job = _Pull(store, platform, progress, tls_verify, authfile, credentials, patience, certificates)
    try:
        found = job.run(text)
    except RootlessError as error:
        emit(store, "image", "pull-error", "", text, error=error.message)
        if policy == NEWER and local is not None:
            progress.warn(f"{error.message}; what is here is taken")
            return local.id
        raise
    emit(store, "image", "pull", found, text)
    return found


def is_for(image: Image, wanted: Platform) -> bool:
    """Whether an image that is here is one for `wanted`."""
    from storage.documents.platform_choice import suits

    return suits(_platform_of(image.config), wanted)


def _platform_of(config: dict[str, object]) -> Platform:
    return Platform(*(str(config.get(key) or "") for key in ("os", "architecture", "variant")))


class _Pull:
    """One call of `pull` that has to ask a registry."""

    def __init__(
        self,
        store: Store,
        platform: Platform | None,
        progress: Progress,
        tls_verify: bool | None,
        authfile: str | None,
        credentials: Credentials | None,
        patience: Patience | None,
        certificates: str | None,
    ) -> None:
        from storage.registry.patience import Patience

        self._store = store
        self._asked = platform
        self._wanted = platform or host_platform()
        self._progress = progress
        self._tls_verify = tls_verify
        self._authfile = authfile
        self._credentials = credentials
        self._patience = patience or Patience()
        self._certificates = certificates
        self._conf: RegistriesConf = load()

    def run(self, text: str) -> str:
        """Try what `text` may mean, in each place where it may be; the first that has it wins."""
        faults: list[RootlessError] = []
        for reference in self._conf.candidates(text):
            verdict = check_policy(DOCKER, docker_scopes(reference), f"pulling {reference}")
            for endpoint in with_tls_verify(self._conf.endpoints(reference), self._tls_verify, self._certificates):
                self._progress.note(_trying(reference, endpoint))
                try:
                    return self._from_endpoint(reference, endpoint, verdict)
                except (RegistryError, NotFoundError, ImageError) as fault:
                    faults.append(fault)
        raise _summary(text, faults)

    def _from_endpoint(self, reference: Reference, endpoint: Endpoint, verdict: Verdict) -> str:
        from storage.registry.client import Client
        from storage.registry.patience import Pauses

        where = f"pulling {reference}"
        cancel = threading.Event()
        credentials = self._credentials or find_credentials(
            f"{endpoint.host}/{endpoint.repository}", self._authfile, self._conf.helpers
        )
        if rootless.debug:
            who = f"as {credentials.user or 'a token'}, from {credentials.source}" if credentials else "as nobody"
            rootless.debug(f"{where}: asking {endpoint.host} for {endpoint.repository} {who}")
        client = Client(endpoint, credentials, where, Pauses(self._patience, cancel))
        try:
            with Lease(self._store) as lease:
                return self._from_client(reference, client, verdict, where, lease, cancel)
        finally:
            client.close()

    def _from_client(
        self,
        reference: Reference,
        client: Client,
        verdict: Verdict,
        where: str,
        lease: Lease,
        cancel: threading.Event,
    ) -> str:
        raw = client.manifest(reference.digest or reference.tag or "latest")
        digests = [raw.digest]
        raw, manifest = self._resolve(client, raw, where)
        if raw.digest not in digests:
            digests.append(raw.digest)
        if verdict.signed:
            from storage.signatures.verify import Examination

            Examination(verdict, reference, raw.digest, client, where).check()
        config_bytes = self._config(client, manifest)
        config = parse_config(config_bytes, where)
        self._warn_of_platform(_platform_of(config), where)
        diff_ids = [digest.removeprefix("sha256:") for digest in config["rootfs"]["diff_ids"]]
        if len(diff_ids) != len(manifest.layers):
            raise ImageError(
                f"{where}: the manifest has {len(manifest.layers)} layers, and the configuration {len(diff_ids)}"
            )
        layers = self._layers(client, manifest, diff_ids, where, lease, cancel)
        return add_image(
            self._store,
            config_bytes,
            raw.data,
            manifest.media_type,
            [layers[diff_id] for diff_id in diff_ids],
            [] if reference.digest else [reference.tagged],
            [f"{reference.name}@{digest}" for digest in digests],
            f"{reference.name}@{reference.digest}" if reference.digest else None,
        )

    def _resolve(self, client: Client, raw: RawManifest, where: str) -> tuple[RawManifest, Manifest]:
        """Follow indexes to the manifest of the platform."""
        from storage.documents.manifests import Manifest, parse_manifest
        from storage.documents.platform_choice import choose

        for _ in range(_DEEPEST):
            found = parse_manifest(raw.data, raw.media_type, where)
            if isinstance(found, Manifest):
                return raw, found
            entry = choose(found, self._wanted, where).descriptor
            raw = client.manifest(f"sha256:{entry.digest}")
            if len(raw.data) != entry.size:
                raise ImageError(f"{where}: the manifest has {len(raw.data)} bytes, and {entry.size} in the index")
        raise ImageError(f"{where}: indexes that refer to indexes, {_DEEPEST} deep")

    def _config(self, client: Client, manifest: Manifest) -> bytes:
        known = self._store.db.execute("SELECT config FROM images WHERE id = ?", (manifest.config.digest,)).fetchone()
        return known[0].encode() if known else client.document(manifest.config)

    def _warn_of_platform(self, found: Platform, where: str) -> None:
        from storage.documents.platform_choice import suits

        if not suits(found, self._wanted):
            self._progress.warn(f"{where}: the image is for {found or 'an unknown platform'}, not for {self._wanted}")

    def _layers(
        self,
        client: Client,
        manifest: Manifest,
        diff_ids: list[str],
        where: str,
        lease: Lease,
        cancel: threading.Event,
    ) -> dict[str, AddedLayer]:
        """All layers, of which those that are not here are fetched; what an interrupted pull left is tried once, then
        fetched anew."""
        from storage.remote.pull_layers import StalePartError, WantedLayer, fetch_layers

        lease.protect({*diff_ids, *(layer.digest for layer in manifest.layers)})
        wanted = {diff_id: WantedLayer(blob, diff_id) for blob, diff_id in zip(manifest.layers, diff_ids, strict=True)}
        here = self._here(wanted)
        for diff_id in here:
            remove_part(self._store.layout, wanted[diff_id].blob.digest)
            self._progress.done(wanted[diff_id].blob.digest, "already here")
        missing = [layer for diff_id, layer in wanted.items() if diff_id not in here]
        try:
            return here | fetch_layers(self._store, client, missing, where, self._progress, cancel)
        except StalePartError as fault:
            self._progress.warn(f"{fault.message}; fetching it anew")
            cancel.clear()
            here = self._here(wanted)
            missing = [layer for diff_id, layer in wanted.items() if diff_id not in here]
            return here | fetch_layers(self._store, client, missing, where, self._progress, cancel)

    def _here(self, diff_ids: Iterable[str]) -> dict[str, AddedLayer]:
        """Those of the layers that lie in the store."""
        found = {diff_id: present_layer(self._store, diff_id) for diff_id in diff_ids}
        return {diff_id: layer for diff_id, layer in found.items() if layer}


_DEEPEST = 4


def _trying(reference: Reference, endpoint: Endpoint) -> str:
    named = str(reference) if reference.tag or reference.digest else reference.tagged
    return f"Trying to pull {named}" + (f" from the mirror {endpoint.host}..." if endpoint.mirror else "...")


def _summary(text: str, faults: list[RootlessError]) -> RootlessError:
    """The one error that is told when every place has failed."""
    if len(faults) == 1:
        return faults[0]
    kind = NotFoundError if all(isinstance(fault, NotFoundError) for fault in faults) else RegistryError
    lines = "".join(f"\n  {fault.message}" for fault in faults)
    hints = list(dict.fromkeys(fault.hint for fault in faults if fault.hint))
    return kind(f"pulling {text}: none of {len(faults)} places has given it:{lines}", hints[0] if hints else None)
