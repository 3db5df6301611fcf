"""HOSTILE 15 to 18 and 20 to 22 against the runtime itself: images and containers that want out."""

from __future__ import annotations

import ast
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.kernel.capabilities import DEFAULT
from rootless.kernel.keyring import leave_session_keyring
from rootless.runtime.seccomp_profile import program
from tests.support.runtime import bind, config, default_mounts, launch, make_rootfs, mount

PYTHON_FOLDERS = [folder for folder in ("/usr", "/lib", "/lib64") if os.path.exists(folder)]


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return make_rootfs(tmp_path / "rootfs")


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host that nothing may touch."""
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("secret\n")
    return place


def replace_by_link(path: Path, target: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/etc", "../../outside", "/proc/self/cwd"])
def test_a_kernel_file_system_is_not_mounted_through_a_link(
    rootfs: Path, outside: Path, name: str, target: str
) -> None:
    replace_by_link(rootfs / name, target)
    done = launch(config(rootfs, "true"))
    assert (done.code, done.kind) == (125, "ImageError")
    assert f"/{name}: part of that path is a symbolic link" in str(done.error)
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("target", ["/dev", "dev/", "/proc", "/sys", "/", "/other"])
def test_nothing_of_ours_is_made_in_a_volume_that_a_link_leads_to_a_place_of_ours(
    rootfs: Path, tmp_path: Path, target: str
) -> None:
    (rootfs / "l7").symlink_to(target)
    (rootfs / "other").symlink_to("dev")
    volume = tmp_path / "volume"
    volume.mkdir()
    base = config(rootfs, "true")
    for first in (False, True):
        mounts = [bind(volume, "/l7"), *default_mounts()] if first else [*default_mounts(), bind(volume, "/l7")]
        done = launch({**base, "mounts": mounts})
        assert (done.code, done.kind) == (125, "ImageError")
        assert "mounting on /l7: in the image that is a symbolic link to /" in str(done.error)
        assert os.listdir(volume) == []


def test_a_volume_may_lie_behind_a_link_elsewhere_and_on_dev_by_name(rootfs: Path, tmp_path: Path) -> None:
    (rootfs / "run").mkdir()
    (rootfs / "run/shm").symlink_to("/dev/shm")
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "mine").touch()
    assert launch(config(rootfs, "ls", "/dev/shm", mounts=[bind(volume, "/run/shm")])).out == "mine\n"
    assert "mine\n" in launch(config(rootfs, "ls", "/dev", mounts=[bind(volume, "/dev")])).out


def test_a_link_above_a_mount_point_stays_inside(rootfs: Path, outside: Path, tmp_path: Path) -> None:
    replace_by_link(rootfs / "data", str(outside))
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/mine").touch()
    done = launch(config(rootfs, "ls", "/data/sub", mounts=[bind(tmp_path / "volume", "/data/sub")]))
    assert done.out == "mine\n"
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("name", ["resolv.conf", "hosts", "hostname"])
@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../../../etc/passwd", "/proc/self/root/etc/passwd", "/new/place"]
)
def test_files_of_ours_do_not_land_on_the_hosts(rootfs: Path, tmp_path: Path, name: str, target: str) -> None:
    before = Path("/etc/passwd").read_bytes()
    replace_by_link(rootfs / "etc" / name, target)
    (tmp_path / "ours").write_text("ours\n")
    done = launch(config(rootfs, "cat", f"/etc/{name}", mounts=[bind(tmp_path / "ours", f"/etc/{name}")]))
    assert done.out in ("ours\n", "")
    assert Path("/etc/passwd").read_bytes() == before
    assert not os.path.exists("/new/place")


@pytest.mark.parametrize("destination", ["/../../outside", "/a/../../../outside", "/./..//outside"])
def test_dots_in_a_destination_end_at_the_root(rootfs: Path, outside: Path, destination: str, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume/mine").touch()
    done = launch(config(rootfs, "ls", "/outside", mounts=[bind(tmp_path / "volume", destination)]))
    assert done.out == "mine\n"
    assert os.listdir(outside) == ["secret"]


def test_links_in_a_circle_are_an_error(rootfs: Path, tmp_path: Path) -> None:
    replace_by_link(rootfs / "a", "/b")
    replace_by_link(rootfs / "b", "/a")
    done = launch(config(rootfs, "true", mounts=[bind(tmp_path, "/a/x")]))
    assert (done.code, done.kind) == (125, "ImageError")


def test_copy_up_does_not_follow_links(rootfs: Path, outside: Path) -> None:
    replace_by_link(rootfs / "data", str(outside))
    (rootfs / "real").mkdir()
    (rootfs / "real/link").symlink_to(str(outside / "secret"))
    mounts = [mount("/data", "tmpfs", "tmpcopyup"), mount("/real", "tmpfs", "tmpcopyup")]
    done = launch(config(rootfs, "sh", "-c", "ls /data; cat /real/link; readlink /real/link", mounts=mounts))
    assert "secret\n" not in done.out.replace(str(outside / "secret"), "")


def test_masks_hold_whatever_lies_at_dev_null_in_the_image(rootfs: Path) -> None:
    (rootfs / "dev").mkdir()
    (rootfs / "dev/null").symlink_to("/etc/passwd")
    assert launch(config(rootfs, "sh", "-c", "wc -c < /proc/keys")).out == "0\n"


def test_a_working_directory_outside_is_refused(rootfs: Path, outside: Path) -> None:
    directory = os.open(outside, os.O_RDONLY)
    try:
        for number in range(12):
            cfg = config(rootfs, "cat", "secret", cwd=f"/proc/self/fd/{number}")
            done = launch(cfg, plan={"stdio": [directory, 1, 2]}, pass_fds=(directory,))
            assert done.code in (125, 126), number
            assert "secret" not in done.out
    finally:
        os.close(directory)


def test_descriptors_of_the_caller_do_not_reach_the_container(rootfs: Path, outside: Path) -> None:
    directory = os.open(outside, os.O_RDONLY)
    try:
        done = launch(config(rootfs, "ls", "/proc/self/fd"), pass_fds=(directory,))
    finally:
        os.close(directory)
    assert done.out.split() == ["0", "1", "2", "3"]  # the last is the directory that ls reads


def test_descriptors_asked_for_do(rootfs: Path, outside: Path) -> None:
    code = (
        "import os, sys, json; os.dup2(os.open(sys.argv[1], os.O_RDONLY), 3); os.set_inheritable(3, False); "
        "from tests.support.runtime import *; from rootless.runtime.launch import begin; "
        "from rootless.kernel.idmaps import default_user_map; l = begin(PRIVATE); l.map_ids(default_user_map()); "
        "c = config(Path(sys.argv[2]), 'sh', '-c', 'cat <&3; ls /proc/self/fd'); "
        "l.send({'config': c, 'preserve_fds': [3]}); l.wait_prepared(); l.execute(); os.waitpid(l.init_pid, 0)"
    )
    command = [sys.executable, "-c", code, str(outside / "secret"), str(rootfs)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.split() == ["secret", "0", "1", "2", "3", "4"], done.stderr


def test_a_descriptor_that_is_asked_for_must_be_open(rootfs: Path) -> None:
    done = launch(config(rootfs, "true"), plan={"preserve_fds": [*range(3, 53)]})
    assert done.code == 125
    assert "is not open" in str(done.error)


def test_the_interpreter_cannot_be_overwritten_from_inside(rootfs: Path) -> None:
    """CVE-2019-5736 needs write permission on the program that enters the container. Ours is the interpreter, which is
    owned by the real root, who is not mapped in any container of ours: no id in there may write to it."""
    executable = Path(os.path.realpath(sys.executable))
    before = executable.stat()
    assert before.st_uid == 0
    (rootfs / "evil").write_text("#!/proc/self/exe\n")
    (rootfs / "evil").chmod(0o755)
    for command in ("/proc/self/exe", "/evil"):
        done = launch(config(rootfs, command, "-c", "import os; os.open('/proc/self/exe', os.O_WRONLY)"))
        assert done.code != 0
    after = executable.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (before.st_mtime_ns, before.st_size, before.st_ino)


SYSTEM_CALLS = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
calls = {"add_key": 248, "keyctl": 250, "bpf": 321, "userfaultfd": 323, "kexec_load": 246, "open_by_handle_at": 304,
         "init_module": 175, "perf_event_open": 298, "mount": 165, "reboot": 169, "swapon": 167, "io_uring_setup": 425,
         "syslog": 103, "settimeofday": 164, "iopl": 172}
for name, number in calls.items():
    result = libc.syscall(number, *([0] * 6))
    print(name, "allowed" if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""


def test_dangerous_system_calls_are_refused(rootfs: Path, tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the numbers are those of x86_64")
    compiled = program(None, list(DEFAULT), str(tmp_path / "cache"))
    mounts = [bind(folder, folder, "rbind", "ro") for folder in PYTHON_FOLDERS]
    cfg = config(rootfs, "/usr/bin/python3", "-I", "-S", "-c", SYSTEM_CALLS, mounts=mounts)
    said = dict(line.split() for line in launch(cfg, plan={"seccomp": compiled}).out.splitlines())
    for name in ("add_key", "bpf", "userfaultfd", "kexec_load", "open_by_handle_at", "init_module", "io_uring_setup"):
        assert said[name] in ("EPERM", "ENOSYS"), name
    assert "allowed" not in said.values()


def test_nothing_can_be_mounted_and_no_masks_lifted(rootfs: Path) -> None:
    script = (
        "mount -t tmpfs none /tmp; umount /proc/keys; umount -l /proc; mount -o remount,rw /proc/sys; "
        "chroot / umount /proc/keys; wc -c < /proc/keys; touch /proc/sys/kernel/hostname"
    )
    done = launch(config(rootfs, "sh", "-c", script))
    assert done.out == "0\n"
    assert done.code != 0


def test_no_capability_is_inheritable_or_ambient(rootfs: Path) -> None:
    done = launch(config(rootfs, "grep", "-E", "CapInh|CapAmb", "/proc/self/status"))
    assert [int(line.split()[1], 16) for line in done.out.splitlines()] == [0, 0]


def test_ambient_capabilities_asked_for_reach_another_user(rootfs: Path) -> None:
    caps = {kind: ["CAP_NET_BIND_SERVICE"] for kind in ("bounding", "inheritable", "permitted", "ambient", "effective")}
    done = launch(config(rootfs, "grep", "CapEff", "/proc/self/status", capabilities=caps), plan={"user": "alice"})
    assert int(done.out.split()[1], 16) == 1 << 10


def test_no_new_privs_is_set_where_asked(rootfs: Path) -> None:
    done = launch(config(rootfs, "grep", "NoNewPrivs", "/proc/self/status", noNewPrivileges=True))
    assert done.out.split() == ["NoNewPrivs:", "1"]


def test_other_users_programs_cannot_be_run_by_a_user_who_may_not(rootfs: Path) -> None:
    shutil.copy(rootfs / "bin/busybox", rootfs / "bin/private")
    (rootfs / "bin/private").chmod(0o700)
    done = launch(config(rootfs, "/bin/private", "true"), plan={"user": "alice"})
    assert (done.code, done.kind) == (126, "CannotInvokeError")


WEIRD = [
    "plain",
    "two\nlines",
    "a=b=c",
    "$(touch /hacked); `id`",
    os.fsdecode(b"\xff\xfe\x80"),
    "x" * 100_000,
    "",
    "-n",
]


def test_arguments_and_environment_pass_unchanged(rootfs: Path) -> None:
    process = {"env": ["PATH=/bin", *(f"V{n}={value}" for n, value in enumerate(WEIRD))]}
    script = (
        "import os, sys; values = [*map(os.fsencode, sys.argv[1:]), *(os.environb[b'V%d' % n] for n in range(8))]; "
        "print(repr(values))"
    )
    mounts = [bind(folder, folder, "rbind", "ro") for folder in PYTHON_FOLDERS]
    cfg = config(rootfs, "/usr/bin/python3", "-I", "-S", "-c", script, *WEIRD, mounts=mounts, **process)
    assert ast.literal_eval(launch(cfg).out) == [os.fsencode(value) for value in WEIRD] * 2
    assert not (rootfs / "hacked").exists()


def test_arguments_beyond_the_kernels_limit_are_a_clear_error(rootfs: Path) -> None:
    done = launch(config(rootfs, "true", "x" * 200_000))
    assert (done.code, done.kind) == (126, "CannotInvokeError")
    assert "too long" in str(done.error)


@pytest.mark.parametrize("entry", ["NOVALUE", "=x", ""])
def test_an_environment_entry_without_a_name_is_refused(rootfs: Path, entry: str) -> None:
    done = launch(config(rootfs, "true", env=[entry]))
    assert (done.code, done.kind) == (125, "UsageError")


@pytest.mark.parametrize("name", ["passwd", "group"])
@pytest.mark.parametrize("what", ["fifo", "directory", "device", "link", "endless"])
def test_entering_survives_hostile_user_files(rootfs: Path, name: str, what: str) -> None:
    path = rootfs / "etc" / name
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "endless":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    else:
        path.symlink_to({"device": "/dev/zero", "link": "/proc/self/fd/3"}[what])
    one = {"process": config(rootfs, "id", "-u")["process"], "user": "0"}
    done = launch(config(rootfs, "sleep", "60", env=["PATH=/bin", "HOME=/"]), enters=[one], timeout=20)
    refusal = f"reading /etc/{name} of the container: it is not a regular file of reasonable size"
    if what == "link":  # to a descriptor that nobody has open: as if there were no file
        assert (done.entered[0]["code"], done.entered[0]["out"]) == (0, "0\n")
    elif name == "passwd":  # pid 1 needs it too, for its groups
        assert (done.code, done.kind, str(done.error), done.entered) == (125, "RootlessError", refusal, [])
    else:
        assert (done.entered[0]["code"], done.entered[0]["error"]) == (125, refusal)


def test_name_service_modules_of_the_image_are_not_loaded(rootfs: Path) -> None:
    (rootfs / "etc/nsswitch.conf").write_text("passwd: evil\ngroup: evil\n")
    for folder in ("lib", "lib64", "usr/lib"):
        (rootfs / folder).mkdir(parents=True, exist_ok=True)
        (rootfs / folder / "libnss_evil.so.2").write_text("not a library")
    one = {"process": config(rootfs, "id", "-un")["process"], "user": "alice"}
    assert launch(config(rootfs, "sleep", "60"), enters=[one]).entered[0]["out"] == "alice\n"


def test_modules_in_the_image_are_not_imported(rootfs: Path) -> None:
    """Our search path, read inside, would mean the image's files."""
    for folder in {path for path in sys.path if path.startswith("/")}:
        place = rootfs / folder.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        for module in ("traceback", "linecache", "json", "pwd", "codecs", "socket", "subprocess"):
            (place / f"{module}.py").write_text("open('/hacked', 'w')\n")
    one = {"process": config(rootfs, "true", env=["bad"])["process"], "user": "nobody-here"}
    launch(config(rootfs, "sleep", "60"), enters=[one, {**one, "user": "alice"}])
    launch(config(rootfs, "/etc", cwd="/nowhere"), plan={"user": "nobody-here"})
    assert not (rootfs / "hacked").exists()


SPY = """
while :; do
    for p in /proc/[0-9]*; do
        for f in $p/exe $p/cwd $p/root $p/fd/*; do readlink $f; done
        test $p = /proc/1 || cat $p/environ 2>/dev/null | tr '\\0' '\\n' | grep SECRET
    done
done > /seen
"""


def test_a_container_cannot_look_into_the_process_that_enters_it(rootfs: Path) -> None:
    one = {"process": config(rootfs, "true")["process"]}
    launch(config(rootfs, "sh", "-c", SPY), enters=[one] * 40, env={**os.environ, "SECRET": "SECRET-of-the-host"})
    seen = (rootfs / "seen").read_text()
    assert "/bin/busybox" in seen
    assert "python" not in seen
    assert "SECRET-of-the-host" not in seen


def test_the_hosts_processes_and_files_are_not_seen(rootfs: Path) -> None:
    done = launch(config(rootfs, "sh", "-c", "ls /; ls -d /proc/[0-9]*; cat /proc/mounts"))
    assert str(rootfs) not in done.out.replace(f"{rootfs} ", "")
    assert done.out.count("/proc/1\n") == 1
    assert "work" not in done.out.split()


OVERWRITE = """
import os
fd = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(fd, True)
print(os.readlink("/proc/self/exe"), flush=True)
os.execv("/bin/sh", ["sh", "-c", f"echo overwritten > /proc/self/fd/{fd}"])
"""


@pytest.mark.parametrize("entering", [False, True])
def test_an_interpreter_of_the_users_own_is_never_within_reach(rootfs: Path, tmp_path: Path, entering: bool) -> None:
    """The container executes /proc/self/exe while that is still ours, and then writes to the file."""
    own = tmp_path / "python3"
    shutil.copy(os.path.realpath(sys.executable), own)
    before = own.read_bytes()
    (rootfs / "evil.py").write_text(OVERWRITE)
    mounts = [bind(folder, folder, "rbind", "ro") for folder in PYTHON_FOLDERS]
    attack = config(rootfs, "/proc/self/exe", "-I", "-S", "/evil.py", mounts=mounts)
    packages = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix, "PYTHONPATH": packages}
    if entering:
        sleeper = config(rootfs, "sleep", "60", mounts=mounts)
        (outcome,) = launch(
            sleeper, enters=[{"process": attack["process"]}], env=environment, executable=str(own)
        ).entered
        assert outcome["out"].startswith("/memfd:python"), outcome
        assert outcome["code"] != 0
    else:
        done = launch(attack, env=environment, executable=str(own))
        assert done.out.startswith("/memfd:python"), done
        assert done.code != 0
    assert own.read_bytes() == before


FIND_KEY = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
found = libc.syscall(250, 10, -3, b"user", b"rootless-test", 0)
print(errno.errorcode[ctypes.get_errno()] if found < 0 else "found")
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
@pytest.mark.parametrize("entering", [False, True])
def test_the_users_keys_are_not_found(rootfs: Path, entering: bool) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert leave_session_keyring()
    if libc.syscall(248, b"user", b"rootless-test", b"secret", 6, -3) < 0:
        pytest.skip("keys cannot be made here")
    mounts = [bind(folder, folder, "rbind", "ro") for folder in PYTHON_FOLDERS]
    cfg = config(rootfs, "/usr/bin/python3", "-I", "-S", "-c", FIND_KEY, mounts=mounts)
    if entering:
        sleeper = config(rootfs, "sleep", "60", mounts=mounts)
        assert launch(sleeper, enters=[{"process": cfg["process"]}]).entered[0]["out"] == "ENOKEY\n"
    else:
        assert launch(cfg).out == "ENOKEY\n"
