"""`image tree`: what podman 5.4.2 prints for the same images, but for the sizes, which are those of our layers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.images import docker_archive
from tests.support.layers import tar_of

BASE = tar_of({"base": b"b" * 1_000_000})
MIDDLE = tar_of({"middle": b"m" * 20_480})
TOP = tar_of({"top": b"t" * 10})
OTHER = tar_of({"other": b"o" * 3000})
IMAGES = {
    "base": [BASE],
    "mid": [BASE, MIDDLE],
    "top": [BASE, MIDDLE, TOP],
    "other": [BASE, OTHER],
    "two": [BASE, MIDDLE, OTHER, TOP],
}


@pytest.fixture
def images(fresh: Rootless, tmp_path: Path) -> Rootless:
    for name, layers in IMAGES.items():
        archive = docker_archive(
            tmp_path / f"{name}.tar", layers, names=[f"x.io/{name}:1"], config={"Labels": {"name": name}}
        )
        fresh("load", "-q", "-i", str(archive))
    fresh("tag", "x.io/mid:1", "x.io/again:2")
    return fresh


def short(layer: bytes) -> str:
    return hashlib.sha256(layer).hexdigest()[:12]


def test_the_layers_of_an_image_and_whose_they_are(images: Rootless) -> None:
    base, middle, top = short(BASE), short(MIDDLE), short(TOP)
    image_id = images.inspect_image("x.io/top:1")["Id"][:12]
    assert images("image", "tree", "x.io/top:1").stdout == (
        f"Image ID: {image_id}\n"
        "Tags:     [x.io/top:1]\n"
        "Size:     1.02MB\n"
        "Image Layers\n"
        f"├── ID: {base} Size: 1MB Top Layer of: [x.io/base:1]\n"
        f"├── ID: {middle} Size: 20.48kB Top Layer of: [x.io/again:2 x.io/mid:1]\n"
        f"└── ID: {top} Size: 10B Top Layer of: [x.io/top:1]\n\n"
    )


def test_what_stands_on_an_image(images: Rootless) -> None:
    middle, top, other = short(MIDDLE), short(TOP), short(OTHER)
    told = images("image", "tree", "--whatrequires", "x.io/mid:1").stdout
    assert told.partition("Image Layers\n")[2] == (
        f"└── ID: {middle} Size: 20.48kB Top Layer of: [x.io/again:2 x.io/mid:1]\n"
        f"    ├── ID: {top} Size: 10B Top Layer of: [x.io/top:1]\n"
        f"    └── ID: {other} Size: 3kB\n"
        f"        └── ID: {top} Size: 10B Top Layer of: [x.io/two:1]\n\n"
    )


def test_what_stands_on_a_lowest_layer_stands_beside_it(images: Rootless) -> None:
    base, middle, top, other = short(BASE), short(MIDDLE), short(TOP), short(OTHER)
    images("untag", "x.io/top:1")
    told = images("image", "tree", "--whatrequires", "x.io/base:1").stdout
    assert told.partition("Image Layers\n")[2] == (
        f"├── ID: {base} Size: 1MB Top Layer of: [x.io/base:1]\n"
        f"├── ID: {middle} Size: 20.48kB Top Layer of: [x.io/again:2 x.io/mid:1]\n"
        f"│   ├── ID: {top} Size: 10B\n"
        f"│   └── ID: {other} Size: 3kB\n"
        f"│       └── ID: {top} Size: 10B Top Layer of: [x.io/two:1]\n"
        f"└── ID: {other} Size: 3kB Top Layer of: [x.io/other:1]\n\n"
    )


def test_an_image_without_layers_and_one_that_is_not_there(fresh: Rootless, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(docker_archive(tmp_path / "empty.tar", [], names=["x.io/empty:1"])))
    assert fresh.out("image", "tree", "x.io/empty:1").endswith("Size:     0B\nImage Layers")
    assert fresh.out("image", "tree", "--whatrequires", "x.io/empty:1").endswith("Image Layers")
    failed = fresh("image", "tree", "x.io/nothing:1", check=False)
    assert failed.returncode == 125
    assert "no such image" in failed.stderr
