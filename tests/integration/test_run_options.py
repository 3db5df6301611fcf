"""Options of `run` that decide how the container is surrounded, seen from inside."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import need
from tests.support.command import Rootless


def run(rl: Rootless, image: str, options: tuple[str, ...], script: str) -> list[str]:
    return rl.out("run", "--rm", "--network", "none", *options, image, "sh", "-c", script).splitlines()


def test_an_init_is_pid_1(rl: Rootless, image: str) -> None:
    need("catatonit")
    script = (
        "(sleep 0.05 &); sleep 0.2; cat /proc/1/cmdline | tr '\\0' ' '; echo; grep -l zombie /proc/*/status; echo $$"
    )
    first, own = run(rl, image, ("--init",), script)
    assert first.startswith("/dev/init -- ")
    assert own != "1"


def test_shared_memory_and_message_queues(rl: Rootless, image: str) -> None:
    script = "df -k /dev/shm | tail -1 | awk '{print $2}'; mount | grep -c 'mqueue on /dev/mqueue'; stat -c %a /dev/shm"
    assert run(rl, image, ("--shm-size", "3m"), script) == ["3072", "1", "1777"]
    assert run(rl, image, (), script)[0] == "65536"


def test_mounts_pass_through_a_bind_as_its_propagation_says(rl: Rootless, image: str, tmp_path: Path) -> None:
    def groups(*options: str) -> set[str]:
        volume = ":".join((str(tmp_path), "/shared", *options))
        (line,) = run(rl, image, ("-v", volume), "grep ' /shared ' /proc/self/mountinfo")
        return {word.partition(":")[0] for word in line.split(" - ")[0].split()[6:]}

    assert groups() == groups("rprivate") == groups("private") == set()
    assert "shared" in groups("rshared")
    assert "shared" not in groups("rslave")  # which is a slave only where the host's mount is shared


def test_privileged_has_all_capabilities_and_no_masks(rl: Rootless, image: str) -> None:
    script = (
        "mkdir -p /m && mount -t tmpfs none /m && echo mounted; grep -c ' /proc/timer_list ' /proc/self/mountinfo;"
        " cat /proc/sys/kernel/cap_last_cap; grep CapEff /proc/self/status"
    )
    mounted, masks, last, effective = run(rl, image, ("--privileged",), script)
    assert (mounted, masks) == ("mounted", "0")
    assert int(effective.split()[1], 16) == (1 << int(last) + 1) - 1


def test_security_options(rl: Rootless, image: str, tmp_path: Path) -> None:
    status = "awk '/NoNewPrivs|Seccomp:/ {print $2}' /proc/self/status"
    assert run(rl, image, (), status) == ["0", "2"]
    assert run(rl, image, ("--security-opt", "no-new-privileges"), status) == ["1", "2"]
    assert run(rl, image, ("--security-opt", "seccomp=unconfined"), status)[-1] == "0"
    profile = tmp_path / "profile.json"
    profile.write_text(
        '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":5}]}'
    )
    assert run(rl, image, ("--security-opt", f"seccomp={profile}"), "mkdir /x 2>&1; true") == [
        "mkdir: can't create directory '/x': Input/output error"
    ]
    masks = "ls /srv /etc | grep -c passwd; grep -c ' /proc/timer_list ' /proc/self/mountinfo; true"
    assert run(rl, image, (), masks) == ["1", "1"]
    assert run(rl, image, ("--security-opt", "mask=/etc", "--security-opt", "unmask=ALL"), masks)[1] == "0"
    assert run(rl, image, ("--security-opt", "mask=/etc"), masks) == ["0", "1"]


def test_a_missing_source_is_refused_with_the_command_that_makes_it(rl: Rootless, image: str, tmp_path: Path) -> None:
    for option in (("-v", f"{tmp_path}/not here:/x"), ("--mount", f"type=bind,src={tmp_path}/not here,dst=/x")):
        failed = rl("run", "--rm", *option, image, "true", check=False)
        assert failed.returncode == 125
        assert f"hint: make it first: mkdir -p '{tmp_path}/not here'\n" in failed.stderr


def test_groups(rl: Rootless, image: str) -> None:
    assert run(rl, image, ("-u", "alice", "--group-add", "5"), "id -G | tr ' ' '\\n' | sort -n") == ["5", "10", "1000"]


def test_an_archive_that_is_not_there_is_named(rl: Rootless, image: str, tmp_path: Path) -> None:
    for name in (f"oci-archive:{tmp_path}/x.tar", f"docker-archive:{tmp_path}/x.tar", f"dir:{tmp_path}/x.tar"):
        failed = rl("run", "--rm", name, "true", check=False)
        assert failed.returncode == 125
        assert f"{tmp_path}/x.tar" in failed.stderr, failed.stderr
