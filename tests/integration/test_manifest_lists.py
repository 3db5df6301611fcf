"""`manifest ...`: lists here, their images, and pushing both; skopeo and docker-registry say what has arrived."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from storage.documents.manifests import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from tests.conftest import need
from tests.support.command import Rootless
from tests.support.faulty import Faulty
from tests.support.images import NAME, busybox_archive, docker_archive
from tests.support.layers import PackedImage, index_of, make_image, tar_of
from tests.support.pulling import OPEN, stored
from tests.support.pulling import faulty as faulty
from tests.support.pulling import registry as registry
from tests.support.registry import Registry

HERE = (
    "amd64" if subprocess.run(["uname", "-m"], capture_output=True, text=True).stdout.strip() == "x86_64" else "arm64"
)
OTHER = "arm64" if HERE == "amd64" else "amd64"
ZEROS = "sha256:" + "0" * 64


def image_for(architecture: str, seed: str = "") -> PackedImage:
    tars = [tar_of({"etc/arch": architecture.encode()}), tar_of({"etc/seed": f"{seed}{architecture}".encode()})]
    return make_image(tars, architecture=architecture)


def load(command: Rootless, place: Path, name: str, architecture: str) -> str:
    """Import an image for `architecture`; its manifest's digest."""
    place.mkdir(exist_ok=True)
    (place / "rootfs.tar").write_bytes(tar_of({"etc/arch": architecture.encode()}))
    command("import", "-q", "--arch", architecture, str(place / "rootfs.tar"), name)
    return str(command.inspect_image(name)["Digest"])


@pytest.fixture
def two(fresh: Rootless, tmp_path: Path) -> tuple[str, str]:
    """Images x.io/here:1 for this machine and x.io/other:1 for another in the store; the digests of their manifests."""
    return load(fresh, tmp_path / "a", "x.io/here:1", HERE), load(fresh, tmp_path / "b", "x.io/other:1", OTHER)


def index(command: Rootless, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(command.out("manifest", "inspect", name))
    return found


def listed(command: Rootless, name: str) -> list[str]:
    return [entry["digest"] for entry in index(command, name)["manifests"]]


def skopeo(*args: str) -> bytes:
    need("skopeo")
    return subprocess.run(["skopeo", *args], check=True, capture_output=True).stdout


def raw(reference: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{reference}"))
    return found


# lists here


def test_a_list_is_made_and_shown_as_podman_does(fresh: Rootless, two: tuple[str, str]) -> None:
    list_id = fresh.out("manifest", "create", "--annotation", "a=b", "app", "x.io/here:1", "x.io/other:1")
    assert len(list_id) == 64
    assert index(fresh, "app") == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "size": index(fresh, "app")["manifests"][number]["size"],
                "digest": digest,
                "platform": {"architecture": architecture, "os": "linux"},
            }
            for number, (digest, architecture) in enumerate(zip(two, (HERE, OTHER), strict=True))
        ],
        "annotations": {"a": "b"},
    }
    assert fresh.out("manifest", "inspect", "app").startswith('{\n    "schemaVersion": 2,\n    "mediaType"')
    shown = fresh.out("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "--no-trunc").splitlines()
    assert f"localhost/app:latest sha256:{list_id}" in shown
    by_json = next(one for one in json.loads(fresh.out("images", "--format", "json")) if one["Id"] == list_id)
    assert by_json["Names"] == ["localhost/app:latest"]
    assert by_json["RepoDigests"] == [f"localhost/app@{by_json['Digest']}"]


def test_a_name_is_given_once_unless_amended(fresh: Rootless, two: tuple[str, str]) -> None:
    list_id = fresh.out("manifest", "create", "app")
    for name in ("app", "x.io/here:1"):
        failed = fresh("manifest", "create", name, "x.io/other:1", check=False)
        assert failed.returncode == 125
        assert "in use" in failed.stderr
    assert listed(fresh, "app") == []
    assert fresh.out("manifest", "create", "--amend", "app", "x.io/here:1") == list_id
    assert fresh.out("manifest", "create", "-a", "app", "x.io/other:1") == list_id
    assert listed(fresh, "app") == list(two)
    assert fresh("manifest", "create", "-a", "x.io/here:1", check=False).returncode == 125


def test_entries_say_what_the_options_say(fresh: Rootless, two: tuple[str, str]) -> None:
    list_id = fresh.out("manifest", "create", "app")
    marks = ["--arch", "arm", "--variant", "v7", "--os", "linux", "--os-version", "7", "--features", "x,y"]
    assert fresh.out("manifest", "add", *marks, "--annotation", "k=v=w", "app", "x.io/here:1") == list_id
    assert index(fresh, "app")["manifests"][0]["platform"] == {
        "architecture": "arm",
        "os": "linux",
        "os.version": "7",
        "variant": "v7",
    }
    more = ["--variant", "v6", "--os-features", "f", "--annotation", "n=1"]
    assert fresh.out("manifest", "annotate", *more, "app", two[0]) == list_id
    fresh("manifest", "annotate", "--annotation", "n=2", "app", "x.io/here:1")
    entry = index(fresh, "app")["manifests"][0]
    assert entry["annotations"] == {"k": "v=w", "n": "2"}
    assert entry["platform"]["variant"] == "v6"
    assert entry["platform"]["os.features"] == ["f"]
    fresh("manifest", "annotate", "--index", "--annotation", "top=1", "--subject", "x.io/other:1", "app")
    found = index(fresh, "app")
    assert found["annotations"] == {"top": "1"}
    assert found["subject"]["digest"] == two[1]


def test_adding_again_takes_the_place_of_the_entry(fresh: Rootless, two: tuple[str, str]) -> None:
    fresh("manifest", "create", "app", "x.io/here:1", "x.io/other:1")
    fresh("manifest", "add", "--os-version", "3", "app", "x.io/here:1")
    assert listed(fresh, "app") == list(two)
    assert index(fresh, "app")["manifests"][0]["platform"]["os.version"] == "3"
    fresh("manifest", "create", "--all", "copy", "app")
    assert index(fresh, "copy")["manifests"] == index(fresh, "app")["manifests"]
    fresh("manifest", "create", "one", "app")
    assert listed(fresh, "one") == [two[0]]


def test_several_may_add_at_once(fresh: Rootless, tmp_path: Path) -> None:
    names = [f"x.io/part:{number}" for number in range(5)]
    digests = {load(fresh, tmp_path / str(number), name, f"a{number}") for number, name in enumerate(names)}
    fresh("manifest", "create", "app")
    adding = [fresh.popen("manifest", "add", "app", name) for name in names]
    assert [process.wait(60) for process in adding] == [0] * 5
    for process in adding:
        process.communicate()
    assert set(listed(fresh, "app")) == digests


def test_entries_and_lists_are_removed(fresh: Rootless, two: tuple[str, str]) -> None:
    list_id = fresh.out("manifest", "create", "app", "x.io/here:1", "x.io/other:1")
    assert fresh.out("manifest", "remove", "app", two[0]) == list_id
    assert listed(fresh, "app") == [two[1]]
    for digest in (two[0], ZEROS, "x.io/other:1"):
        assert fresh("manifest", "remove", "app", digest, check=False).returncode == 125
    fresh("tag", "app", "x.io/again:1", "x.io/more:1")
    fresh("untag", "app", "x.io/more:1")
    assert fresh.out("manifest", "rm", "app") == "Untagged: localhost/app:latest"
    assert fresh.out("manifest", "rm", "x.io/again:1") == f"Untagged: x.io/again:1\nDeleted: {list_id}"
    for name in ("app", "x.io/here:1"):
        assert fresh("manifest", "rm", name, check=False).returncode == 1
    assert fresh("manifest", "rm", "-i", "app").returncode == 0
    assert fresh("image", "exists", "x.io/here:1").returncode == 0


def test_whether_there_is_one(fresh: Rootless, two: tuple[str, str]) -> None:
    fresh("manifest", "create", "app")
    assert fresh("manifest", "exists", "app").returncode == 0
    assert fresh("manifest", "exists", "nothing", check=False).returncode == 1
    of_image = fresh("manifest", "exists", "x.io/here:1", check=False)
    assert (of_image.returncode, "not a manifest list" in of_image.stderr) == (125, True)


def test_bad_input_changes_nothing(fresh: Rootless, two: tuple[str, str]) -> None:
    fresh("manifest", "create", "app", "x.io/here:1")
    before = index(fresh, "app")
    for words in (
        ["add", "app", "x.io/other:1", "127.0.0.1:1/nothing:1"],
        ["add", "app", "--annotation", "novalue", "x.io/other:1"],
        ["add", "app", "oci:/nowhere/at-all"],
        ["add", "nothing", "x.io/other:1"],
        ["annotate", "app"],
        ["annotate", "app", ZEROS],
        ["annotate", "--index", "app", two[0]],
        ["annotate", "--index", "--arch", "arm", "app"],
        ["annotate", "--subject", "x.io/other:1", "app", two[0]],
        ["create", "--all", "new", "x.io/here:1", "127.0.0.1:1/nothing:1"],
        ["create", "app@" + ZEROS],
        ["add", "--artifact", "app", "x.io/other:1"],
    ):
        failed = fresh("manifest", *words, check=False)
        assert failed.returncode == 125, words
        assert failed.stderr.startswith("Error: "), words
    assert index(fresh, "app") == before
    assert fresh("manifest", "exists", "new", check=False).returncode == 1


def test_a_list_stands_for_the_image_for_this_machine(fresh: Rootless, tmp_path: Path) -> None:
    fresh("load", "-q", "-i", str(busybox_archive(tmp_path)))
    other = load(fresh, tmp_path / "b", "x.io/other:1", OTHER)
    fresh("manifest", "create", "app", NAME, "x.io/other:1")
    assert fresh.out("run", "--rm", "app", "echo", "it runs") == "it runs"
    assert fresh.inspect_image("app")["RepoTags"] == [NAME]
    assert fresh.out("history", "-q", "app") == fresh.out("history", "-q", NAME)
    fresh("save", "-q", "-o", str(tmp_path / "saved.tar"), "app")
    fresh("rmi", NAME)
    assert fresh("image", "inspect", "app", check=False).returncode == 125
    assert fresh.out("run", "--rm", "--pull=never", "app", "echo", "again") == "again"
    fresh("rmi", fresh.inspect_image("app")["Id"])
    assert fresh.out("run", "--rm", "app", "echo", "again") == "again"
    fresh("manifest", "create", "elsewhere", "x.io/other:1")
    failed = fresh("image", "inspect", "elsewhere", check=False)
    assert failed.returncode == 125
    assert other in listed(fresh, "elsewhere")


def test_removing_images_leaves_what_a_list_needs(fresh: Rootless, two: tuple[str, str], registry: Registry) -> None:
    fresh("manifest", "create", "app", "x.io/here:1", "x.io/other:1")
    layers = stored(fresh)["layers"]
    fresh("rmi", "x.io/here:1")
    fresh("rmi", "-f", "x.io/other:1")
    fresh("image", "prune", "-f")
    assert stored(fresh)["layers"] == layers
    assert len(layers) == 2
    fresh("manifest", "push", "-q", OPEN, "app", f"{registry.host}/kept/app:1")
    assert len(raw(f"{registry.host}/kept/app:1")["manifests"]) == 2
    fresh("manifest", "remove", "app", two[0])
    assert len(stored(fresh)["layers"]) == 1
    fresh("rmi", "app")
    assert stored(fresh)["layers"] == []
    assert fresh.out("images", "-q") == ""


def test_pruning_and_removing_all(fresh: Rootless, two: tuple[str, str]) -> None:
    list_id = fresh.out("manifest", "create", "app", "x.io/here:1")
    fresh("image", "prune", "-f")
    assert fresh("manifest", "exists", "app").returncode == 0
    assert "no name" in fresh("untag", "app", "other", check=False).stderr
    fresh("untag", "app", "app")
    assert list_id[:12] in fresh.out("images", "-q", "--filter", "dangling=true")
    assert list_id in fresh.out("image", "prune", "-f")
    fresh("manifest", "create", "app", "x.io/here:1")
    fresh("rmi", "-a")
    assert (fresh.out("images", "-q"), stored(fresh)["layers"]) == ("", [])


# images of registries


def test_what_a_registry_has_is_only_referred_to(fresh: Rootless, registry: Registry) -> None:
    images = {f"linux/{one}": image_for(one, "remote") for one in (HERE, OTHER)}
    for one in images.values():
        registry.push("far/parts", one, one.manifest.hex[:8])
    packed = index_of({name: one.manifest for name, one in images.items()})
    registry.push_manifest("far/parts", "all", packed.data, packed.media_type)
    fresh("manifest", "create", OPEN, "single", f"docker://{registry.host}/far/parts:all")
    assert listed(fresh, "single") == [images[f"linux/{HERE}"].manifest.digest]
    fresh("manifest", "create", OPEN, "--all", "both", f"{registry.host}/far/parts:all")
    assert listed(fresh, "both") == [one.manifest.digest for one in images.values()]
    other = images[f"linux/{OTHER}"].manifest
    fresh("manifest", "add", OPEN, "single", f"{registry.host}/far/parts@{other.digest}")
    assert index(fresh, "single")["manifests"][1]["platform"] == {"architecture": OTHER, "os": "linux"}
    assert stored(fresh)["layers"] == stored(fresh)["blobs"] == []
    assert index(fresh, "both") == json.loads(fresh.out("manifest", "inspect", "both"))


def test_inspecting_what_a_registry_has(fresh: Rootless, registry: Registry) -> None:
    one = image_for(HERE, "inspect")
    registry.push("far/inspect", one)
    packed = index_of({f"linux/{HERE}": one.manifest}, docker=True)
    registry.push_manifest("far/inspect", "list", packed.data, packed.media_type)
    shown = fresh.out("manifest", "inspect", OPEN, f"docker://{registry.host}/far/inspect:list")
    assert json.loads(shown) == json.loads(packed.data)
    single = fresh("manifest", "inspect", OPEN, f"{registry.host}/far/inspect:latest")
    assert json.loads(single.stdout) == json.loads(one.manifest.data)
    assert "single image" in single.stderr
    failed = fresh("manifest", "inspect", OPEN, f"{registry.host}/far/nothing:1", check=False)
    assert failed.returncode == 125
    assert "no such manifest list here" in failed.stderr


def test_an_image_of_another_transport_is_read_in(fresh: Rootless, tmp_path: Path) -> None:
    archive = docker_archive(tmp_path / "one.tar", [tar_of({"a": b"b"})], names=["x.io/one:1"])
    fresh("manifest", "create", "app")
    fresh("manifest", "add", "app", f"docker-archive:{archive}")
    assert len(listed(fresh, "app")) == 1
    assert fresh("image", "exists", "x.io/one:1").returncode == 0


# pushing


def test_a_pushed_list_has_its_images(
    fresh: Rootless, two: tuple[str, str], registry: Registry, tmp_path: Path
) -> None:
    fresh("manifest", "create", "--annotation", "a=b", "app", "x.io/here:1", "x.io/other:1")
    fresh("manifest", "annotate", "--annotation", "k=v", "app", two[1])
    name = f"{registry.host}/lists/app:1"
    fresh("manifest", "push", OPEN, "--digestfile", str(tmp_path / "digest"), "app", f"docker://{name}")
    found = raw(name)
    assert (found["mediaType"], found["annotations"]) == (OCI_INDEX, {"a": "b"})
    assert [entry["platform"]["architecture"] for entry in found["manifests"]] == [HERE, OTHER]
    assert found["manifests"][1]["annotations"] == {"k": "v"}
    data = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{name}")
    digest = (tmp_path / "digest").read_text()
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest()
    for architecture in (HERE, OTHER):
        skopeo(
            "copy", "-q", "--src-tls-verify=false", "--override-arch", architecture, f"docker://{name}",
            f"oci:{tmp_path}/layout:{architecture}",
        )  # fmt: skip
    fresh("rmi", "-a")
    fresh("pull", "-q", OPEN, "--platform", f"linux/{OTHER}", name)
    assert fresh.inspect_image(name)["Architecture"] == OTHER


def test_lists_in_dockers_format(fresh: Rootless, two: tuple[str, str], registry: Registry) -> None:
    fresh("manifest", "create", "app", "x.io/here:1")
    fresh("manifest", "add", "--features", "f,g", "app", "x.io/other:1")
    name = f"{registry.host}/lists/docker:1"
    fresh("manifest", "push", "-q", OPEN, "--format", "v2s2", "app", name)
    found = raw(name)
    assert found["mediaType"] == DOCKER_LIST
    assert {entry["mediaType"] for entry in found["manifests"]} == {DOCKER_MANIFEST}
    assert found["manifests"][1]["platform"]["features"] == ["f", "g"]
    skopeo("inspect", "--tls-verify=false", "--override-arch", OTHER, f"docker://{name}")


def test_pushing_again_sends_nothing_and_gives_the_same(
    fresh: Rootless, two: tuple[str, str], registry: Registry, faulty: Faulty, tmp_path: Path
) -> None:
    fresh("manifest", "create", "app", "x.io/here:1", "x.io/other:1")
    host = faulty.host
    fresh("manifest", "push", "-q", OPEN, "--digestfile", str(tmp_path / "first"), "app", f"{host}/lists/again:1")
    faulty.requests.clear()
    fresh("manifest", "push", "-q", OPEN, "--digestfile", str(tmp_path / "second"), "app", f"{host}/lists/again:1")
    assert (tmp_path / "first").read_text() == (tmp_path / "second").read_text()
    assert not [request for request in faulty.requests if "uploads" in request.path]


def test_images_go_from_registry_to_registry(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    """Through the proxy the registry is another host: nothing can be mounted, the blobs come and go."""
    images = {f"linux/{one}": image_for(one, "copied") for one in (HERE, OTHER)}
    for one in images.values():
        registry.push("far/copied", one, one.manifest.hex[:8])
    packed = index_of({name: one.manifest for name, one in images.items()})
    registry.push_manifest("far/copied", "all", packed.data, packed.media_type)
    fresh("manifest", "create", OPEN, "--all", "app", f"{faulty.host}/far/copied:all")
    fresh("manifest", "push", OPEN, "--rm", "app", f"{registry.host}/near/copied:1")
    assert [entry["digest"] for entry in raw(f"{registry.host}/near/copied:1")["manifests"]] == [
        one.manifest.digest for one in images.values()
    ]
    assert [request for request in faulty.requests if images[f"linux/{OTHER}"].layers[0].hex in request.path]
    assert fresh("manifest", "exists", "app", check=False).returncode == 1
    assert stored(fresh)["blobs"] == []
    fresh("pull", "-q", OPEN, f"{registry.host}/near/copied:1")


def test_images_of_the_same_registry_are_mounted(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    one = image_for(OTHER, "mounted")
    registry.push("far/mounted", one)
    fresh("manifest", "create", OPEN, "app", f"{faulty.host}/far/mounted@{one.manifest.digest}")
    faulty.requests.clear()
    fresh("manifest", "push", "-q", OPEN, "app", f"{faulty.host}/near/mounted:1")
    assert [entry["digest"] for entry in raw(f"{registry.host}/near/mounted:1")["manifests"]] == [one.manifest.digest]
    assert len([request for request in faulty.requests if "mount=sha256" in request.path]) == 3
    assert not [request for request in faulty.requests if request.method in ("PATCH",)]


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_a_list_goes_into_a_layout(fresh: Rootless, two: tuple[str, str], tmp_path: Path, transport: str) -> None:
    fresh("manifest", "create", "--annotation", "a=b", "app", "x.io/here:1", "x.io/other:1")
    fresh("rmi", "x.io/other:1")
    place = f"{transport}:{tmp_path}/layout"
    if transport == "oci":
        fresh("push", "-q", "x.io/here:1", f"{place}:beside")
        fresh("manifest", "push", "-q", "app", f"{place}:1")
        skopeo("inspect", f"{place}:beside")
    fresh("manifest", "push", "-q", "--digestfile", str(tmp_path / "digest"), "app", f"{place}:1")
    data = skopeo("inspect", "--raw", f"{place}:1")
    assert json.loads(data)["annotations"] == {"a": "b"}
    assert [entry["digest"] for entry in json.loads(data)["manifests"]] == list(two)
    assert (tmp_path / "digest").read_text() == "sha256:" + hashlib.sha256(data).hexdigest()
    skopeo("copy", "-q", "--all", f"{place}:1", f"dir:{tmp_path}/copied")
    fresh("rmi", "-a")
    fresh("manifest", "create", "again")
    fresh("manifest", "add", "again", f"{place}:1")
    assert listed(fresh, "again") == [two[0]]


def test_what_cannot_be_pushed(fresh: Rootless, two: tuple[str, str], registry: Registry) -> None:
    one = image_for(OTHER, "refused")
    registry.push("far/refused", one)
    fresh("manifest", "create", OPEN, "app", "x.io/here:1", f"{registry.host}/far/refused@{one.manifest.digest}")
    for words, told in (
        (["x.io/here:1", f"{registry.host}/a/b:1"], "not a manifest list"),
        (["app", "oci:/tmp/nowhere"], "is not in this store"),
        (["app", "dir:/tmp/nowhere"], "holds no lists"),
        (["--format=oci", "app", "oci:/tmp/nowhere"], "as they are kept"),
        (["--format", "v2s2", "app", f"{registry.host}/a/b:1"], "another format"),
        (["app", f"{registry.host}/a/b@{ZEROS}"], "has the digest"),
        (["--sign-by", "me", "app", f"{registry.host}/a/b:1"], "not supported"),
    ):
        failed = fresh("manifest", "push", "-q", OPEN, *words, check=False)
        assert failed.returncode == 125, words
        assert told in failed.stderr, words
    missing = fresh("manifest", "push", "-q", OPEN, "--all=false", "app", f"{registry.host}/empty/b:1", check=False)
    assert missing.returncode == 125
    assert "refused" in missing.stderr
    assert fresh("manifest", "exists", "app").returncode == 0
