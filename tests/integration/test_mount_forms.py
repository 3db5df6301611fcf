"""`--volume`, `--mount`, `--volumes-from` and their relatives in all their forms."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.archives import layer
from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive
from tests.support.leaks import entries

NONE = ("--network", "none")
SITE = "docker.io/me/site:1"
SITE_PAGE = "from the image"


@pytest.fixture
def folder(rl: Rootless, tmp_path: Path) -> Path:
    """A directory of the user's that the store's clean-up removes, whoever owns its files by then."""
    place = rl.place / tmp_path.name
    (place / "sub").mkdir(parents=True)
    (place / "file").write_text("from the host\n")
    (place / "sub/deep").write_text("deep\n")
    (place / "link").symlink_to("/etc/passwd")
    return place


@pytest.fixture
def site(rl: Rootless, tmp_path: Path) -> str:
    """The name of an image of two layers with /srv/site/page."""
    layers = [busybox_layer(), layer({"srv/site/page": SITE_PAGE.encode()})]
    rl("load", "-q", "-i", str(docker_archive(tmp_path / "site.tar", layers, names=[SITE])))
    return SITE


def run(rl: Rootless, *words: str, **more: bool) -> str:
    return rl.out("run", "--rm", *NONE, *words, **more)


def refused(rl: Rootless, *words: str) -> str:
    """What a run says that fails with 125 and leaves nothing."""
    done = rl("run", "--rm", *NONE, *words, check=False)
    assert done.returncode == 125, done
    assert "internal error" not in done.stderr
    assert rl.out("ps", "-aq") == ""
    return done.stderr


# U


def test_u_gives_everything_to_the_containers_user_and_back(rl: Rootless, image: str, folder: Path) -> None:
    script = "find /x | xargs stat -c '%u:%g' | sort | uniq -c | tr -s ' '; echo mine > /x/sub/new"
    assert run(rl, "-u", "1000:10", "-v", f"{folder}:/x:U", image, "sh", "-ec", script).strip() == "5 1000:10"
    assert (folder / "file").stat().st_uid != os.getuid()
    assert run(rl, "--mount", f"type=bind,src={folder},dst=/x,U=true,ro", image, "stat", "-c", "%u", "/x/file") == "0"
    assert {path.lstat().st_uid for path in folder.rglob("*")} == {os.getuid()}


def test_u_for_a_single_file_a_volume_and_memory(rl: Rootless, image: str, folder: Path) -> None:
    owner = ("stat", "-c", "%u")
    assert run(rl, "-u", "5", "-v", f"{folder}/file:/f:U", image, *owner, "/f") == "5"
    run(rl, "-v", "given:/x", image, "sh", "-c", "touch /x/roots")
    assert run(rl, "-u", "5", "-v", "given:/x:U", image, *owner, "/x", "/x/roots") == "5\n5"
    assert run(rl, "-u", "5", "--mount", "type=tmpfs,dst=/etc,chown", image, *owner, "/etc", "/etc/passwd") == "5\n5"


@pytest.mark.parametrize("path", ["/", "/etc", "/home", "~"])
def test_u_is_refused_for_what_the_host_needs(rl: Rootless, image: str, path: str) -> None:
    assert "U would give all of" in refused(rl, "-v", f"{path}:/x:U", image, "true")


def test_u_fails_for_files_of_users_that_the_container_does_not_have(rl: Rootless, image: str) -> None:
    said = refused(rl, "-v", "/usr/share/doc:/x:U", image, "true")
    assert "giving /usr/share/doc to 0:0 (U): Operation not permitted" in said


# O


def test_an_overlay_keeps_the_source_as_it_is_and_goes_with_the_run(rl: Rootless, image: str, folder: Path) -> None:
    before = sorted(str(path) for path in folder.rglob("*"))
    script = "cat /x/file; rm -r /x/sub; echo new > /x/file; ls /x"
    rl("create", "--name", "o", *NONE, "-v", f"{folder}:/x:O", image, "sh", "-ec", script)
    for _ in range(2):
        assert rl.out("start", "-a", "o") == "from the host\nfile\nlink", "each run begins anew"
    assert sorted(str(path) for path in folder.rglob("*")) == before
    assert (folder / "file").read_text() == "from the host\n"
    directory = rl.root / "containers" / rl.inspect("o")["Id"]
    assert any(name.startswith("mount-") for name in entries(directory))
    rl("rm", "o")
    assert not directory.exists()


def test_an_overlay_with_directories_of_the_users_is_kept(rl: Rootless, image: str, folder: Path) -> None:
    upper, work = folder.parent / f"{folder.name}-upper", folder.parent / f"{folder.name}-work"
    for path in (upper, work):
        path.mkdir()
    option = f"{folder}:/x:O,upperdir={upper},workdir={work}"
    run(rl, "-v", option, image, "sh", "-c", "echo kept > /x/new")
    assert (upper / "new").read_text() == "kept\n"
    assert run(rl, "-v", option, image, "cat", "/x/new") == "kept"
    assert not (folder / "new").exists()


def test_an_overlay_over_a_volume_read_only_and_for_another_user(rl: Rootless, image: str, folder: Path) -> None:
    run(rl, "-v", "below:/x", image, "sh", "-c", "echo 1 > /x/f")
    run(rl, "-v", "below:/x:O", image, "sh", "-c", "echo 2 > /x/f")
    assert run(rl, "-v", "below:/x", image, "cat", "/x/f") == "1"
    assert run(rl, "-v", f"{folder}:/x:O,ro", image, "sh", "-c", "touch /x/n || echo refused") == "refused"
    assert run(rl, "-u", "1000", "-v", f"{folder}:/x:O,U", image, "sh", "-ec", "echo 2 > /x/file; cat /x/file") == "2"
    assert (folder / "file").stat().st_uid == os.getuid()


@pytest.mark.parametrize("options", ["upperdir=/tmp", "O,upperdir=/tmp", "O,rslave", "O,rbind", "O,idmap", "O,O=1"])
def test_overlays_that_make_no_sense(rl: Rootless, image: str, folder: Path, options: str) -> None:
    assert f"{folder}:/x:{options}" in refused(rl, "-v", f"{folder}:/x:{options}", image, "true")
    assert "O is for directories" in refused(rl, "-v", f"{folder}/file:/x:O", image, "true")


# idmap, z


def test_idmap_says_why_the_kernel_refuses_and_works_in_memory(rl: Rootless, image: str, folder: Path) -> None:
    for word in ("idmap", "idmap=uids=0-1000-1;gids=0-1000-1"):
        said = refused(rl, "-v", f"{folder}:/x:{word}", image, "true")
        assert "with other ids (idmap): Operation not permitted" in said
        assert "only the host's root" in said
    assert "not understood" in refused(rl, "-v", f"{folder}:/x:idmap=uids=1", image, "true")
    rl("volume", "create", "--opt", "type=tmpfs", "mapped")
    option = "mapped:/x:idmap=uids=0-1000-1;gids=0-10-1"
    assert run(rl, "-v", option, image, "stat", "-c", "%u:%g", "/x") == "1000:10"


def test_labels_are_taken_where_there_is_no_selinux(rl: Rootless, image: str, folder: Path) -> None:
    assert run(rl, "-v", f"{folder}:/x:z,ro", image, "cat", "/x/file") == "from the host"
    assert run(rl, "--mount", f"type=bind,src={folder},dst=/x,relabel=private", image, "cat", "/x/file")
    assert "z and Z cannot be had together" in refused(rl, "-v", f"{folder}:/x:z,Z", image, "true")


# images


def test_an_image_is_mounted_read_only_or_writable_for_a_time(rl: Rootless, image: str, site: str) -> None:
    script = "cat /i/srv/site/page; touch /i/new 2>/dev/null || echo refused"
    assert run(rl, "--mount", f"type=image,src={site},dst=/i", image, "sh", "-c", script) == f"{SITE_PAGE}refused"
    script = "echo new > /i/page; cat /i/page; ls /i"
    mount = f"type=image,source={site},target=/i,rw=true,subpath=/srv/site"
    assert run(rl, "--mount", mount, image, "sh", "-ec", script) == "new\npage"
    assert run(rl, "--mount", f"type=image,src={site},dst=/i", image, "cat", "/i/srv/site/page") == SITE_PAGE
    said = refused(rl, "--mount", "type=image,src=nowhere,dst=/i", image, "true")
    assert "there is no such image here\nhint: rootless pull nowhere" in said


def test_an_image_is_mounted_by_every_driver(each_driver: Rootless, image: str, tmp_path: Path) -> None:
    layers = [busybox_layer(), layer({"srv/site/page": SITE_PAGE.encode()})]
    each_driver("load", "-q", "-i", str(docker_archive(tmp_path / "site.tar", layers, names=[SITE])))
    words = (*NONE, "--mount", f"type=image,src={SITE},dst=/i", "--mount", f"type=image,src={SITE},dst=/w,rw=true")
    each_driver("create", "--name", "c", *words, image, "sh", "-c", "cat /i/srv/site/page && touch /w/new && ls /w/srv")
    assert each_driver.out("start", "-a", "c") == f"{SITE_PAGE}site"
    assert each_driver.out("start", "-a", "c") == f"{SITE_PAGE}site"
    each_driver("rm", "c")


def test_a_mounted_image_may_be_removed_and_its_files_stay(rl: Rootless, image: str, site: str) -> None:
    rl("create", "--name", "c", *NONE, "--mount", f"type=image,src={site},dst=/i", image, "cat", "/i/srv/site/page")
    shown = rl.inspect("c")["Mounts"]
    assert shown == [
        {
            "Type": "image",
            "Source": site,
            "Destination": "/i",
            "Driver": "",
            "Mode": "",
            "Options": None,
            "RW": False,
            "Propagation": "",
        }
    ]
    rl("rmi", site)
    assert rl.out("start", "-a", "c") == SITE_PAGE
    rl("image", "prune", "-f")  # what other tests have left
    layers = len(entries(rl.root / "layers"))
    rl("rm", "c")
    rl("image", "prune", "-f")
    assert len(entries(rl.root / "layers")) == layers - 1, "nothing holds its layer any more"


# the other types


def test_memory_begins_with_what_the_image_has_there(rl: Rootless, image: str) -> None:
    script = "test -f /etc/passwd && stat -c '%a %u' /etc; grep -o ' /etc tmpfs [^ ]*' /proc/mounts"
    for words in (("--tmpfs", "/etc"), ("--mount", "type=tmpfs,dst=/etc"), ("--tmpfs", "/etc:ro")):
        assert run(rl, *words, image, "sh", "-c", script).startswith("755 0\n /etc tmpfs r")
    sized = run(rl, "--mount", "type=tmpfs,dst=/etc,tmpfs-size=1m,tmpfs-mode=0700", image, "sh", "-c", script)
    assert sized.startswith("700 0\n")
    assert "size=1024k" in sized
    assert run(rl, "--tmpfs", "/home:notmpcopyup", image, "ls", "/home") == ""
    assert run(rl, "--tmpfs", "/new", image, "stat", "-c", "%a", "/new") == "1777"
    assert "ramfs" in run(rl, "--mount", "type=ramfs,dst=/r", image, "grep", " /r ", "/proc/mounts")


def test_terminals_and_globs(rl: Rootless, image: str, folder: Path) -> None:
    shown = run(rl, "--mount", "type=devpts,dst=/p,mode=600,max=5", image, "grep", " /p ", "/proc/mounts")
    assert "mode=600" in shown
    assert "max=5" in shown
    assert run(rl, "--mount", f"type=glob,src={folder}/*f*,dst=/g", image, "ls", "/g") == "file"
    assert run(rl, "--mount", f"type=glob,src={folder}/fi*,ro", image, "cat", f"{folder}/file") == "from the host"
    assert "nothing on the host matches" in refused(rl, "--mount", f"type=glob,src={folder}/no*,dst=/g", image, "true")


def test_a_part_of_a_volume(rl: Rootless, image: str) -> None:
    run(rl, "-v", "parts:/x", image, "sh", "-c", "mkdir -p /x/a/b; echo 1 > /x/a/b/f")
    for key in ("subpath", "volume-subpath"):
        assert run(rl, "--mount", f"type=volume,src=parts,dst=/x,{key}=a/b", image, "cat", "/x/f") == "1"
    said = refused(rl, "--mount", "type=volume,src=parts,dst=/x,subpath=nope", image, "true")
    assert "mounting nope of" in said
    rl("create", "--name", "c", "--mount", "type=volume,src=parts,dst=/x,subpath=a", image, "true")
    assert rl.inspect("c")["Mounts"][0]["SubPath"] == "a"


def test_a_volume_is_made_with_options_and_labels_on_the_way(rl: Rootless, image: str) -> None:
    words = "type=volume,src=made,dst=/x,volume-opt=type=tmpfs,volume-opt=o=size=1m,volume-label=a=b"
    assert "size=1024k" in run(rl, "--mount", words, image, "grep", " /x ", "/proc/mounts")
    found = json.loads(rl.out("volume", "inspect", "made"))[0]
    assert (found["Options"], found["Labels"]) == ({"type": "tmpfs", "o": "size=1m"}, {"a": "b"})
    assert "it exists, with other options" in refused(
        rl, "--mount", "type=volume,src=made,dst=/x,volume-opt=type=tmpfs", image, "true"
    )
    words = 'type=volume,src=owned,dst=/home,"volume-opt=o=uid=5,gid=6",ro'
    assert run(rl, "--mount", words, image, "stat", "-c", "%u:%g", "/home", "/home/alice") == "5:6\n1000:1000"
    assert run(rl, "-v", "owned:/x", "-u", "9", image, "stat", "-c", "%u:%g", "/x") == "5:6"
    said = refused(rl, "--mount", "type=volume,src=far,dst=/x,volume-opt=o=uid=99999999", image, "true")
    assert "to 99999999:0: Invalid argument" in said
    assert run(rl, "--mount", "type=volume,dst=/home,volume-nocopy", image, "ls", "/home") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=bind,src=/tmp,dst=/x,subpath=a", "'subpath' is not for type=bind"),
        ("type=nfs,dst=/x", "type nfs is not supported"),
        ("type=tmpfs,src=/tmp,dst=/x", "type=tmpfs has no source"),
        ("type=bind,src=/tmp,dst=/x,ro,rw", "ro and rw"),
        ("type=bind,src=/tmp,dst=/x,ro=maybe", "true or false"),
        ("type=bind,src=/tmp,dst=/x,bind-propagation=up", "not known"),
        ("type=bind,src=/tmp,dst=/x,dst=/y", "given twice"),
        ("type=bind,src=/tmp,dst=x", "not absolute"),
        ("type=image,dst=/x", "no source"),
        ("type=devpts,dst=/x,mode=rw", "not a number"),
        ("type=tmpfs,dst=/x,tmpfs-size=much", "not a size"),
        ("type=volume,dst=/x,volume-driver=nfs", "only local"),
        ("type=volume,dst=/x,volume-opt=type=nfs", "only root may mount that"),
        ('type=bind,"src=/tmp,dst=/x', "unexpected end"),
    ],
)
def test_mounts_that_are_refused(rl: Rootless, image: str, text: str, said: str) -> None:
    assert said in refused(rl, "--mount", text, image, "true")


def test_commas_and_colons_in_paths(rl: Rootless, image: str, folder: Path) -> None:
    odd = folder / "a,b:c"
    odd.mkdir()
    (odd / "f").write_text("odd")
    assert run(rl, "--mount", f'type=bind,"src={odd}",dst=/x', image, "cat", "/x/f") == "odd"
    assert run(rl, "-v", f"{str(odd).replace(':', chr(92) + ':')}:/x", image, "cat", "/x/f") == "odd"
    assert run(rl, "-v", f"{str(odd).replace(':', chr(92) + ':')}:/x:O", image, "cat", "/x/f") == "odd"


# what comes from elsewhere


def test_volumes_from_other_containers(rl: Rootless, image: str, folder: Path) -> None:
    rl("create", "--name", "first", *NONE, "-v", "vf:/v", "-v", f"{folder}:/b:ro", "-v", "/anonymous", image, "true")
    rl("create", "--name", "second", "-v", f"{folder}:/v", image, "true")
    script = "touch /v/a /anonymous/x; touch /b/x 2>/dev/null || echo refused"
    assert run(rl, "--volumes-from", "first", image, "sh", "-c", script) == "refused"
    assert run(rl, "--volumes-from", "first:ro", image, "sh", "-c", "touch /v/b 2>/dev/null || ls /v") == "a"
    assert run(rl, "--volumes-from", "first", "--volumes-from", "second", image, "cat", "/v/file") == "from the host"
    assert run(rl, "--volumes-from", "first", "--tmpfs", "/v", image, "ls", "/v") == "", "the user's own win"
    rl("create", "--name", "third", "--volumes-from", "first:ro", image, "true")
    shown = rl.inspect("third")
    assert {mount["Destination"]: mount["RW"] for mount in shown["Mounts"]} == {
        "/v": False,
        "/b": False,
        "/anonymous": False,
    }
    assert shown["HostConfig"]["VolumesFrom"] == ["first:ro"]
    anonymous = next(mount["Name"] for mount in shown["Mounts"] if mount["Destination"] == "/anonymous")
    rl("rm", "-v", "first")
    assert rl("volume", "exists", anonymous, check=False).returncode == 0, "the third has it"
    rl("rm", "-v", "third", "second")
    assert rl("volume", "exists", anonymous, check=False).returncode == 1
    for wrong in ("nobody", "nobody:rx", ":ro"):
        assert wrong in refused(rl, "--volumes-from", wrong, image, "true")


def test_what_becomes_of_the_images_volumes(fresh: Rootless, tmp_path: Path) -> None:
    layers = [busybox_layer(), layer({"data/seed": b"1\n"})]
    config: dict[str, object] = {"Env": ["PATH=/bin"], "Volumes": {"/data": {}}}
    fresh("load", "-q", "-i", str(docker_archive(tmp_path / "v.tar", layers, names=[SITE], config=config)))
    script = "cat /data/seed; grep -c ' /data ' /proc/mounts; touch /data/x"
    for how in ("anonymous", "bind", "tmpfs"):
        assert run(fresh, "--read-only", "--image-volume", how, SITE, "sh", "-ec", script) == "1\n1"
    done = fresh("run", "--rm", "--read-only", *NONE, "--image-volume", "ignore", SITE, "touch", "/data/x", check=False)
    assert "Read-only file system" in done.stderr
    assert fresh.out("volume", "ls", "-q") == ""
    assert fresh("create", "--image-volume", "often", SITE, check=False).returncode == 125


def test_a_read_only_container_without_memory_to_write_to(rl: Rootless, image: str) -> None:
    script = "for d in /dev /dev/shm /run /tmp /var/tmp; do touch $d/x 2>/dev/null && echo $d; done; echo > /dev/null"
    everywhere = "/dev\n/dev/shm\n/run\n/tmp\n/var/tmp"
    assert run(rl, "--read-only", image, "sh", "-c", script) == everywhere
    assert run(rl, "--read-only", "--read-only-tmpfs=false", image, "sh", "-c", script) == ""
    assert run(rl, "--read-only", "--read-only-tmpfs=false", "-t", image, "sh", "-c", script) == ""


def test_inspect_shows_mounts_as_podman_does(rl: Rootless, image: str, folder: Path) -> None:
    rl("create", "--name", "c", "-v", f"{folder}:/y:ro,z", "-v", "vs:/v:nocopy", "--tmpfs", "/t", image, "true")
    place = str(rl.root / "volumes/vs/_data")
    found = rl.inspect("c")
    assert sorted(found["Mounts"], key=lambda mount: str(mount["Destination"])) == [
        {
            "Type": "volume",
            "Name": "vs",
            "Source": place,
            "Destination": "/v",
            "Driver": "local",
            "Mode": "",
            "Options": ["nocopy", "nosuid", "nodev", "rbind"],
            "RW": True,
            "Propagation": "rprivate",
        },
        {
            "Type": "bind",
            "Source": str(folder),
            "Destination": "/y",
            "Driver": "",
            "Mode": "z",
            "Options": ["rbind"],
            "RW": False,
            "Propagation": "rprivate",
        },
    ]
    assert sorted(found["HostConfig"]["Binds"]) == [
        f"{folder}:/y:ro,z,rprivate,rbind",
        "vs:/v:rw,rprivate,nocopy,nosuid,nodev,rbind",
    ]
