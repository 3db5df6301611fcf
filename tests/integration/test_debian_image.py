"""A Debian root file system, made by mmdebstrap, through a real registry, run: the everyday image."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import need, remove_store
from tests.integration.test_attach import Terminal
from tests.support.command import Rootless, executable, wait_until
from tests.support.registry import start_registry

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rootless, str]]:
    """A store that has pulled debian from a registry; the image's name there."""
    need("mmdebstrap", "umoci", "skopeo", "docker-registry")
    place = tmp_path_factory.mktemp("debian")
    tarball = place / "debian.tar"
    subprocess.run(
        ["mmdebstrap", "--quiet", "--mode=unshare", "--variant=minbase", "bookworm", str(tarball)],
        check=True,
        timeout=240,
    )
    command = Rootless(place / "store")
    builder = Rootless(place / "builder")
    builder("import", "-q", "--change", 'CMD ["bash"]', str(tarball), "localhost/debian:bookworm")
    archive = place / "debian-archive.tar"
    builder("save", "-q", "-o", str(archive), "localhost/debian:bookworm")
    registry = start_registry(place / "registry")
    name = f"{registry.host}/debian:bookworm"
    subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        + [f"docker-archive:{archive}", f"docker://{name}"],
        check=True,
    )
    command("pull", "-q", "--tls-verify=false", name, timeout=120)
    registry.stop()
    yield command, name
    for store in (command, builder):
        remove_store(store.place)


@pytest.mark.parametrize(
    "words, expected",
    [
        (["apt-get", "--version"], "apt 2."),
        (["su", "nobody", "-s", "/bin/sh", "-c", "id"], "uid=65534(nobody) gid=65534(nogroup)"),
        (["perl", "-e", "print join(',', map { $_ * 2 } 1..3)"], "2,4,6"),
        (["stat", "-c", "%U %a", "/etc/shadow"], "root 640"),
        (["dpkg", "--verify", "base-files"], ""),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_debian_programs_run(debian: tuple[Rootless, str], words: list[str], expected: str) -> None:
    command, name = debian
    done = command("run", "--rm", "--network", "none", name, *words)
    assert expected in done.stdout


def test_files_of_subordinate_ids_keep_their_owners(debian: tuple[Rootless, str]) -> None:
    command, name = debian
    owners = command.out("run", "--rm", "--network", "none", name, "stat", "-c", "%u:%g", "/var/mail", "/etc/gshadow")
    assert owners.split() == ["0:8", "0:42"]


def test_what_dpkg_removes_is_gone_from_that_container_alone(debian: tuple[Rootless, str]) -> None:
    command, name = debian
    script = "dpkg --purge --force-all tzdata && test ! -e /usr/share/zoneinfo/Europe/Paris && echo gone"
    assert command.out("run", "--rm", "--network", "none", name, "sh", "-c", script).endswith("gone")
    fresh = command.out("run", "--rm", "--network", "none", name, "ls", "/usr/share/zoneinfo/Europe/Paris")
    assert fresh == "/usr/share/zoneinfo/Europe/Paris"


def test_disk_use_of_twenty_containers_is_that_of_one_image(debian: tuple[Rootless, str]) -> None:
    command, name = debian

    def used() -> int:
        done = subprocess.run(["du", "-sk", str(command.root)], check=False, capture_output=True, text=True)
        return int(done.stdout.split()[0])

    before = used()
    try:
        for number in range(20):
            command("run", "-d", "--name", f"shared{number}", "--network", "none", name, "sleep", "60")
        assert used() - before < 20 * 256, "a container costs less than 256 KiB of disk"
    finally:
        command("rm", "-f", "-a", "-t", "0")


def test_bash_has_job_control(debian: tuple[Rootless, str]) -> None:
    command, name = debian
    command("run", "-d", "--name", "jobs", "--network", "none", name, "sleep", "1000")
    bash = Terminal(command, "exec", "-it", "jobs", "bash", "--norc", "--noediting")
    try:
        for keys, shown in [
            (b"sh -c 'echo begun$((1)); exec sleep 999'\n", b"begun1"),
            (b"\x1a", b"Stopped"),
            (b"bg; jobs\n", b"Running"),
            (b"kill %1; wait %1; echo code$?\n", b"code143"),
            (b"exit 7\n", b"exit"),
        ]:
            bash.type(keys)
            bash.expect(shown, 30)
        assert bash.wait(30) == 7
    finally:
        bash.close()
        command("rm", "-f", "-t", "0", "jobs")


def test_usr_comes_back_from_cp_as_it_was(debian: tuple[Rootless, str]) -> None:
    """Owners, set-user-ID bits, capabilities, hard links, times: all that a tar of it has."""
    command, name = debian
    tar = "tar --sort=name --numeric-owner --format=pax --xattrs --pax-option=delete=atime,delete=ctime -c"
    command("run", "-d", "--name", "from", "--network", "none", name, "sleep", "1000")
    command("create", "--name", "to", "--network", "none", name, "sleep", "1000")
    try:
        stream = command.popen("cp", "from:/usr", "-")
        subprocess.run(
            [executable(), "cp", "--archive=false", "-", "to:/srv"],
            stdin=stream.stdout,
            check=True,
            timeout=120,
            env=command.environment,
        )
        assert stream.wait(30) == 0
        command("start", "to")
        sums = {
            command.out("exec", where, "sh", "-c", f"cd {place} && {tar} usr | sha256sum", timeout=120)
            for where, place in [("from", "/"), ("to", "/srv")]
        }
        assert len(sums) == 1
    finally:
        command("rm", "-f", "-t", "0", "from", "to")


def test_two_thousand_processes(debian: tuple[Rootless, str]) -> None:
    command, name = debian
    script = "for i in $(seq 2000); do sleep 1000 & done; echo ready; wait"
    command("run", "-d", "--name", "crowd", "--network", "none", name, "bash", "-c", script)
    try:
        wait_until(lambda: command.out("logs", "crowd") == "ready", 120)
        assert len(command.out("top", "crowd", "pid").splitlines()) == 2002
        assert json.loads(command.out("stats", "--no-stream", "--format", "json", "crowd"))[0]["pids"] == "2001"
        command("pause", "crowd")
        assert set(command.out("top", "crowd", "state").split()) == {"STATE", "T"}
        command("unpause", "crowd")
        assert "T" not in command.out("top", "crowd", "state").split()
        command("pause", "crowd")
        command("kill", "crowd")
        assert command.out("wait", "crowd") == "137"
    finally:
        command("rm", "-f", "-t", "0", "crowd")
