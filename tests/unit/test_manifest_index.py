"""The JSON of manifest lists: entries, marks, and the two formats."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rootless.errors import ImageError, NotFoundError, UsageError
from storage.documents.index import (
    Marks,
    all_docker,
    annotations_of,
    docker_bytes,
    entry_of,
    foreign_entry,
    marked,
    new_entry,
    new_index,
    oci_bytes,
    with_annotations,
    with_entry,
    without,
)
from storage.documents.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Index, parse_manifest

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def entry(digest: str = ONE, kind: str = OCI_MANIFEST, **platform: Any) -> dict[str, Any]:
    return new_entry(kind, digest, 7, platform)


def test_an_entry_names_a_platform_even_where_nothing_is_known() -> None:
    assert entry() == {
        "mediaType": OCI_MANIFEST,
        "size": 7,
        "digest": ONE,
        "platform": {"architecture": "", "os": ""},
    }
    assert entry(architecture="arm", os="linux", variant=None, author="x")["platform"] == {
        "architecture": "arm",
        "os": "linux",
    }


def test_marks_change_what_they_say_and_leave_the_rest() -> None:
    before = entry(architecture="arm", os="linux", variant="v6")
    assert marked(before, Marks()) == before
    after = marked(before, Marks(variant="v7", os_features=("f",), annotations={"k": "v"}))
    assert after["platform"] == {"architecture": "arm", "os": "linux", "os.features": ["f"], "variant": "v7"}
    assert after["annotations"] == {"k": "v"}
    assert marked(after, Marks(annotations={"k": "w", "l": ""}))["annotations"] == {"k": "w", "l": ""}
    assert "annotations" not in before


def test_an_index_has_each_digest_once_in_the_order_of_coming() -> None:
    index = with_entry(with_entry(new_index(), entry(ONE)), entry(TWO))
    again = with_entry(index, entry(ONE, os="linux"))
    assert [one["digest"] for one in again["manifests"]] == [ONE, TWO]
    assert entry_of(again, ONE, "x")["platform"]["os"] == "linux"
    assert without(again, ONE, "x")["manifests"] == [entry(TWO)]
    for digest in (ONE, "sha256:" + "3" * 64):
        with pytest.raises(NotFoundError, match="nothing in the list"):
            without(with_entry(new_index(), entry(TWO)), digest, "x")
    assert new_index()["manifests"] == []


def test_what_only_docker_has_is_not_in_ocis_form_and_the_other_way_round() -> None:
    one = marked(entry(kind=DOCKER_MANIFEST), Marks("amd64", "linux", features=("sse",), annotations={"k": "v"}))
    index = with_annotations(with_entry(new_index(), one), {"a": "b"})
    oci, docker = json.loads(oci_bytes(index)), json.loads(docker_bytes(index))
    assert (oci["mediaType"], oci["annotations"]) == (OCI_INDEX, {"a": "b"})
    assert oci["manifests"][0]["platform"] == {"architecture": "amd64", "os": "linux"}
    assert docker == {
        "schemaVersion": 2,
        "mediaType": DOCKER_LIST,
        "manifests": [
            {
                "mediaType": DOCKER_MANIFEST,
                "size": 7,
                "digest": ONE,
                "platform": {"architecture": "amd64", "os": "linux", "features": ["sse"]},
            }
        ],
    }
    for data in (oci_bytes(index), docker_bytes(index)):
        assert isinstance(parse_manifest(data, "", "x"), Index)
    assert all_docker(index)
    assert not all_docker(with_entry(index, entry(TWO)))
    assert not all_docker(new_index())


@pytest.mark.parametrize("text", ["", "a", "=b"])
def test_annotations_have_a_key_and_a_value(text: str) -> None:
    assert annotations_of(["a=b=c", "d="]) == {"a": "b=c", "d": ""}
    with pytest.raises(UsageError):
        annotations_of([text])


@pytest.mark.parametrize(
    "wrong",
    [
        {"annotations": ["a"]},
        {"annotations": {"a": 1}},
        {"artifactType": 1},
        {"platform": {"os.version": 1}},
        {"platform": {"os.features": "a"}},
        {"platform": {"features": [1]}},
    ],
)
def test_entries_of_others_are_checked(wrong: dict[str, Any]) -> None:
    sound = {"digest": ONE, "size": 7, "mediaType": OCI_MANIFEST, "platform": {"os": "linux", "architecture": "arm"}}
    assert foreign_entry(sound, "x") == entry(os="linux", architecture="arm")
    with pytest.raises(ImageError, match="malformed"):
        foreign_entry({**sound, **wrong}, "x")
