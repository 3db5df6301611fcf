"""Fixtures around registries: import them into a test module (or a conftest) to use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.faulty import Faulty
from tests.support.layers import PackedImage, make_image, random_bytes, tar_of
from tests.support.registry import Registry, start_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry without TLS."""
    need("docker-registry")
    found = start_registry(tmp_path_factory.mktemp("registry"))
    yield found
    found.stop()


@pytest.fixture
def faulty(registry: Registry) -> Iterator[Faulty]:
    """A proxy before `registry`, faultless until it is given rules."""
    found = Faulty(registry.base)
    yield found
    found.stop()


OPEN = "--tls-verify=false"
LINES = {"etc/motd": b"hello\n", "srv/data": b"1234" * 1000}
Write = Callable[..., None]


@pytest.fixture
def configure(fresh: Rootless) -> Write:
    """Write the registries.conf of the user that `fresh` runs as."""

    def write(text: str) -> None:
        path = fresh.place / "home/.config/containers/registries.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def files_of(command: Rootless, *diff_ids: str) -> dict[str, bytes]:
    """All regular files of extracted layers, by their path in the layer."""
    found: dict[str, bytes] = {}
    for diff_id in diff_ids:
        place = command.root / "layers" / diff_id / "diff"
        found |= {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    return found


def stored(command: Rootless) -> dict[str, list[str]]:
    """Names of what lies in the store: layers, blobs, temporary files."""
    places: dict[str, Path] = {
        "layers": command.root / "layers",
        "blobs": command.root / "blobs/sha256",
        "tmp": command.root / "tmp",
    }
    return {name: sorted(path.name for path in place.iterdir()) for name, place in places.items() if place.exists()}


def small(seed: int = 0, layers: int = 2, **more: object) -> PackedImage:
    tars = [tar_of({f"layer-{number}": f"{seed}.{number}".encode(), **LINES}) for number in range(layers)]
    return make_image(tars, **more)  # type: ignore[arg-type]


def big(seed: int, layers: int = 1, size: int = 3 << 20) -> PackedImage:
    """Layers that do not compress, for what happens in the middle of a blob."""
    return make_image([tar_of({f"random-{number}": random_bytes(seed + number, size)}) for number in range(layers)])
