"""What of a container's settings becomes the image's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rootless.engine.files.commit_config import CommitOptions, Described, image_config, inner_config, read_given
from rootless.errors import ImageError, UsageError

IMAGE: dict[str, Any] = {
    "Env": ["PATH=/bin", "A=1"],
    "Entrypoint": ["/entry"],
    "Cmd": ["default"],
    "Labels": {"of": "image"},
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "StopSignal": "SIGINT",
    "Healthcheck": {"Test": ["CMD", "true"]},
    "OnBuild": None,
}


def described(request: dict[str, Any] | None = None, **more: Any) -> Described:
    values: dict[str, Any] = {
        "request": request or {},
        "process": {"args": ["/entry", "default"], "cwd": "/srv"},
        "image_name": "docker.io/me/base:1",
        "labels": {"of": "image"},
        "mounted": [],
        "ports": [],
    }
    return Described(**{**values, **more})


def test_a_container_without_options_has_the_images_settings() -> None:
    assert inner_config(IMAGE, described(), CommitOptions()) == {key: IMAGE[key] for key in IMAGE if key != "OnBuild"}


def test_options_of_the_container_are_kept() -> None:
    request = {
        "env": ["A=2", "B=3"],
        "command": ["serve", "--all"],
        "user": "1000",
        "stop_signal": "SIGQUIT",
        "workdir": "/work",
    }
    inner = inner_config(
        IMAGE,
        described(request, labels={"of": "image", "mine": "yes"}, mounted=["/anonymous"], ports=["80/tcp"]),
        CommitOptions(),
    )
    assert inner["Env"] == ["PATH=/bin", "A=2", "B=3"]
    assert (inner["Entrypoint"], inner["Cmd"]) == (["/entry"], ["serve", "--all"])
    assert (inner["User"], inner["StopSignal"], inner["WorkingDir"]) == ("1000", "SIGQUIT", "/work")
    assert inner["Labels"] == {"of": "image", "mine": "yes"}
    assert inner["Volumes"] == {"/data": {}, "/anonymous": {}}
    assert inner["ExposedPorts"] == {"80/tcp": {}}


@pytest.mark.parametrize(("given", "kept"), [("/other", ["/other"]), ('["/a", "b"]', ["/a", "b"]), ("", None)])
def test_another_entry_point_takes_the_command_away(given: str, kept: list[str] | None) -> None:
    inner = inner_config(IMAGE, described({"entrypoint": given}), CommitOptions())
    assert inner.get("Entrypoint") == kept
    assert "Cmd" not in inner


def test_given_settings_are_merged_and_changes_come_last() -> None:
    given = {"Env": ["A=file", "C=4"], "Cmd": ["from the file"], "Labels": {"x": "1"}, "User": ""}
    options = CommitOptions(config=given, changes=["ENV C=5", "LABEL x=2", "USER bob"])
    inner = inner_config(IMAGE, described(), options)
    assert inner["Env"] == ["PATH=/bin", "A=file", "C=5"]
    assert inner["Cmd"] == ["from the file"]
    assert "Entrypoint" not in inner  # as Podman: they belong together
    assert inner["Labels"] == {"of": "image", "x": "2"}
    assert inner["User"] == "bob"


def test_the_history_goes_on() -> None:
    base = {"history": [{"created_by": "one"}], "architecture": "riscv64", "author": "them", "config": IMAGE}
    config = json.loads(image_config(base, described(), CommitOptions(author="me"), ["a" * 64, "b" * 64]))
    assert [step["created_by"] for step in config["history"]] == ["one", "/entry default"]
    assert config["history"][-1]["comment"] == "FROM docker.io/me/base:1"
    assert config["history"][-1]["created"] == config["created"]
    assert (config["author"], config["architecture"], config["os"]) == ("me", "riscv64", "linux")
    assert config["rootfs"]["diff_ids"] == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
    squashed = json.loads(image_config(base, described(), CommitOptions(squash=True, message="m"), ["a" * 64]))
    assert [step["comment"] for step in squashed["history"]] == ["m"]
    assert "author" not in squashed


def test_an_image_that_is_gone_leaves_a_configuration_all_the_same() -> None:
    config = json.loads(image_config(None, described(), CommitOptions(docker=True, message="m"), ["a" * 64]))
    assert config["comment"] == "m"
    assert config["architecture"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"Env": "A=1"}', "list of strings"),
        ('{"Labels": []}', "an object"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises((UsageError, ImageError), match=said):
        read_given(str(path))
