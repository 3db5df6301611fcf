"""Making a container: everything is settled and checked first (`settle`), then written in one transaction (`write`)."""

from __future__ import annotations

import os
import time

from rootless.engine import defaults, networking, records
from rootless.engine.bundle import COPY_UP, write_config, write_new
from rootless.engine.names import new_id
from rootless.engine.spec.config import build
from rootless.errors import ConflictError, NotFoundError, UsageError
from rootless.faults import step
from rootless.jsontext import dumps
from storage.events import emit
from storage.layers.names import layer_names
from storage.lookup import find_image
from storage.references import split_transport, transport_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from network.ports import Port
    from rootless.engine.request import CreateRequest
    from storage.lookup import Image
    from storage.store import Store

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


class Draft:
    """A container that has been checked and is not written yet.

    `config`: the OCI configuration without the mounts of /etc. `driver`: that of its files. `volumes`: as
    `volumes.Planned`. `network`: (mode, options). `layers`: the names of the image's layers below layers/, lowest
    first. `mounted`: diffIDs of the images that it mounts. `secrets`: id and data of those that it gets.
    """

    __slots__ = (
        "config",
        "driver",
        "hostname",
        "id",
        "image",
        "inspected_mounts",
        "layers",
        "mounted",
        "network",
        "ports",
        "request",
        "secrets",
        "volumes",
    )

    def __init__(self, container_id: str, request: CreateRequest, image: Image) -> None:
        self.id = container_id
        self.request = request
        self.image = image
        self.hostname = request.hostname or (os.uname().nodename if request.uts == "host" else container_id[:12])
        self.network = networking.parse_mode(request.network)
        self.ports: list[Port] = []
        self.driver = ""
        self.config: dict[str, Any] = {}
        self.inspected_mounts: list[dict[str, Any]] = []
        self.layers: list[str] = []
        self.mounted: list[str] = []
        self.secrets: list[tuple[str, bytes]] = []
        self.volumes: dict[str, tuple[bool, dict[str, str], dict[str, str]]] = {}


def create(store: Store, request: CreateRequest) -> str:
    """Make a container and leave it stopped; its id. Raises RootlessError, and then nothing was written."""
    draft = settle(store, request)
    step("create-settled")
    if request.replace:
        from rootless.engine.lifespan import replace

        replace(store, request)
    write(store, draft)
    step("create-written")
    try:
        os.close(make_directory(store, draft))
    except BaseException:
        from rootless.engine.cleanup import remove_container

        remove_container(store, draft.id, True)
        raise
    return draft.id


def settle(store: Store, request: CreateRequest, starting: str = "") -> Draft:
    """Check everything that can be checked beforehand, pulling the image where it is missing.

    `starting`: its id, where it is to run at once, so that the ports that it publishes must be free now.
    """
    defaults.apply(store, request)
    _check_words(request)
    if request.needs_lifespan:
        from rootless.engine import lifespan

        lifespan.settle(store, request)
    if request.rootfs:
        from rootless.engine.spec.own_rootfs import driver_for, stand_in

        image = stand_in(request)
    else:
        image = resolve_image(store, request)
    settings: dict[str, Any] = image.config.get("config") or {}
    draft = Draft(starting or new_id(), request, image)
    if request.env or request.env_file:
        from rootless.engine.spec.environment import resolve

        request.env, request.env_file = resolve(request.env, request.env_file), []
    if request.label_file:
        from rootless.engine.spec.environment import labels_of

        request.label, request.label_file = labels_of(request.label_file) + request.label, []
    if request.secret:
        from rootless.engine.spec import secrets

        draft.secrets = secrets.settle(store, request.secret)
    _inherit(request, settings)
    if request.publish_all:
        networking.publish_all(request, settings)
    if settings.get("Healthcheck") or request.needs_health:
        from rootless.engine.health.plan import settle as settle_health

        settle_health(request, settings)
    draft.ports = networking.parse_ports(request, draft.network[0], bool(starting) and not request.replace)
    networking.check(request, draft.network)
    mounts: list[dict[str, Any]] = []
    copied: list[str] = []
    if request.volume or request.mount or request.tmpfs or request.volumes_from or settings.get("Volumes"):
        from rootless.engine.volumes.plan import plan_for

        planned = plan_for(store, request, settings)
        mounts, copied = planned.mounts, planned.copied
        draft.inspected_mounts = planned.shown
        draft.volumes = planned.volumes
        draft.mounted = planned.layers
    draft.config = build(
        request,
        settings,
        hostname=draft.hostname,
        rootfs=store.layout.container(draft.id) + "/merged",
        mode=draft.network[0],
        single_id=store.user_map.single,
        mounts=mounts,
    )
    if copied:
        draft.config["annotations"][COPY_UP] = "\n".join(copied)
    draft.layers = layer_names(store, image.diff_ids)
    draft.driver = driver_for(request.image, store.driver) if request.rootfs else store.driver
    return draft


def _check_words(request: CreateRequest) -> None:
    if request.name is not None:
        check_name(request.name)
    if request.cidfile and os.path.lexists(request.cidfile):
        raise ConflictError(f"--cidfile {request.cidfile}: the file exists already", "is that container still there?")
    if request.log_driver or request.log_opt:
        from rootless.engine.log_options import check

        check(request)
    if request.hostname is not None and not (0 < len(request.hostname) <= 64 and _NAME.issuperset(request.hostname)):
        raise UsageError(
            f'--hostname "{request.hostname}": not a host name', "letters, digits, - and . are allowed, 64 at most"
        )
    if request.init or request.init_path:
        from rootless.engine.spec.init_program import find_init

        find_init(request.init_path)
    if request.cgroups or request.confined:
        from rootless.engine.cgroups import confine

        confine.check(request)
    if request.passwd_entry or request.group_entry or request.hostuser:
        from rootless.engine.spec import accounts

        accounts.check(request)


def check_name(name: str) -> None:
    """Raise UsageError unless `name` can be a container's name."""
    if not name or name[0] in "_.-" or not _NAME.issuperset(name):
        raise UsageError(
            f'--name "{name}": not a name for a container',
            "names have letters, digits, _ . - and begin with a letter or digit",
        )


def _inherit(request: CreateRequest, image: dict[str, Any]) -> None:
    """Settle what the image decides where the user has not."""
    if request.user is None:
        request.user = image.get("User") or None
    if request.stop_signal is None:
        request.stop_signal = image.get("StopSignal") or None
    if request.stop_signal is not None:
        from rootless.engine.signals import parse_signal

        parse_signal(request.stop_signal)


def resolve_image(store: Store, request: CreateRequest) -> Image:
    """The image that the request names, pulled first where the policy says so.

    Raises NotFoundError, RegistryError and whatever else a pull may meet.
    """
    policy = request.pull or "missing"
    transport = transport_of(request.image)
    if transport == "docker":
        request.image = split_transport(request.image)[1]
        transport = ""
    if (
        not transport
        and policy in ("missing", "never")
        and not (request.platform or request.os or request.arch or request.variant)
    ):
        found = find_image(store.db, request.image)
        if found is not None:
            return found
    from rootless.engine.images import fetch

    return fetch(store, request, policy)


def write(store: Store, draft: Draft, monitor: tuple[int, int, str] = (0, 0, "")) -> None:
    """One transaction: the container, what it stands on, its volumes. Sets `request.name` where it was None.

    `monitor`: `pidfd.myself` of the process that is about to start it. Raises ConflictError where the name
    is taken.
    """
    from rootless.engine.names import generate

    request, settings = draft.request, draft.image.config.get("config") or {}
    named = request.name is not None
    shown = {**request.to_plain(), "inspected_mounts": draft.inspected_mounts, "image_config": _summary(settings)}
    values: dict[str, Any] = {
        "id": draft.id,
        "name": request.name,
        "image_id": draft.image.id,
        "image_name": _image_name(draft.image, request.image),
        "created": time.time(),
        "request": _storable(dumps(shown)),
        "state": records.CREATED,
        "boot_id": monitor[2],
        "monitor_pid": monitor[0],
        "monitor_start": monitor[1],
        "command": _storable(" ".join(draft.config["process"]["args"])),
        "ports": dumps([port.plain() for port in draft.ports]),
        "labels": _storable(dumps(_labels(request, settings))),
        "auto_remove": int(request.rm),
        "driver": draft.driver,
        "network": networking.as_column(*draft.network),
        "restart": request.restart or "",
    }
    rows = (values, draft.image.diff_ids, draft.volumes)
    new_volumes = _missing(store, draft.volumes) if draft.volumes else ()
    try:
        request.name = records.insert(store.db, *rows, None if named else generate, draft.mounted, request.requires)
    except ConflictError:
        if request.name is None or not _has_gone(store, request.name):
            raise
        request.name = records.insert(store.db, *rows, mounted=draft.mounted, dependencies=request.requires)
    for volume in new_volumes:
        emit(store, "volume", "create", volume, volume)
    note(store, draft, "create")


def note(store: Store, draft: Draft, action: str) -> None:
    """Write down what has happened to a container that was just made, as `container_event` does."""
    image = draft.image.config.get("config") or {}
    emit(
        store,
        "container",
        action,
        draft.id,
        draft.request.name or "",
        image=_image_name(draft.image, draft.request.image),
        labels=_labels(draft.request, image),
    )


def _missing(store: Store, volumes: dict[str, Any]) -> list[str]:
    known = {row[0] for row in store.db.execute("SELECT name FROM volumes")}
    return [name for name in volumes if name not in known]


def _has_gone(store: Store, name: str) -> bool:
    """Whether the container of this name was to be removed at its end, and a crash had left its row until we looked."""
    from rootless.engine.recover import find

    try:
        find(store, name)
    except NotFoundError:
        return True
    return False


def _storable(text: str) -> str:
    """Text for the database, which takes no bytes that are not UTF-8; config.json keeps those."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _summary(image: dict[str, Any]) -> dict[str, Any]:
    """What `inspect` shows of the image that the configuration does not hold."""
    keys = ("Entrypoint", "Cmd", "ExposedPorts", "Volumes", "WorkingDir")
    return {key: image[key] for key in keys if image.get(key)}


def _image_name(image: Image, typed: str) -> str:
    """The image's name as `ps` shows it: the one that was typed, made whole; its id where it has none."""
    if len(image.names) == 1:
        return image.names[0]
    for name in image.names:
        if name == typed or name.endswith(("/" + typed, f"/{typed}:latest")):
            return name
    return image.names[0] if image.names else image.id


def _labels(request: CreateRequest, image: dict[str, Any]) -> dict[str, str]:
    labels = dict(image.get("Labels") or {})
    for text in request.label:
        key, _, value = text.partition("=")
        labels[key] = value
    return labels


def make_directory(store: Store, draft: Draft) -> int:
    """Write what a container keeps on disk: its directory, the root file system's upper part, config.json; the
    descriptor that holds it (`bundle.hold`)."""
    from storage.drivers import prepare

    directory = store.layout.container(draft.id)
    os.mkdir(directory, 0o700)
    os.mkdir(directory + "/merged", 0o700)

    def layers() -> None:
        prepare(draft.driver, store.layout, directory, draft.layers, store.user_namespace)

    if draft.request.rootfs:
        from rootless.engine.spec.own_rootfs import link

        link(directory, draft.request.image, layers)
    else:
        layers()
    if draft.volumes:
        from storage.volumes.rows import make_volume_directory

        for name in draft.volumes:
            make_volume_directory(store.layout, name)
    if draft.mounted:
        from rootless.engine.volumes.start import prepare_images

        prepare_images(store, store.layout, directory, draft.config["mounts"])
    if draft.secrets:
        from rootless.engine.spec import secrets

        secrets.keep(directory, draft.secrets)
    held = write_config(directory, draft.config)
    if draft.request.cidfile:
        write_new(draft.request.cidfile, draft.id)
    return held
