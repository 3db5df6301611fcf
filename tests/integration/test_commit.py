"""`commit`: an image of what a container has become."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.conftest import need
from tests.integration.test_export import SCRIPT
from tests.integration.test_without_subids import with_one_id
from tests.support.archives import members
from tests.support.command import Rootless, wait_until
from tests.support.images import BUSYBOX, add_directory, add_file, busybox_layer, docker_archive
from tests.support.trees import described, exported

NONE = ("--network", "none")
EMPTY = "sha256:" + hashlib.sha256(bytes(1024)).hexdigest()


def layers_of(rl: Rootless, image: str) -> list[str]:
    found: list[str] = rl.inspect_image(image)["RootFS"]["Layers"]
    return found


def test_the_image_has_the_containers_files(each_driver: Rootless, image: str) -> None:
    rl = each_driver
    rl("run", "--name", "c", *NONE, "--tmpfs", "/scratch", "-v", "/volume", image, "sh", "-ec", SCRIPT)
    tree = {path: found for path, found in described(exported(rl, "c")).items() if path != "run/.containerenv"}
    first = rl.out("commit", "-q", "c", "committed:1")
    assert layers_of(rl, first)[:-1] == layers_of(rl, image)
    rl("commit", "-q", "c", "committed:2")
    assert layers_of(rl, "committed:1") == layers_of(rl, "committed:2")  # the same files make the same layer
    rl("commit", "-q", "--squash", "c", "squashed:1")
    assert len(layers_of(rl, "squashed:1")) == 1
    for name in ("committed:1", "squashed:1"):
        rl("create", "--name", name[:-2], *NONE, name, "true")
        assert described(exported(rl, name[:-2])) == tree
    assert rl.out("diff", "committed") == ""
    rl(
        "run",
        "--name",
        "more",
        *NONE,
        "committed:1",
        "sh",
        "-ec",
        "rm -r /srv/made; mkdir /srv/made; touch /srv/made/x",
    )
    rl("commit", "-q", "more", "committed:3")
    assert rl.out("run", "--rm", *NONE, "committed:3", "ls", "/srv/made") == "x"
    assert len(layers_of(rl, "committed:3")) == len(layers_of(rl, image)) + 2


def test_the_driver_does_not_matter(fresh: Rootless, busybox: Path) -> None:
    need("fuse-overlayfs")
    fresh("load", "-q", "-i", str(busybox))
    script = "echo 1 > /new; chmod 700 /etc/passwd; rm /etc/group; mkdir -p /a/b"
    script += "; find / -xdev -depth | xargs touch -hd '2024-01-01 00:00:00'"
    made = set()
    for driver in ("overlay", "fuse-overlayfs", "vfs"):
        fresh("--storage-driver", driver, "run", "--name", driver, *NONE, "busybox", "sh", "-c", script, check=False)
        fresh("commit", "-q", driver, driver)
        made.add(layers_of(fresh, driver)[-1])
    assert len(made) == 1


@pytest.mark.parametrize("driver", ["overlay", "fuse-overlayfs", "vfs"])
def test_file_capabilities_are_kept(fresh: Rootless, tmp_path: Path, driver: str) -> None:
    need("fuse-overlayfs")
    capability = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_raw=ep, as in any image
    path = tmp_path / "capable.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        entry = tarfile.TarInfo("bin/capable")
        entry.mode, entry.pax_headers = 0o755, {"SCHILY.xattr.security.capability": capability.decode("latin1")}
        tar.addfile(entry)
    layers = [busybox_layer(), path.read_bytes()]
    fresh("load", "-q", "-i", str(docker_archive(tmp_path / "i.tar", layers, names=["docker.io/me/capable:1"])))
    fresh.environment["ROOTLESS_STORAGE_DRIVER"] = driver
    fresh("run", "--name", "c", *NONE, "me/capable:1", "mv", "/bin/capable", "/bin/moved")
    assert {"D /bin/capable", "A /bin/moved"} <= {*fresh.out("diff", "c").splitlines()}
    tree = exported(fresh, "c")
    assert described(tree)["bin/moved"][7] == {"SCHILY.xattr.security.capability": capability.decode("latin1")}
    fresh("commit", "-q", "c", "moved:1")
    fresh("create", "--name", "again", *NONE, "moved:1")
    expected = described(tree)
    expected.pop("run/.containerenv", None)  # where a file of ours was mounted is no change
    assert described(exported(fresh, "again")) == expected


def test_no_changes_are_an_empty_layer(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, image)
    made = rl.out("commit", "-q", "c")
    assert layers_of(rl, made) == [*layers_of(rl, image), EMPTY]  # as Podman's
    assert rl.inspect_image(made)["RepoTags"] in ([], None)
    rl("rmi", made)


def test_settings_are_those_of_the_container(rl: Rootless, tmp_path: Path) -> None:
    """What podman 5.4.2 makes of the same container, but for what it adds to every environment (container=podman)."""
    config: dict[str, object] = {
        "Env": ["PATH=/usr/bin:/bin", "A=b c"],
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["true"],
        "Volumes": {"/data": {}},
        "WorkingDir": "/srv",
        "Labels": {"maker": "tests"},
        "User": "0",
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGINT",
    }
    archive = docker_archive(tmp_path / "i.tar", [busybox_layer()], names=["docker.io/me/base:1"], config=config)
    rl("load", "-q", "-i", str(archive))
    more = ("-e", "X=1", "-l", "lab=el", "-v", "/anon", "-v", "named:/named", "--tmpfs", "/scratch")
    rl("create", "--name", "c", *NONE, *more, "me/base:1", "rm -r /srv/gone; true")
    rl("commit", "-q", "c", "made:1")
    found = rl.inspect_image("made:1")
    assert found["Config"] == {
        **config,
        "Env": ["PATH=/usr/bin:/bin", "A=b c", "X=1"],
        "Cmd": ["rm -r /srv/gone; true"],
        "Volumes": {"/anon": {}, "/data": {}},
        "Labels": {"maker": "tests", "lab": "el"},
    }
    step = found["History"][-1]
    assert step["comment"] == "FROM docker.io/me/base:1"
    assert step["created_by"] == "/bin/sh -c rm -r /srv/gone; true"
    assert found["ManifestType"] == "application/vnd.oci.image.manifest.v1+json"
    rl("commit", "-q", "--include-volumes", "c", "made:2")
    assert {*rl.inspect_image("made:2")["Config"]["Volumes"]} == {"/anon", "/data", "/named", "/scratch"}
    rl("rm", "-v", "c")
    rl("volume", "rm", "named")
    rl("rmi", "made:1", "made:2", "me/base:1")


def test_options(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("create", "--name", "c", *NONE, image)
    given = tmp_path / "given.json"
    given.write_text(json.dumps({"Env": ["F=1"], "Labels": {"from": "file"}}))
    words = ["-a", "me", "-m", "hello", "--config", str(given), "-c", "ENV Q=1", "-c", "CMD=/bin/ls", "-f", "docker"]
    written = tmp_path / "id"
    done = rl("commit", *words, "--iidfile", str(written), "c", "made:1")
    made = done.stdout.strip()
    assert written.read_text() == made
    found = rl.inspect_image("made:1")
    assert found["Id"] == made
    assert (found["Author"], found["Comment"]) == ("me", "hello")
    assert found["ManifestType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert {"F=1", "Q=1"} <= {*found["Config"]["Env"]}
    assert found["Config"]["Cmd"] == ["/bin/sh", "-c", "/bin/ls"]
    assert found["Config"]["Labels"] == {"from": "file"}
    assert rl("commit", "-q", "c").stderr == ""
    rl("image", "prune", "-f")
    out = tmp_path / "saved"
    rl("save", "-q", "--format", "oci-archive", "-o", str(out), "made:1")
    assert any(made in name for name in members(out))
    rl("rmi", "made:1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "no container with name or ID"),
        (["c", "BAD:x"], "repository names are lowercase"),
        (["c", "a@sha256:" + "0" * 64], "not a digest"),
        (["-c", "RUN x", "c"], "'RUN' is not one of"),
        (["-f", "tar", "c"], "none of oci, docker"),
        (["--config", "/nowhere", "c"], "No such file"),
        (["--iidfile", "/nowhere/id", "c"], "cannot be written"),
    ],
)
def test_what_is_refused_leaves_nothing(rl: Rootless, image: str, words: list[str], said: str) -> None:
    rl("create", "--name", "c", *NONE, image)
    before = rl.out("images", "-aq"), sorted(os.listdir(rl.root / "layers")), os.listdir(rl.root / "tmp")
    done = rl("commit", *words, check=False)
    assert done.returncode == 125
    assert said in done.stderr
    assert done.stdout == ""
    assert before == (rl.out("images", "-aq"), sorted(os.listdir(rl.root / "layers")), os.listdir(rl.root / "tmp"))


def states(rl: Rootless, container: str) -> str:
    """The state letters of all processes of the container."""
    init = rl.inspect(container)["State"]["Pid"]
    children = Path(f"/proc/{init}/task/{init}/children").read_text().split()
    return "".join(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] for pid in (init, *children))


def test_processes_stand_still_meanwhile_and_go_on_whatever_happens(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", "sleep 61 & sleep 62 & exec sleep 63")
    wait_until(lambda: states(rl, "c") == "SSS", what="all three")
    rl("commit", "-q", "--pause", "c", "paused:1")
    assert states(rl, "c") == "SSS"
    died = rl("commit", "-q", "--pause", "c", env={"ROOTLESS_TEST_DIE_AT": "paused"}, check=False)
    assert died.returncode == -signal.SIGKILL
    wait_until(lambda: states(rl, "c") == "SSS", what="going on")
    # one that stood still before is left so
    rl("kill", "-s", "STOP", "c")
    wait_until(lambda: states(rl, "c") == "TSS", what="the stop")
    rl("commit", "-q", "--pause", "c")
    assert states(rl, "c") == "TSS"
    rl("rm", "-f", "-t", "0", "c")
    rl("rmi", "paused:1")
    rl("image", "prune", "-f")


def test_a_writer_is_never_caught_in_mid_change(rl: Rootless, image: str) -> None:
    """One that makes two files of each number; both are read while it stands still."""
    script = "n=0; while :; do n=$((n+1)); echo $n > /z; echo $n > /a; done"
    rl("run", "-d", "--name", "c", *NONE, image, "sh", "-c", script)
    for number in range(2):
        rl("commit", "-q", "--pause", "c", f"still:{number}")
        command = ("sh", "-c", "cat /a; cat /z")
        found = [int(text) for text in rl.out("run", "--rm", *NONE, f"still:{number}", *command).split()]
        assert len(found) < 2 or found[1] - found[0] in (0, 1)
        rl("rmi", f"still:{number}")


@pytest.mark.parametrize("step", ["commit-written", "commit-layer", "commit-image"])
def test_killed_and_done_again(fresh: Rootless, busybox: Path, step: str) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("run", "--name", "c", *NONE, "busybox", "sh", "-c", "echo 1 > /new")
    died = fresh("commit", "-q", "c", "made:1", env={"ROOTLESS_TEST_DIE_AT": step}, check=False)
    assert died.returncode == -signal.SIGKILL
    assert fresh.out("images", "-q", "made").count("\n") == 0
    assert fresh("image", "exists", "made:1", check=False).returncode == (0 if step == "commit-image" else 1)
    fresh("commit", "-q", "c", "made:1")
    assert fresh.out("run", "--rm", *NONE, "made:1", "cat", "/new") == "1"
    fresh("rm", "c")
    fresh("rmi", "-a")
    fresh("image", "prune", "-f")
    assert os.listdir(fresh.root / "layers") == []
    assert os.listdir(fresh.root / "tmp") == []


def test_a_container_that_goes_meanwhile_makes_no_image(rl: Rootless, image: str) -> None:
    rl("run", "--name", "c", *NONE, image, "sh", "-c", "for n in $(seq 500); do echo $n > /srv/$n; done")
    process = rl.popen("commit", "-q", "c", "gone:1")
    rl("rm", "c")
    code = process.wait(timeout=30)
    exists = rl("image", "exists", "gone:1", check=False).returncode == 0
    assert exists == (code == 0)
    if exists:
        assert rl.out("run", "--rm", *NONE, "gone:1", "sh", "-c", "ls /srv | wc -l") == "500"
        rl("rmi", "gone:1")


def test_one_id_keeps_the_owners_that_it_knows_of(fresh: Rootless, tmp_path: Path) -> None:
    path = tmp_path / "owned.tar"
    with tarfile.open(path, "w") as tar:
        add_directory(tar, "bin")
        add_file(tar, "bin/busybox", Path(BUSYBOX).read_bytes(), 0o755)
        add_directory(tar, "home", 0o750, 7, 8)
        add_file(tar, "home/file", b"1", 0o4711, 9, 10)
    archive = docker_archive(tmp_path / "i.tar", [path.read_bytes()], names=["docker.io/me/owned:1"])
    for words in (
        ("load", "-q", "-i", str(archive)),
        (
            "run",
            "--name",
            "c",
            *NONE,
            "me/owned:1",
            "/bin/busybox",
            "sh",
            "-c",
            "echo 2 >> /home/file; echo > /home/new",
        ),
        ("commit", "-q", "c", "one:1"),
    ):
        done = with_one_id(fresh, *words)
        assert done.returncode == 0, done.stderr
    done = with_one_id(fresh, "save", "-q", "-o", str(tmp_path / "saved"), "one:1")
    assert done.returncode == 0, done.stderr
    last = json.loads(members(tmp_path / "saved")["manifest.json"])[0]["Layers"][-1]
    tree = described(members(tmp_path / "saved")[last])
    assert tree["home"][1:3] == ("0o750", (7, 8))
    assert tree["home/file"][2] == (9, 10)
    assert tree["home/new"][2] == (0, 0)


def test_files_of_ids_that_are_not_mapped_now_are_told(fresh: Rootless, busybox: Path) -> None:
    fresh("load", "-q", "-i", str(busybox))
    fresh("run", "--name", "c", *NONE, "busybox", "sh", "-c", "echo 1 > /mine; chown 1000 /mine")
    done = with_one_id(fresh, "commit", "-q", "c", "one:1")
    assert done.returncode == 125
    assert "not mapped" in done.stderr
    assert fresh("image", "exists", "one:1", check=False).returncode == 1


def test_what_is_committed_other_tools_read(rl: Rootless, image: str, tmp_path: Path) -> None:
    need("skopeo", "umoci")
    rl("run", "--name", "c", *NONE, image, "sh", "-ec", SCRIPT)
    rl("commit", "-q", "c", "tools:1")
    out = tmp_path / "layout"
    rl("save", "-q", "--format", "oci-dir", "-o", str(out), "tools:1")
    found = subprocess.run(["skopeo", "inspect", f"oci:{out}"], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["Layers"]
    bundle = tmp_path / "bundle"
    done = subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{out}:{_tag(out)}", str(bundle)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (bundle / "rootfs/home/new").read_text() == "f\n"
    assert not (bundle / "rootfs/etc/group").exists()
    assert not (bundle / "rootfs/home/alice").exists()
    rl("rmi", "tools:1")


def _tag(layout: Path) -> str:
    index = json.loads((layout / "index.json").read_text())
    return str(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"])
