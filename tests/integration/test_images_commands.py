"""The image commands as users type them, beside real containers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.images import busybox_archive
from tests.support.leaks import entries


@pytest.fixture
def loaded(fresh: Rootless, busybox: Path) -> Rootless:
    fresh("load", "-q", "-i", str(busybox))
    return fresh


def test_an_image_in_use_is_refused_with_2_and_goes_by_force_with_its_containers(loaded: Rootless) -> None:
    loaded("create", "--network", "none", "--name", "one", "busybox", "true")
    loaded("run", "-d", "--network", "none", "--name", "two", "busybox", "sleep", "100")
    refused = loaded("rmi", "busybox", check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: removing image docker.io/library/busybox:latest: in use by containers ")
    assert "one (created)" in refused.stderr
    assert "two (running)" in refused.stderr
    assert "hint: " in refused.stderr
    assert loaded("rmi", "-a", check=False).returncode == 2
    assert loaded.out("image", "prune", "-a", "-f") == ""
    loaded("rmi", "-f", "busybox")
    assert loaded("rmi", "-f", "busybox").stdout == "", "what is gone is no failure where --force is"
    assert loaded.out("ps", "-a", "-q") == loaded.out("images", "-q") == ""
    assert entries(loaded.root / "layers") == []


def test_a_container_keeps_its_layers_while_its_image_loses_its_name(loaded: Rootless, tmp_path: Path) -> None:
    loaded("create", "--network", "none", "--name", "one", "busybox", "cat", "/etc/passwd")
    (tmp_path / "new").mkdir()
    loaded("load", "-q", "-i", str(busybox_archive(tmp_path / "new", Labels={"new": "yes"})))
    assert len(loaded.out("images", "-q", "--filter", "dangling=true").split()) == 1
    loaded("image", "prune", "-f")
    assert "root:x:0:0" in loaded.out("start", "-a", "one")
    loaded("rm", "one")
    assert len(loaded.out("image", "prune", "-f").split()) == 1
    assert len(entries(loaded.root / "layers")) == 1


def test_removing_goes_on_after_what_is_not_there(loaded: Rootless) -> None:
    done = loaded("rmi", "nothing", "busybox", check=False)
    assert done.returncode == 1
    assert "nothing: no such image" in done.stderr
    assert done.stdout.startswith("Untagged: docker.io/library/busybox:latest\nDeleted: ")
    assert loaded("rmi", "--ignore", "nothing").stderr == ""
    assert loaded("rmi", check=False).returncode == 125


def test_exists_answers_with_its_exit_code(loaded: Rootless) -> None:
    assert loaded("image", "exists", "busybox").returncode == 0
    missing = loaded("image", "exists", "busybox:2", check=False)
    assert (missing.returncode, missing.stdout, missing.stderr) == (1, "", "")


def test_tag_and_untag(loaded: Rootless) -> None:
    loaded("tag", "busybox", "mine:1", "quay.io/me/tool")
    assert set(loaded.out("images", "--format", "{{.Repository}}:{{.Tag}}").split()) == {
        "docker.io/library/busybox:latest",
        "docker.io/library/mine:1",
        "quay.io/me/tool:latest",
    }
    loaded("untag", "busybox", "quay.io/me/tool:latest", "busybox")
    assert loaded.out("images", "--noheading").split()[:2] == ["docker.io/library/mine", "1"]
    assert loaded("tag", "nothing", "x", check=False).returncode == 125
    assert loaded("tag", "mine:1", "UPPER", check=False).returncode == 125


def test_listing_as_table_ids_template_and_json(loaded: Rootless) -> None:
    image_id = loaded.out("images", "-q", "--no-trunc")
    assert image_id.startswith("sha256:")
    assert loaded.out("images", "-q") == image_id[7:19]
    heading, line = loaded.out("images", "--digests").split("\n")
    assert heading.split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert line.split()[2].startswith("sha256:")
    assert loaded.out("images", "--format", "{{.ID}} {{.Tag}}") == f"{image_id[7:19]} latest"
    assert loaded.out("images", "--format", "table {{.Tag}}").split() == ["TAG", "latest"]
    (found,) = json.loads(loaded.out("images", "--format", "json"))
    assert found["Id"] == image_id[7:]
    assert found["Names"] == ["docker.io/library/busybox:latest"]
    assert found["Created"] == 1704164645
    assert found["Size"] > 1_000_000


def test_sorting(loaded: Rootless) -> None:
    loaded("tag", "busybox", "alpha:9", "zeta:1")
    names = loaded.out("images", "--sort", "repository", "--format", "{{.Repository}}").split()
    assert names == sorted(names)
    tags = loaded.out("images", "--sort", "tag", "--format", "{{.Tag}}").split()
    assert tags == sorted(tags)
    assert loaded("images", "--sort", "colour", check=False).returncode == 125


def test_inspect_has_podmans_keys(loaded: Rootless) -> None:
    found = loaded.inspect_image("busybox")
    assert found["Config"]["Cmd"] == ["/bin/sh"]
    assert found["RepoTags"] == ["docker.io/library/busybox:latest"]
    assert found["RootFS"]["Type"] == "layers"
    assert found["Architecture"] in ("amd64", "arm64")
    assert found["GraphDriver"]["Name"] in ("overlay", "fuse-overlayfs", "vfs")
    assert Path(found["GraphDriver"]["Data"]["UpperDir"]).is_dir()
    assert found["RepoDigests"] == [f"docker.io/library/busybox@{found['Digest']}"]
    assert loaded.out("image", "inspect", "--format", "{{.Id}} {{index .Config.Env 0}}", "busybox") == (
        f"{found['Id']} PATH=/usr/bin:/bin"
    )
    half = loaded("image", "inspect", "busybox", "nothing", check=False)
    assert half.returncode == 125
    assert [image["Id"] for image in json.loads(half.stdout)] == [found["Id"]]
    assert "nothing" in half.stderr


def test_history_in_its_forms(loaded: Rootless) -> None:
    image_id = loaded.out("images", "-q", "--no-trunc").removeprefix("sha256:")
    assert loaded.out("history", "-q", "busybox") == image_id[:12]
    assert loaded.out("history", "-q", "--no-trunc", "busybox") == image_id
    heading, line = loaded.out("history", "busybox").split("\n")
    assert heading.split() == ["ID", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert "layer 0" in line
    assert "MB" in line
    plain = loaded.out("history", "--human=false", "--format", "{{.Created}} {{.Size}}", "busybox")
    assert plain.startswith("2024-01-02T03:04:05Z ")
    assert plain.split()[1].isdigit()
    (step,) = json.loads(loaded.out("history", "--format", "json", "busybox"))
    assert step["CreatedBy"] == "layer 0"
    assert step["Created"] == step["created"] == "2024-01-02T03:04:05Z"


def test_prune_asks_and_takes_no_answer_for_no(loaded: Rootless) -> None:
    loaded("untag", "busybox")
    asked = loaded("image", "prune")
    assert "Are you sure" in asked.stdout
    assert loaded.out("images", "-q")
    assert "Are you sure" in loaded("image", "prune", input="y\n").stdout
    assert loaded.out("images", "-q") == ""
    assert entries(loaded.root / "layers") == []


def test_a_store_of_another_kind_of_file_is_refused(fresh: Rootless, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", Path("/etc")):
        failed = fresh("--root", str(place), "images", check=False)
        assert failed.returncode == 125
        assert "internal error" not in failed.stderr
        assert str(place) in failed.stderr
