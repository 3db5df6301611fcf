"""`system check`: what only a manifest list still holds is looked at, mended and kept as what an image holds is."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_system_check import NAME, check, only, pristine
from tests.support.command import Rootless
from tests.support.extraction import look

__all__ = ["pristine"]


@pytest.fixture
def listed(fresh: Rootless, pristine: Path) -> tuple[Rootless, list[str]]:
    """A store in which a list alone has the layers (diffIDs, the lowest first) of an image, and their blobs."""
    fresh("load", "-q", "-i", str(pristine / "oci"))
    layers = [digest.removeprefix("sha256:") for digest in fresh.inspect_image(NAME)["RootFS"]["Layers"]]
    fresh("manifest", "create", "app", NAME)
    fresh("rmi", NAME)
    assert check(fresh)["ok"]
    return fresh, layers


def sight(place: Path) -> dict[str, dict[str, Any]]:
    """What is in a layer, but for what the next extraction of it may have otherwise."""
    return {
        path: {key: fact for key, fact in facts.items() if key not in ("inode", "blocks", "mtime")}
        for path, facts in look(str(place)).items()
    }


def change(rl: Rootless, *statement: Any) -> None:
    with sqlite3.connect(rl.root / "db.sqlite") as db:
        db.execute(*statement)
    db.close()


def test_a_damaged_layer_of_a_list_alone_is_mended_over_the_layers_below(listed: tuple[Rootless, list[str]]) -> None:
    rl, layers = listed
    place = rl.root / "layers" / layers[1]
    before = sight(place / "diff")
    rl("unshare", "rm", "-rf", str(place / "diff/hard-below"), str(place / "record"))
    found = only(rl)
    assert (found["name"], found["images"]) == (layers[1], ["localhost/app:latest"])
    rl("system", "check", "--repair")
    assert sight(place / "diff") == before
    assert check(rl)["ok"]


def test_a_layer_of_a_list_that_has_lost_its_row_is_no_garbage(listed: tuple[Rootless, list[str]]) -> None:
    rl, layers = listed
    change(rl, "DELETE FROM layers WHERE diff_id = ?", (layers[1],))
    rl("image", "prune", "-f")
    assert (rl.root / "layers" / layers[1]).is_dir()
    damage = check(rl)["damage"]
    assert [one["name"] for one in damage if one["kind"] == "database"] == [layers[1]]
    rl("system", "check", "--repair", check=False)
    assert check(rl)["ok"]
    assert rl.out("run", "--rm", "--network", "none", "app", "echo", "whole") == "whole"


def test_what_a_list_keeps_of_its_images_is_checked(listed: tuple[Rootless, list[str]]) -> None:
    rl, layers = listed
    change(rl, "DELETE FROM manifest_list_layers WHERE diff_id = ?", (layers[0],))
    assert only(rl)["what"][0].endswith("the list of layers is not that of its configuration")
    rl("system", "check", "--repair")
    assert check(rl)["ok"]
    change(rl, "UPDATE manifest_list_members SET config = config || ' '")
    assert "the configuration is not the one" in only(rl)["what"][0]
    rl("system", "check", "--repair", "--force")
    assert check(rl)["ok"]
    assert json.loads(rl.out("manifest", "inspect", "app"))["manifests"] == []
    assert os.listdir(rl.root / "layers") == []


def test_a_layer_that_is_lost_for_good_is_taken_out_of_the_list_by_force(listed: tuple[Rootless, list[str]]) -> None:
    rl, layers = listed
    for place in (rl.root / "blobs/sha256").iterdir():
        place.write_bytes(b"x")
    rl("unshare", "rm", "-rf", str(rl.root / "layers" / layers[1]))
    assert not check(rl, "--repair")["ok"]
    rl("system", "check", "--repair", "--force")
    assert check(rl)["ok"]
    assert json.loads(rl.out("manifest", "inspect", "app"))["manifests"] == []


def test_df_counts_blobs_of_lists_as_needed(listed: tuple[Rootless, list[str]]) -> None:
    rl, layers = listed
    rows = [json.loads(line) for line in rl.out("system", "df", "--format", "{{json .}}").splitlines()]
    assert [row["Active"] for row in rows if row["Type"] == "Blobs"] == [len(layers)]


def test_a_repaired_layer_of_a_container_alone_stands_over_the_layers_below(fresh: Rootless, pristine: Path) -> None:
    fresh("load", "-q", "-i", str(pristine / "oci"))
    layers = [digest.removeprefix("sha256:") for digest in fresh.inspect_image(NAME)["RootFS"]["Layers"]]
    fresh("create", "--name", "c", "--network", "none", NAME, "true")
    fresh("tag", NAME, "other")
    change(fresh, "DELETE FROM images")  # as a removal by force once left them
    for table in ("image_names", "image_digests", "image_layers"):
        change(fresh, f"DELETE FROM {table}")
    place = fresh.root / "layers" / layers[1]
    before = sight(place / "diff")
    fresh("unshare", "rm", "-rf", str(place / "diff/hard-below"), str(place / "record"))
    fresh("system", "check", "--repair")
    assert sight(place / "diff") == before
