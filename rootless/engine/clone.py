"""`container clone`: a container made as another one was, with files of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from rootless.engine.create import create
from rootless.engine.health.plan import inherited
from rootless.engine.records import Container, dependents
from rootless.engine.recover import find
from rootless.engine.request import CreateRequest
from rootless.engine.update import put_limits
from rootless.errors import ConflictError
from rootless.jsontext import loads
from storage.lookup import find_image
from storage.progress import Progress
from storage.store import Store

# What belongs to one container, or to the moment when it was made.
_OWN = ("arch", "cidfile", "conmon_pidfile", "name", "os", "pidfile", "platform", "pull", "replace", "variant")
_SUFFIX = "-clone"


@dataclass(frozen=True, slots=True)
class Cloned:
    """Ids of the new container and of the one that it was made after."""

    id: str
    original: str


def clone(
    store: Store,
    reference: str,
    name: str | None,
    image: str | None,
    words: list[str],
    display: Callable[[], AbstractContextManager[Progress]],
    goes: bool = False,
    force: bool = False,
    limits: dict[str, Any] | None = None,
) -> Cloned:
    """Make a container with the options of another one, of its image or of `image`, and leave it stopped.

    `name` None: that of the other one and "-clone"; `words`: the command line; `goes`: the other one is to be removed
    afterwards, which is refused here where it could not be, with `force` even if it runs. `limits`: fields of
    CreateRequest that are others for the new one. Raises RootlessError, and then nothing was written.
    """
    original = find(store, reference)
    if goes:
        _need_removable(store, original, force)
    plain = {key: value for key, value in loads(original.request).items() if key not in _OWN}
    put_limits(plain, limits or {})
    request = CreateRequest.from_plain(plain)
    request.name = name or _name_after(store, original.name)
    if image or not request.rootfs:
        request.image = image or _image_of(store, original)
        request.rootfs = False
    if image:
        _forget_image(store, original, request)
    request.create_command = words
    request.display = display
    return Cloned(create(store, request), original.id)


def _forget_image(store: Store, original: Container, request: CreateRequest) -> None:
    """Leave to another image what the original's has decided, where no option did."""
    found = find_image(store.db, original.image_id)
    settings = (found.config.get("config") or {}) if found is not None else {}
    if request.user == settings.get("User"):
        request.user = None
    if request.stop_signal == settings.get("StopSignal"):
        request.stop_signal = None
    if request.health is not None and request.health == inherited(settings, original.image_name):
        request.health = None


def _image_of(store: Store, container: Container) -> str:
    """The image's name, unless that is another image by now."""
    found = find_image(store.db, container.image_name)
    return container.image_name if found is not None and found.id == container.image_id else container.image_id


def _name_after(store: Store, name: str) -> str:
    stem, suffix, number = name.rpartition(_SUFFIX)
    stem = stem if suffix and (not number or number.isdecimal()) else name
    taken = {row[0] for row in store.db.execute("SELECT name FROM containers")}
    attempt = 0
    while (found := f"{stem}{_SUFFIX}{attempt or ''}") in taken:
        attempt += 1
    return found


def _need_removable(store: Store, container: Container, force: bool) -> None:
    if container.up and not force:
        raise ConflictError(
            f"cloning {container.name}: with --destroy it would be removed, but it is {container.state}",
            f"rootless stop {container.name}, or add --force",
        )
    if dependents(store.db, container.id):
        raise ConflictError(f"cloning {container.name}: with --destroy it would be removed, but others need it")
