"""rootless.runtime.launch, driven directly with a busybox root directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rootless.kernel.capabilities import CAPS
from rootless.kernel.namespaces import KINDS
from tests.support.runtime import PRIVATE, REPOSITORY, bind, config, launch, make_rootfs, mount


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return make_rootfs(tmp_path / "rootfs")


def test_the_container_has_namespaces_of_its_own(rootfs: Path) -> None:
    kinds = [kind for kind in KINDS if kind != "time"]
    done = launch(config(rootfs, "sh", "-c", "for n; do readlink /proc/self/ns/$n; done", "-", *kinds))
    inside = done.out.split()
    assert len(inside) == len(kinds)
    for kind, shown in zip(kinds, inside, strict=True):
        assert shown != os.readlink(f"/proc/self/ns/{kind}")


def test_its_program_is_pid_1_and_sees_only_itself(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "echo $$; ls -d /proc/[0-9]*"))
    assert done.out.split() == ["1", "/proc/1"]


def test_all_subordinate_ids_are_mapped(rootfs: Path) -> None:
    done = launch(config(rootfs, "cat", "/proc/self/uid_map"))
    first, second = (line.split() for line in done.out.splitlines())
    assert first == ["0", str(os.getuid()), "1"]
    assert second[0] == "1"


def test_the_hostname_is_the_one_asked_for(rootfs: Path) -> None:
    assert launch(config(rootfs, "hostname")).out == "box\n"
    assert os.uname().nodename != "box"


def test_the_exit_code_is_the_programs(rootfs: Path) -> None:
    assert launch(config(rootfs, "sh", "-c", "exit 42")).code == 42


def test_loopback_is_up_and_nothing_else_is_there(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "ip -o link | cut -d: -f2; ip addr show lo"))
    assert done.out.split()[0] == "lo"
    assert "127.0.0.1/8" in done.out
    assert "UP" in done.out


def test_mounts_are_those_of_the_configuration_and_nothing_of_the_host(rootfs: Path) -> None:
    done = launch(config(rootfs, "cat", "/proc/self/mountinfo"))
    places = [line.split()[4] for line in done.out.splitlines()]
    expected = {"/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/sys", "/sys/fs/cgroup", "/dev/null"}
    assert expected <= set(places)
    allowed = ("/proc", "/dev", "/sys")
    assert all(place == "/" or place.startswith(allowed) for place in places)


def test_mount_options_reach_the_kernel(rootfs: Path) -> None:
    done = launch(config(rootfs, "cat", "/proc/self/mountinfo"))
    options = {line.split()[4]: line.split(" - ")[0].split()[5] for line in done.out.splitlines()}
    assert options["/proc"] == "rw,nosuid,nodev,noexec,relatime"
    assert options["/sys"] == "ro,nosuid,nodev,noexec,relatime"
    assert options["/dev"] == "rw,nosuid"
    assert options["/proc/sys"].startswith("ro,")


def test_the_usual_devices_work(rootfs: Path) -> None:
    script = "head -c 4 /dev/zero | od -An -tx1; head -c 9 /dev/urandom | wc -c; echo x >/dev/null; echo x >/dev/full"
    done = launch(config(rootfs, "sh", "-c", script))
    assert done.out.split() == ["00", "00", "00", "00", "9"]
    assert "No space left" in done.err
    listed = launch(config(rootfs, "ls", "/dev")).out.split()
    wanted = "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"
    assert listed == wanted.split()


def test_masked_files_are_empty_and_masked_directories_too(rootfs: Path) -> None:
    script = "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; touch /sys/firmware/x || echo no"
    assert launch(config(rootfs, "sh", "-c", script)).out.split() == ["0", "0", "no"]


def test_proc_sys_is_read_only(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
    assert done.code != 0
    assert "Read-only file system" in done.err


def test_sysctls_are_written_before_proc_sys_is_closed(rootfs: Path) -> None:
    cfg = config(rootfs, "cat", "/proc/sys/net/ipv4/ip_forward")
    cfg["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1"}
    assert launch(cfg).out == "1\n"


@pytest.mark.parametrize("name", ["net.nosuch.thing", "vm.swappiness", "../etc/passwd"])
def test_a_sysctl_that_is_not_the_containers_is_refused(rootfs: Path, name: str) -> None:
    cfg = config(rootfs, "true")
    cfg["linux"]["sysctl"] = {name: "1"}
    done = launch(cfg)
    assert done.code == 125
    assert name in str(done.error)


def test_a_read_only_root_cannot_be_written_but_dev_shm_can(rootfs: Path) -> None:
    cfg = config(rootfs, "sh", "-c", "touch /x || touch /dev/shm/x && echo fine")
    cfg["root"]["readonly"] = True
    done = launch(cfg)
    assert done.out == "fine\n"
    assert "Read-only" in done.err
    assert not (rootfs / "x").exists()


def test_binds_are_writable_or_read_only_as_asked(rootfs: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    binds = [bind(data, "/rw"), bind(data, "/ro", "rbind", "ro")]
    done = launch(config(rootfs, "sh", "-c", "echo hi >/rw/f; cat /ro/f; touch /ro/g", mounts=binds))
    assert done.out == "hi\n"
    assert "Read-only" in done.err
    assert (data / "f").read_text() == "hi\n"


def test_what_is_mounted_beneath_a_read_only_bind_is_read_only(rootfs: Path) -> None:
    done = launch(
        config(rootfs, "sh", "-c", "touch /host/dev/shm/rootless-x", mounts=[bind("/", "/host", "rbind", "ro")])
    )
    assert done.code == 1
    assert not Path("/dev/shm/rootless-x").exists()


def test_a_file_can_be_bound_where_the_image_has_none(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("127.0.0.1 me\n")
    done = launch(config(rootfs, "cat", "/new/place/hosts", mounts=[bind(tmp_path / "hosts", "/new/place/hosts")]))
    assert done.out == "127.0.0.1 me\n"


def test_a_missing_source_is_named(rootfs: Path) -> None:
    done = launch(config(rootfs, "true", mounts=[bind("/no/such/place", "/x")]))
    assert (done.code, done.kind) == (125, "RootlessError")
    assert "/no/such/place" in str(done.error)


def test_a_directory_cannot_lie_on_a_file(rootfs: Path, tmp_path: Path) -> None:
    done = launch(config(rootfs, "true", mounts=[bind(tmp_path, "/etc/passwd")]))
    assert done.code == 125
    assert "/etc/passwd" in str(done.error)


def test_a_tmpfs_can_start_with_what_the_image_has(rootfs: Path) -> None:
    (rootfs / "etc/link").symlink_to("/etc/shadow")
    tmpfs = mount("/etc", "tmpfs", "mode=755", "tmpcopyup")
    done = launch(
        config(rootfs, "sh", "-c", "grep alice /etc/passwd; readlink /etc/link; touch /etc/new", mounts=[tmpfs])
    )
    assert done.out.splitlines() == ["alice:x:1000:1000:Alice:/home/alice:/bin/sh", "/etc/shadow"]
    assert not (rootfs / "etc/new").exists()


def test_an_unknown_mount_option_is_told_with_the_kernels_words(rootfs: Path) -> None:
    done = launch(config(rootfs, "true", mounts=[mount("/x", "tmpfs", "nonsense=1")]))
    assert done.code == 125
    assert "nonsense" in str(done.error)


def test_a_missing_working_directory_is_made(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "pwd; stat -c %a:%u .", cwd="/srv/deep/here"))
    assert done.out == "/srv/deep/here\n755:0\n"


def test_a_terminal_is_the_containers_own(rootfs: Path) -> None:
    cfg = config(
        rootfs, "sh", "-c", "tty; stty size; test -t 0 -a -t 1 -a -t 2 && echo all; ls -l /dev/console; ps -o tty"
    )
    cfg["process"] |= {"terminal": True, "consoleSize": {"height": 33, "width": 101}}
    done = launch(cfg)
    assert done.terminal.split("\r\n")[:3] == ["/dev/pts/0", "33 101", "all"]
    assert "136,   0" in done.terminal


def test_a_terminal_belongs_to_the_containers_user(rootfs: Path) -> None:
    cfg = config(rootfs, "sh", "-c", "stat -c %u:%g:%a /dev/pts/0; echo again > /dev/tty")
    cfg["process"]["terminal"] = True
    assert launch(cfg, plan={"user": "alice"}).terminal.split() == ["1000:5:620", "again"]


def test_another_users_standard_output_can_be_opened_again(rootfs: Path) -> None:
    assert launch(config(rootfs, "sh", "-c", "echo one > /dev/stdout"), plan={"user": "alice"}).out == "one\n"


def test_no_input_is_the_containers_own_dev_null(rootfs: Path) -> None:
    done = launch(
        config(rootfs, "sh", "-c", "readlink /proc/self/fd/0; cat; wc -c < /dev/stdin"), plan={"stdio": [None, 1, 2]}
    )
    assert done.out.split() == ["/dev/null", "0"]


def test_the_time_namespace_shifts_the_clock(rootfs: Path) -> None:
    cfg = config(rootfs, "cut", "-d.", "-f1", "/proc/uptime")
    cfg["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 5, "nanosecs": 1}}
    assert int(launch(cfg, flags=PRIVATE | KINDS["time"]).out) > 1_000_000


def test_resource_limits_are_set(rootfs: Path) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 33, "hard": 44}
    assert launch(config(rootfs, "sh", "-c", "ulimit -Sn; ulimit -Hn", rlimits=[limit])).out.split() == ["33", "44"]


def test_a_limit_beyond_ours_is_explained(rootfs: Path) -> None:
    limit = {"type": "RLIMIT_NOFILE", "soft": 1 << 30, "hard": 1 << 30}
    done = launch(config(rootfs, "true", rlimits=[limit]))
    assert (done.code, done.kind) == (125, "UsageError")
    assert "RLIMIT_NOFILE" in str(done.error)


def test_without_a_network_namespace_the_hosts_interfaces_are_seen(rootfs: Path) -> None:
    done = launch(config(rootfs, "readlink", "/proc/self/ns/net"), flags=PRIVATE & ~KINDS["net"])
    assert done.out.strip() == os.readlink("/proc/self/ns/net")
    assert done.error is None


def test_an_init_starts_the_program_and_reaps(rootfs: Path) -> None:
    init = next((path for path in ("/usr/bin/catatonit", "/usr/bin/tini-static") if os.path.exists(path)), None)
    if init is None:
        pytest.skip("neither catatonit nor a static tini is installed")
    done = launch(config(rootfs, "sh", "-c", "cat /proc/1/comm; exit 7"), plan={"init": init})
    assert done.out.strip() == "init"
    assert done.code == 7


def test_single_id_mode_runs_what_it_can(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "id -u; cat /proc/self/uid_map"), wrapper=("setpriv", "--no-new-privs"))
    assert done.out.split() == ["0", "0", str(os.getuid()), "1"]


def test_single_id_mode_names_the_user_it_cannot_be(rootfs: Path) -> None:
    done = launch(config(rootfs, "true"), plan={"user": "alice"}, wrapper=("setpriv", "--no-new-privs"))
    assert (done.code, done.kind) == (125, "UsageError")
    assert "1000" in str(done.error)


def _start_sleeper(rootfs: Path) -> tuple[subprocess.Popen[bytes], int]:
    code = (
        "import os, sys, json; from rootless.runtime.launch import begin; "
        "from rootless.kernel.idmaps import default_user_map; c = json.loads(sys.argv[1]); "
        "l = begin(int(sys.argv[2])); l.map_ids(default_user_map()); l.send({'config': c, 'user': sys.argv[3]}); "
        "l.wait_prepared(); l.execute(); print(l.init_pid, flush=True); os.waitpid(l.init_pid, 0)"
    )
    command = [sys.executable, "-c", code, json.dumps(config(rootfs, "sleep", "60")), str(PRIVATE), "alice"]
    monitor = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert monitor.stdout is not None
    return monitor, int(monitor.stdout.readline())


def test_the_container_dies_with_its_monitor_also_as_another_user(rootfs: Path) -> None:
    monitor, init = _start_sleeper(rootfs)
    assert Path(f"/proc/{init}/comm").read_text() == "sleep\n"
    monitor.send_signal(signal.SIGKILL)
    monitor.wait()
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{init}"):
        assert time.monotonic() < deadline, "the container outlived its monitor"
        time.sleep(0.01)


def test_the_host_may_join_the_containers_namespaces(rootfs: Path) -> None:
    monitor, init = _start_sleeper(rootfs)
    try:
        command = ["nsenter", "-t", str(init), "-U", "-u", "--preserve-credentials", "hostname"]
        assert subprocess.run(command, capture_output=True, text=True).stdout == "box\n"
    finally:
        monitor.kill()
        monitor.wait()


DIE_AT = """
import json, os, sys
from rootless.kernel.idmaps import default_user_map
from rootless.runtime.launch import begin

def reached(phase):
    if phase == sys.argv[2]:
        print(started.init_pid, flush=True)
        os.kill(os.getpid(), 9)

started = begin(int(sys.argv[3]))
reached("begun")
started.map_ids(default_user_map())
reached("mapping")
started.send({"config": json.loads(sys.argv[1]), "user": "alice"})
reached("sent")
started.wait_prepared()
reached("prepared")
started.execute()
reached("executed")
"""


@pytest.mark.parametrize("phase", ["begun", "mapping", "sent", "prepared", "executed"])
def test_wherever_the_monitor_is_killed_the_container_goes_too(rootfs: Path, phase: str) -> None:
    command = [sys.executable, "-c", DIE_AT, json.dumps(config(rootfs, "sleep", "60")), phase, str(PRIVATE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=20)
    assert done.returncode == -signal.SIGKILL, done.stderr
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{int(done.stdout)}"):
        assert time.monotonic() < deadline, "pid 1 outlived the monitor"
        time.sleep(0.01)


@pytest.mark.parametrize("phase", ["begun", "mapping", "sent", "prepared"])
def test_aborting_leaves_no_process_and_no_descriptor(rootfs: Path, phase: str) -> None:
    code = (
        "import json, os, sys; from rootless.runtime.launch import begin; "
        "from rootless.kernel.idmaps import default_user_map; before = sorted(os.listdir('/proc/self/fd')); "
        "l = begin(int(sys.argv[3])); init = l.init_pid; phases = ['begun', 'mapping', 'sent', 'prepared']; "
        "at = phases.index(sys.argv[2]); at < 1 or l.map_ids(default_user_map()); "
        "at < 2 or l.send({'config': json.loads(sys.argv[1])}); at < 3 or l.wait_prepared(); l.abort(); l.abort(); "
        "assert not os.path.exists(f'/proc/{init}'); "
        "assert sorted(os.listdir('/proc/self/fd')) == before, (before, os.listdir('/proc/self/fd'))"
    )
    command = [sys.executable, "-c", code, json.dumps(config(rootfs, "sleep", "60")), phase, str(PRIVATE)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, timeout=20)
    assert done.returncode == 0, done.stderr


def test_forbidden_user_namespaces_are_explained(rootfs: Path) -> None:
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = launch(config(rootfs, "true"), wrapper=("unshare", "-Ur", "sh", "-c", script, "-"))
    assert (done.code, done.kind) == (125, "SyscallError")
    assert "doctor" in str(done.hint)
    assert "clone" in str(done.error)


def test_a_root_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = launch(config(tmp_path / "nowhere", "true"))
    assert done.code == 125
    assert str(tmp_path / "nowhere") in str(done.error)


def test_a_privileged_container_may_mount_and_see_everything_of_its_own(rootfs: Path) -> None:
    every = list(CAPS)
    sets = dict.fromkeys(("bounding", "effective", "permitted"), every)
    cfg = config(rootfs, "sh", "-c", "mount -t tmpfs none /tmp && touch /proc/sys/net/ipv4/ip_forward && ls /proc/acpi")
    cfg["process"]["capabilities"] = sets
    cfg["linux"] = {}
    done = launch(cfg)
    assert (done.code, done.err) == (0, "")
