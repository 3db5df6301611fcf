"""Named volumes: who owns a new one, what is in it, and the commands that make, list and remove them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.archives import layer
from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive
from tests.support.leaks import entries

IMAGE = "docker.io/me/volumes:1"
NONE = ("--network", "none")
OWNER = ("stat", "-c", "%u:%g %a")


@pytest.fixture
def rl(fresh: Rootless, tmp_path: Path) -> Rootless:
    """A store with an image whose user is 33:34, with a volume at /data, which it lacks, and files in /srv/site."""
    layers = [busybox_layer(), layer({"srv/site/page": b"from the image\n", "srv/site/sub/more": b"2\n"})]
    config: dict[str, object] = {"Env": ["PATH=/bin"], "User": "33:34", "Volumes": {"/data": {}}}
    path = docker_archive(tmp_path / "volumes.tar", layers, names=[IMAGE], config=config)
    fresh("load", "-q", "-i", str(path))
    return fresh


def run(rl: Rootless, *words: str) -> str:
    return rl.out("run", "--rm", *NONE, *words)


def test_a_new_volume_belongs_to_the_containers_user(rl: Rootless) -> None:
    assert run(rl, IMAGE, "sh", "-c", "touch /data/x && stat -c '%u:%g %a' /data") == "33:34 755"
    assert run(rl, "-v", "one:/new", "-u", "40", IMAGE, "sh", "-c", "touch /new/x && stat -c '%u:%g' /new") == "40:0"
    assert run(rl, "-v", "one:/new", "-u", "41", IMAGE, *OWNER, "/new") == "40:0 755", "the first user keeps it"
    assert run(rl, "-v", "two:/new:ro", IMAGE, *OWNER, "/new") == "33:34 755"


def test_an_empty_volume_stays_with_its_first_user(rl: Rootless) -> None:
    run(rl, "-v", "one:/new", IMAGE, "true")
    assert run(rl, "-v", "one:/mnt", "-u", "0", IMAGE, *OWNER, "/mnt") == "33:34 755"


def test_a_new_volume_is_like_the_directory_that_the_image_has_there(rl: Rootless) -> None:
    script = "stat -c '%u %a' /srv/site /plain; cat /srv/site/page /srv/site/sub/more; ls /plain"
    run(rl, "-u", "0", "-v", "plain:/tmp", IMAGE, "true")
    assert run(rl, "-v", "site:/srv/site:ro", "-v", "plain:/plain", IMAGE, "sh", "-c", script).split("\n") == [
        "0 755",
        f"0 {run(rl, IMAGE, 'stat', '-c', '%a', '/tmp')}",
        "from the image",
        "2",
    ]
    assert run(rl, "-v", "bare:/srv/site:nocopy", IMAGE, "sh", "-c", "stat -c %u /srv/site; ls /srv/site") == "0"


def test_a_volume_that_only_its_owner_can_enter_is_used_again(rl: Rootless) -> None:
    run(rl, "-v", "private:/new", IMAGE, "sh", "-c", "echo mine > /new/x && chmod 700 /new")
    assert run(rl, "-v", "private:/new", IMAGE, "cat", "/new/x") == "mine"


def test_a_volume_that_the_user_has_filled_keeps_its_owner_and_its_files(rl: Rootless) -> None:
    rl("volume", "create", "filled")
    place = Path(rl.out("volume", "inspect", "--format", "{{.Mountpoint}}", "filled"))
    (place / "own").write_text("mine")
    assert run(rl, "-v", "filled:/srv/site", IMAGE, "sh", "-c", "stat -c %u /srv/site; ls /srv/site") == "0\nown"


def test_containers_that_start_at_once_fill_a_volume_once(rl: Rootless) -> None:
    script = "cat /srv/site/page /other/x && stat -c %u /other"
    for name in ("a", "b", "c", "d"):
        places = (
            ("-v", "site:/srv/site", "-v", "other:/other")
            if name < "c"
            else ("-v", "other:/other", "-v", "site:/srv/site")
        )
        rl("create", "--name", name, *NONE, *places, IMAGE, "sh", "-c", f"touch /other/x; {script}")
    started = [rl.popen("start", "-a", name) for name in ("a", "b", "c", "d")]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, b"from the image\n33\n"), err


def test_a_start_that_fails_leaves_the_volume_new(rl: Rootless) -> None:
    failed = rl("run", "--rm", *NONE, "-u", "nobody-here", "-v", "one:/new", IMAGE, "true", check=False)
    assert failed.returncode == 125
    assert run(rl, "-v", "one:/new", IMAGE, *OWNER, "/new") == "33:34 755"


def names(rl: Rootless, *options: str) -> list[str]:
    return rl.out("volume", "ls", "-q", *options).split()


def test_making_and_listing(rl: Rootless) -> None:
    assert rl.out("volume", "create", "--label", "a=b", "--label", "c", "two") == "two"
    assert rl.out("volume", "create", "one") == "one"
    nameless = rl.out("volume", "create")
    assert len(nameless) == 64
    again = rl("volume", "create", "one", check=False)
    assert (again.returncode, again.stdout) == (125, "")
    assert "making the volume one: there is one of this name already" in again.stderr
    assert rl.out("volume", "create", "--ignore", "one") == "one"
    for wrong in (("a/b",), ("-d", "x", "y"), ("",)):
        assert rl("volume", "create", *wrong, check=False).returncode == 125
    rl("volume", "rm", nameless)
    assert rl.out("volume", "ls") == "DRIVER      VOLUME NAME\nlocal       one\nlocal       two"
    assert rl.out("volume", "list", "-n") == "local       one\nlocal       two"
    assert [rl("volume", "exists", name, check=False).returncode for name in ("one", "on")] == [0, 1]


def test_inspecting(rl: Rootless) -> None:
    rl("volume", "create", "--label", "a=b", "data")
    run(rl, "-v", "used:/new", IMAGE, "true")
    found = json.loads(rl.out("volume", "inspect", "data", "used"))
    place = found[0].pop("Mountpoint")
    assert place == str(rl.root / "volumes/data/_data")
    assert Path(place).is_dir()
    assert found[0].pop("CreatedAt").startswith("20")
    assert found[0] == {
        "Name": "data",
        "Driver": "local",
        "Labels": {"a": "b"},
        "Scope": "local",
        "Options": {},
        "MountCount": 0,
        "NeedsCopyUp": True,
        "NeedsChown": True,
    }
    assert (found[1]["Name"], found[1]["NeedsChown"]) == ("used", False)
    rl("run", "-d", "--name", "c", *NONE, "-v", "data:/x", IMAGE, "sleep", "100")
    assert rl.out("volume", "inspect", "-f", "{{.MountCount}} {{.Labels.a}} {{.Labels}}", "dat") == "1 b map[a:b]"
    assert [volume["Name"] for volume in json.loads(rl.out("volume", "ls", "--format", "json"))] == names(rl)
    shown = json.loads(rl.out("volume", "ls", "--format", "{{json .}}").splitlines()[0])
    assert shown["Name"] == names(rl)[0]
    missing = rl("volume", "inspect", "data", "nope", check=False)
    assert missing.returncode == 125
    assert json.loads(missing.stdout)[0]["Name"] == "data"
    assert "no such volume: nope" in missing.stderr
    assert rl("volume", "inspect", check=False).returncode == 125
    rl("rm", "-f", "-t", "0", "c")


def test_filters(rl: Rootless) -> None:
    rl("volume", "create", "--label", "a=b", "--label", "c", "first")
    rl("volume", "create", "--label", "a=x", "second")
    rl("create", "--name", "c", *NONE, "-v", "used:/x", IMAGE, "true")
    assert names(rl, "-f", "label=a") == names(rl, "-f", "name=st", "-f", "name=sec") == ["first", "second"]
    assert names(rl, "-f", "label=a=b", "-f", "label=c") == names(rl, "-f", "label=a=[bc]") == ["first"]
    assert names(rl, "-f", "label=a=x", "-f", "label=c") == []
    assert "first" not in names(rl, "-f", "label!=a=b")
    assert names(rl, "-f", "dangling=true") == ["first", "second"]
    assert "used" in names(rl, "-f", "dangling=false")
    assert names(rl, "-f", "since=first", "-f", "label=a") == ["second"]
    assert names(rl, "-f", "until=10m") == []
    assert len(names(rl, "-f", "anonymous=true")) == 1, "the image's"
    for wrong in ("bogus=1", "dangling=maybe", "name", "since=nothing", "name=("):
        failed = rl("volume", "ls", "-f", wrong, check=False)
        assert (failed.returncode, failed.stdout) == (125, "")
        assert wrong.partition("=")[2] in failed.stderr


def test_a_volume_in_use_is_refused_with_2_and_goes_by_force_with_its_containers(rl: Rootless) -> None:
    rl("run", "-d", "--name", "c", *NONE, "-v", "data:/x", IMAGE, "sleep", "100")
    refused = rl("volume", "rm", "data", check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "removing the volume data: in use by c (running)" in refused.stderr
    assert rl.out("exec", "c", "touch", "/x/still-there") == ""
    assert rl.out("volume", "rm", "-f", "-t", "0", "data") == "data"
    assert rl.out("ps", "-aq") == ""
    assert not (rl.root / "volumes/data").exists()


def test_removing_goes_on_after_what_is_not_there(rl: Rootless) -> None:
    run(rl, "-v", "one:/x", IMAGE, "sh", "-c", "mkdir -m 0 /x/private && touch /x/file")
    done = rl("volume", "rm", "nothing", "one", check=False)
    assert (done.returncode, done.stdout) == (1, "one\n")
    assert "no such volume: nothing" in done.stderr
    assert rl("volume", "rm", "-f", "nothing").stderr == ""
    for wrong in ((), ("-a", "one")):
        assert rl("volume", "rm", *wrong, check=False).returncode == 125
    assert entries(rl.root / "volumes") == entries(rl.root / "tmp") == []
    rl("volume", "create", "a")
    rl("volume", "create", "b")
    assert rl.out("volume", "rm", "-a").split() == ["a", "b"]
    assert names(rl) == []


def test_prune_takes_what_no_container_has(rl: Rootless) -> None:
    rl("run", "--name", "gone", *NONE, "-v", "kept:/x", IMAGE, "true")
    rl("rm", "gone")
    rl("create", "--name", "c", *NONE, "-v", "used:/x", IMAGE, "true")
    anonymous = set(names(rl, "-f", "anonymous=true", "-f", "dangling=true"))
    assert len(anonymous) == 1, "rm without -v leaves it"
    said_no = rl("volume", "prune", input="n\n")
    assert said_no.stdout.startswith("WARNING! This will remove all volumes not used by at least one container.")
    assert "\nkept\n" in said_no.stdout
    assert "kept" in names(rl)
    assert set(rl.out("volume", "prune", "-f", "--filter", "anonymous=true").split()) == anonymous
    assert rl.out("volume", "prune", "-f") == "kept"
    assert rl.out("volume", "prune") == ""
    assert "used" in names(rl)
    assert "used" in entries(rl.root / "volumes")
    assert len(entries(rl.root / "volumes")) == 2, "and the image's"
