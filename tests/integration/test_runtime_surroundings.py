"""The runtime where it is not alone: inside another container, and with crun beside it as oracle."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rootless.kernel.namespaces import KINDS
from tests.conftest import need
from tests.support.runtime import PRIVATE, bind, config, launch, make_rootfs, mount


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return make_rootfs(tmp_path / "rootfs")


def surrounded(masks: str) -> tuple[str, ...]:
    """A command prefix: another user, mount and pid namespace with one id, and parts of its /proc and /sys covered.

    One mount of either that shows everything, wherever it is, lets the kernel allow new ones: then there is no test.
    """
    mounted = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    if sum(fields[2] == "sysfs" for fields in mounted) > 1 or sum(fields[2] == "proc" for fields in mounted) > 1:
        pytest.skip("/proc or /sys are mounted in several places here")
    script = f'{masks} && exec "$@"'
    return ("unshare", "-Urmpf", "--kill-child", "--mount-proc", "sh", "-c", script, "-")


def test_a_masked_proc_around_us_is_used_as_it_is_and_said_so(rootfs: Path) -> None:
    done = launch(
        config(rootfs, "sh", "-c", "echo $$; wc -c < /proc/keys; cat /proc/self/comm"),
        wrapper=surrounded("mount --bind /dev/null /proc/keys"),
    )
    assert done.out.split() == ["1", "0", "cat"]
    assert any(warning.startswith("/proc is that of the surroundings") for warning in done.warnings)


def test_a_masked_sys_around_us_stays_masked_and_read_only(rootfs: Path) -> None:
    done = launch(
        config(rootfs, "sh", "-c", "ls /sys/fs; touch /sys/x; ls /sys/kernel | wc -l"),
        wrapper=surrounded("mount -t tmpfs none /sys/kernel"),
    )
    assert done.out.split()[-1] == "0"
    assert "Read-only file system" in done.err


def test_the_processes_around_us_cannot_be_read_through_their_proc(rootfs: Path) -> None:
    script = "for p in /proc/[0-9]*; do test $p -ef /proc/self || cat $p/environ; done 2>/dev/null | grep -c OUTER"
    done = launch(
        config(rootfs, "sh", "-c", script),
        wrapper=surrounded("mount --bind /dev/null /proc/keys"),
        env={**os.environ, "OUTER": "OUTER"},
    )
    assert done.out == "0\n"


def test_with_the_hosts_pid_namespace_its_proc_must_be_bound(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "echo $$"), flags=PRIVATE & ~KINDS["pid"])
    assert int(done.out) > 1
    assert done.warnings


def test_containers_nest(rootfs: Path, tmp_path: Path) -> None:
    """The runtime in a container of the runtime: Python and this tree bound into the outer one."""
    inner = make_rootfs(tmp_path / "inner")
    tree = Path(__file__).parents[2]
    shown = [folder for folder in ("/usr", "/lib", "/lib64") if os.path.exists(folder)]
    mounts = [bind(folder, folder, "rbind", "ro") for folder in (*shown, str(tree))] + [bind(inner, "/inner")]
    code = (
        "import os, sys, json; sys.path.insert(0, sys.argv[1]); from rootless.runtime.launch import begin; "
        "from rootless.kernel.idmaps import default_user_map; l = begin(int(sys.argv[3])); "
        "l.map_ids(default_user_map()); l.send({'config': json.loads(sys.argv[2])}); "
        "l.wait_prepared(); l.execute(); sys.exit(os.waitstatus_to_exitcode(os.waitpid(l.init_pid, 0)[1]))"
    )
    within = config(Path("/inner"), "sh", "-c", "id -u; cat /proc/self/uid_map; exit 3")
    arguments = ["/usr/bin/python3", "-I", "-S", "-c", code, str(tree), json.dumps(within), str(PRIVATE)]
    done = launch(config(rootfs, *arguments, mounts=mounts))
    assert done.code == 3, done.err
    assert done.out.split() == ["0", "0", "0", "1", "1", "1", "65536"]


# What both runtimes are asked: one fact a line.
FACTS = """
id
hostname
pwd
umask
grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status
grep -E 'open files' /proc/self/limits
tr '\\0' '\\n' < /proc/self/environ | sort
awk '{print $5, $6}' /proc/self/mountinfo | sort
ls -1 /dev /dev/pts
stat -c '%n %a %u %g' /dev /dev/shm /dev/mqueue /dev/pts /dev/ptmx /tmp
for link in fd stdin ptmx core; do readlink /dev/$link; done
cat /data/file; touch /data/new || echo read-only
wc -c < /proc/keys; ls /sys/firmware | wc -l
ip -o addr | awk '{print $2, $4}'
ls /proc/self/fd
"""


def crun_output(cfg: dict[str, Any], bundle: Path) -> str:
    """The same configuration run by crun, in a user namespace mapped like ours and with the unified cgroup tree."""
    names = {"mnt": "mount", "net": "network"}
    cfg["linux"]["namespaces"] = [{"type": names.get(kind, kind)} for kind in KINDS if kind not in ("time", "user")]
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(cfg))
    crun = f"crun --cgroup-manager=disabled --root {bundle}/state run -b {bundle} oracle"
    script = f"mount -t cgroup2 none /sys/fs/cgroup && {crun}"
    command = ["unshare", "--map-auto", "--map-root-user", "-m", "-C", "sh", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_differences(output: str) -> list[str]:
    """What both must agree on: crun shows all version 1 cgroup hierarchies where we show the unified one, and takes
    nosuid, nodev and noexec off what it binds within /proc."""
    lines = [line.replace(",relatime", "") for line in output.splitlines() if not line.startswith("/sys/fs/cgroup")]
    return [line.split()[0] if line.startswith("/proc/") else line for line in lines]


@pytest.mark.parametrize("user", [(0, 0, []), (1000, 1000, [10, 26])])
@pytest.mark.parametrize("no_new_privs", [False, True])
def test_crun_makes_the_same_container_of_the_same_configuration(
    rootfs: Path, tmp_path: Path, user: tuple[int, int, list[int]], no_new_privs: bool
) -> None:
    need("crun")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("content\n")
    uid, gid, groups = user
    cfg = config(
        rootfs,
        "sh",
        "-c",
        FACTS,
        mounts=[
            bind(tmp_path / "data", "/data", "rbind", "ro", "rprivate"),
            mount("/run", "tmpfs", "nosuid", "mode=755"),
        ],
        # The own group is among the groups, as Docker and Podman have it: crun has to be told.
        user={"uid": uid, "gid": gid, "additionalGids": [gid, *groups], "umask": 0o27},
        cwd="/tmp",
        env=["PATH=/bin", "A=1=2", "HOME=/nowhere"],
        noNewPrivileges=no_new_privs,
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
    )
    ours = launch(cfg)
    assert ours.error is None
    theirs = crun_output(cfg, tmp_path / "bundle")
    assert "\n".join(without_differences(ours.out)) == "\n".join(without_differences(theirs))
