"""From what was typed to an OCI configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rootless.engine.create import check_name
from rootless.engine.names import generate
from rootless.engine.networking import parse_mode
from rootless.engine.request import CreateRequest
from rootless.engine.signals import parse_signal, signal_name
from rootless.engine.spec import config as spec
from rootless.engine.spec.environment import resolve
from rootless.engine.volumes.mount_words import parse_mount
from rootless.engine.volumes.plan import as_oci, plan
from rootless.engine.volumes.words import parse_tmpfs, parse_volume
from rootless.errors import NotFoundError, UsageError

IMAGE = {"Entrypoint": ["/entry"], "Cmd": ["default"], "Env": ["A=image", "PATH=/image"], "WorkingDir": "/work"}


def build(request: CreateRequest, image: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"hostname": "host", "rootfs": "/r", "mode": "none", "single_id": False, "mounts": []}
    return spec.build(request, IMAGE if image is None else image, **{**values, **more})


@pytest.mark.parametrize(
    ("entrypoint", "command", "line"),
    [
        (None, [], ["/entry", "default"]),
        (None, ["x"], ["/entry", "x"]),
        ("other", [], ["other"]),
        ("other", ["x"], ["other", "x"]),
        ('["o", "1"]', ["x"], ["o", "1", "x"]),
        ("", ["x"], ["x"]),
        ("[not json", [], ["[not json"]),
    ],
)
def test_command_line(entrypoint: str | None, command: list[str], line: list[str]) -> None:
    assert spec.arguments(CreateRequest(entrypoint=entrypoint, command=command), IMAGE) == line


def test_no_command_is_an_error() -> None:
    for request in (CreateRequest(), CreateRequest(entrypoint=""), CreateRequest(command=[""])):
        with pytest.raises(UsageError):
            spec.arguments(request, {"Cmd": None, "Entrypoint": None})


def test_environment_of_the_user_wins_over_the_images() -> None:
    lines = spec.environment(CreateRequest(env=["A=user", "B=x=y"]), IMAGE, "host")
    assert lines == ["PATH=/image", "container=rootless", "A=user", "B=x=y", "HOSTNAME=host"]
    assert "TERM=xterm" in spec.environment(CreateRequest(tty=True), {}, "host")


def test_absent_and_null_fields_of_an_image_are_fine() -> None:
    config = build(CreateRequest(command=["x"]), {"Env": None, "WorkingDir": "", "Cmd": None, "User": None})
    assert config["process"]["cwd"] == "/"
    assert build(CreateRequest(command=["x"]), {"WorkingDir": "relative"})["process"]["cwd"] == "/relative"


def test_capabilities() -> None:
    names = spec.capabilities(CreateRequest())
    assert "CAP_CHOWN" in names
    assert "CAP_SYS_ADMIN" not in names
    assert spec.capabilities(CreateRequest(cap_drop=["all"], cap_add=["net_raw"])) == ["CAP_NET_RAW"]
    assert "CAP_CHOWN" not in spec.capabilities(CreateRequest(cap_drop=["CHOWN"]))
    assert spec.capabilities(CreateRequest(privileged=True)) == spec.all_capabilities()
    with pytest.raises(UsageError, match="FLY"):
        spec.capabilities(CreateRequest(cap_add=["FLY"]))


def test_masks() -> None:
    assert "/proc/kcore" in build(CreateRequest())["linux"]["maskedPaths"]
    assert build(CreateRequest(privileged=True))["linux"]["maskedPaths"] == []
    unmasked = spec.Security(CreateRequest(security_opt=["unmask=/proc/kcore:/sys/*", "mask=/x"]))
    assert "/proc/kcore" not in unmasked.masked
    assert not any(path.startswith("/sys/") for path in unmasked.masked)
    assert "/x" in unmasked.masked
    assert spec.Security(CreateRequest(security_opt=["unmask=ALL"])).read_only == []
    for option in ("nonsense", "mask=relative", "apparmor=strict", "no-new-privileges=perhaps"):
        with pytest.raises(UsageError):
            spec.Security(CreateRequest(security_opt=[option]))


@pytest.mark.parametrize(("text", "size"), [("64m", 64 << 20), ("1.5GiB", 3 << 29), ("100", 100), ("2kb", 2048)])
def test_sizes(text: str, size: int) -> None:
    assert spec.size_in_bytes(text, "") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1e999", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        spec.size_in_bytes(text, "")


def test_a_mount_of_the_user_replaces_one_of_ours() -> None:
    config = build(CreateRequest(), mounts=[{"destination": "/dev/shm", "type": "bind", "source": "/s", "options": []}])
    assert [mount["source"] for mount in config["mounts"] if mount["destination"] == "/dev/shm"] == ["/s"]


def test_single_id_mode_asks_for_no_group_of_terminals() -> None:
    def options(single: bool) -> list[str]:
        mounts = build(CreateRequest(), single_id=single)["mounts"]
        return next(list(mount["options"]) for mount in mounts if mount["destination"] == "/dev/pts")

    assert "gid=5" in options(False)
    assert "gid=5" not in options(True)


def test_request_survives_storage() -> None:
    request = CreateRequest("image", env=["A=1"], tty=True, stop_timeout=0, name="n")
    plain = request.to_plain()
    assert plain["stop_timeout"] == 0
    assert CreateRequest.from_plain({**plain, "of a later version": 1}).to_plain() == plain


def test_volumes(tmp_path: Path) -> None:
    bind = parse_volume(f"{tmp_path}:/a/../b:ro,z")
    assert (bind.kind, bind.source, bind.destination) == ("bind", str(tmp_path), "/b")
    assert as_oci(bind, "/v")["options"] == ["rbind", "ro", "rprivate"]
    named = parse_volume("name:/data:nocopy")
    assert (named.kind, named.source, named.copy) == ("volume", "name", False)
    assert as_oci(named, "/v")["source"] == "/v/name/_data"
    assert as_oci(named, "/v")["options"] == ["nosuid", "nodev", "rbind", "rprivate"]
    assert as_oci(parse_volume("name:/data:suid,dev,ro"), "/v")["options"] == ["rbind", "suid", "dev", "ro", "rprivate"]
    assert parse_mount(f"type=bind,src={tmp_path},dst=/x,readonly,bind-propagation=rslave")[0].options == [
        "ro",
        "rslave",
    ]
    assert as_oci(parse_tmpfs("/t:size=1m"), "")["options"] == [
        "nosuid",
        "nodev",
        "size=1048576",
        "tmpcopyup",
        "mode=1777",
    ]


@pytest.mark.parametrize("text", ["a:b", "::", "a:/b:c:d", "-x:/b", "name:/", "name:/..", "name:/b:fly"])
def test_volumes_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_volume(text)


@pytest.mark.parametrize("text", ["type=bind,target=/no/such", "type=bind,source=/no/such,target=/x"])
def test_missing_sources(text: str) -> None:
    with pytest.raises(NotFoundError):
        parse_mount(text)


def test_image_volumes_give_way_to_the_users() -> None:
    request = CreateRequest(volume=["mine:/data"])
    mounts = {mount.destination: mount for mount in plan(request, {"Volumes": {"/data": {}, "/other": {}}})}
    assert mounts["/data"].source == "mine"
    assert mounts["/other"].anonymous
    with pytest.raises(UsageError, match="/data"):
        plan(CreateRequest(volume=["a:/data", "b:/data/"]), {})


def test_environment_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X_ONE", "1")
    monkeypatch.setenv("X_TWO", "2")
    assert resolve(["X_ONE", "MISSING_HERE", "Y="], []) == ["X_ONE=1", "Y="]
    assert sorted(resolve(["X_*"], [])) == ["X_ONE=1", "X_TWO=2"]
    with pytest.raises(UsageError):
        resolve(["=x"], [])


def test_signals() -> None:
    assert parse_signal("TERM") == parse_signal("sigterm") == parse_signal("15") == 15
    assert signal_name(parse_signal("RTMIN+3")) == str(parse_signal("RTMIN+3")) == "37"
    assert signal_name(9) == "SIGKILL"
    for text in ("", "0", "65", "999", "NOPE", "_DFL", "SIG_IGN", "TERM+1"):
        with pytest.raises(UsageError):
            parse_signal(text)


def test_names() -> None:
    assert re.fullmatch(r"[a-z]+_[a-z]+", generate())
    assert re.fullmatch(r"[a-z]+_[a-z]+\d+", generate(4))
    check_name("a.B_c-9")
    for name in ("", "-a", ".a", "a/b", "a b", "é", "a\n"):
        with pytest.raises(UsageError):
            check_name(name)


def test_networks() -> None:
    assert parse_mode(None) == ("slirp4netns", "")
    assert parse_mode("slirp4netns:mtu=1500") == ("slirp4netns", "mtu=1500")
    for text in ("host:x", "bridge", "container:x", ""):
        if text:
            with pytest.raises(UsageError):
                parse_mode(text)
