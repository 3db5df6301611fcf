"""Options that say what the process of a container finds, seen from inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.command import Rootless
from tests.support.images import busybox_layer, docker_archive

NONE = ("--network", "none")


def run(
    rl: Rootless, image: str, options: tuple[str, ...], script: str, env: dict[str, str] | None = None
) -> list[str]:
    done = rl("run", "--rm", *NONE, *options, image, "sh", "-c", script, env=env)
    return done.stdout.splitlines()


# Environment


def test_proxy_variables_are_passed_on_unless_refused(rl: Rootless, image: str) -> None:
    env = {"https_proxy": "http://proxy:1", "NO_PROXY": "local", "OTHER": "x"}
    script = 'echo "$https_proxy $NO_PROXY $OTHER"'
    assert run(rl, image, (), script, env) == ["http://proxy:1 local "]
    assert run(rl, image, ("--http-proxy=false",), script, env) == ["  "]
    assert run(rl, image, ("-e", "https_proxy=mine"), script, env) == ["mine local "]


def test_the_hosts_environment_and_what_is_taken_away(rl: Rootless, image: str) -> None:
    env = {"MINE": "host", "PATH": os.environ["PATH"]}
    assert run(rl, image, ("--env-host", "-e", "MORE=1"), 'echo "$MINE $MORE"', env) == ["host 1"]
    assert run(rl, image, (), 'echo "$MINE"', env) == [""]
    assert run(rl, image, ("--unsetenv", "container"), 'echo "$container"') == [""]
    assert run(
        rl, image, ("--unsetenv-all", "-e", "A=1"), "env | sort | grep -v -e HOSTNAME -e PATH -e PWD -e SHLVL -e HOME"
    ) == ["A=1"]
    assert run(
        rl,
        image,
        (
            "--env-merge",
            "PATH=${PATH}:/more",
        ),
        'echo "$PATH"',
    )[0].endswith("/bin:/more")


def test_labels_and_annotations(rl: Rootless, image: str, tmp_path: Path) -> None:
    lines = tmp_path / "labels"
    lines.write_text("# these\na=1\nb=from=file\n\n")
    rl("create", "--name", "c", "--label-file", str(lines), "-l", "a=2", "--annotation", "x.y=z", image, "true")
    found = rl.inspect("c")
    assert found["Config"]["Labels"] == {"a": "2", "b": "from=file"}
    assert found["Config"]["Annotations"]["x.y"] == "z"
    rl("rm", "c")


# Users and groups


def test_every_way_to_name_a_user(rl: Rootless, image: str) -> None:
    def ids(user: str, *more: str) -> str:
        return " ".join(run(rl, image, ("--user", user, *more), "echo $(id -u) $(id -g) $(id -G)"))

    assert ids("alice") == ids("1000") == "1000 1000 1000 10"
    assert ids("alice:root") == "1000 0 0"
    assert ids("1000:1") == "1000 1 1"
    assert ids("4711") == "4711 0 0"
    assert ids("4711:4712") == "4711 4712 4712"
    assert ids("alice:alice", "--group-add", "root,99") == "1000 1000 1000 0 99"
    assert ids("0:alice") == "0 1000 1000"


def test_a_user_given_by_number_has_an_entry(rl: Rootless, image: str) -> None:
    script = "grep ^4711 /etc/passwd; grep :4712: /etc/group; whoami"
    options = ("--user", "4711:4712", "-w", "/tmp")
    assert run(rl, image, options, script) == [
        "4711:*:4711:4712:container user:/tmp:/bin/sh",
        "4712:x:4712:4711",
        "4711",
    ]
    entries = ("--passwd-entry", "me:x:$UID:$GID:Me:/srv:/bin/sh", "--group-entry", "us:x:$GID:")
    assert run(rl, image, (*options, *entries), "id; echo $HOME") == [
        "uid=4711(me) gid=4712(us) groups=4712(us)",
        "/srv",
    ]
    assert run(rl, image, (*options, "--passwd=false"), "grep -c 4711 /etc/passwd /etc/group; true") == [
        "/etc/passwd:0",
        "/etc/group:0",
    ]


def test_the_entry_is_made_once_and_not_in_files_of_the_host(rl: Rootless, image: str, tmp_path: Path) -> None:
    rl("run", "--name", "c", *NONE, "--user", "4711", "--read-only", image, "grep", "-c", "4711", "/etc/passwd")
    assert rl.out("start", "-a", "c").strip() == "1"
    rl("rm", "c")
    passwd = tmp_path / "passwd"
    passwd.write_text("root:x:0:0::/:/bin/sh\n")
    run(rl, image, ("--user", "4711", "-v", f"{passwd}:/etc/passwd"), "true")
    assert passwd.read_text() == "root:x:0:0::/:/bin/sh\n"


def test_a_user_of_the_host(rl: Rootless, image: str) -> None:
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    assert run(rl, image, ("--hostuser", name), f"id -u {name}") == [str(os.getuid())]
    assert "no-such-user" in rl("create", "--hostuser", "no-such-user", image, check=False).stderr


def test_groups_by_name_hold_for_exec_too(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", *NONE, "--group-add", "alice,77", image, "sleep", "60")
    assert rl.out("exec", "c", "id", "-G").split() == ["0", "77", "1000"]
    rl("rm", "-f", "-t", "0", "c")
    done = rl("run", "--rm", *NONE, "--group-add", "no-such-group", image, "true", check=False)
    assert done.returncode == 125
    assert "no-such-group" in done.stderr


def test_kept_groups(rl: Rootless, image: str) -> None:
    """One is in one's own primary group too, which is root's of the container."""
    script = "grep ^Groups: /proc/self/status | wc -w"
    assert run(rl, image, ("--group-add", "keep-groups"), script) == [str(1 + len(os.getgroups()))]
    done = rl("create", "--group-add", "keep-groups", "--group-add", "5", image, check=False)
    assert done.returncode == 125


# Kernel


def test_time_zone_umask_persona_and_oom_score(rl: Rootless, image: str) -> None:
    options = ("--umask", "0077", "--personality", "LINUX32", "--oom-score-adj", "900")
    script = "umask; uname -m; cat /proc/self/oom_score_adj"
    assert run(rl, image, options, script) == ["0077", "i686" if os.uname().machine == "x86_64" else "armv8l", "900"]
    rl("run", "-d", "--name", "c", *NONE, "--umask", "0027", image, "sleep", "60")
    assert rl.out("exec", "c", "sh", "-c", "umask").strip() == "0027"
    assert rl.inspect("c")["Config"]["Umask"] == "0027"
    rl("rm", "-f", "-t", "0", "c")


@pytest.mark.skipif(not os.path.exists("/usr/share/zoneinfo/Asia/Tokyo"), reason="needs tzdata")
def test_time_zones(rl: Rootless, image: str) -> None:
    assert run(rl, image, ("--tz", "Asia/Tokyo"), "date +%Z") == ["JST"]
    assert "Nowhere/Land" in rl("create", "--tz", "Nowhere/Land", image, check=False).stderr
    assert rl("create", "--tz", "../../../etc/passwd", image, check=False).returncode == 125
    if os.path.exists("/etc/localtime"):
        size = os.stat("/etc/localtime").st_size
        assert run(rl, image, ("--tz", "local"), "stat -L -c %s /etc/localtime") == [str(size)]


def test_namespaces_of_the_host(rl: Rootless, image: str) -> None:
    script = "for kind in ipc uts cgroup pid; do readlink /proc/self/ns/$kind; done"
    shared = run(rl, image, ("--ipc", "host", "--uts", "host", "--cgroupns", "host"), script)
    mine = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts", "cgroup", "pid")]
    assert shared[:3] == mine[:3]
    assert shared[3] != mine[3]
    assert not set(run(rl, image, ("--ipc", "shareable", "--uts", "private", "--cgroupns", "private"), script)) & set(
        mine
    )
    assert run(rl, image, ("--uts", "host"), "hostname; echo $HOSTNAME") == [os.uname().nodename] * 2


def test_shared_memory_of_the_host_or_none(rl: Rootless, image: str) -> None:
    place = Path(f"/dev/shm/rootless-test-{os.getpid()}")
    place.write_text("seen")
    try:
        assert run(rl, image, ("--ipc", "host"), f"cat {place}") == ["seen"]
        assert run(rl, image, (), f"test -e {place} || echo no") == ["no"]
    finally:
        place.unlink()
    assert run(rl, image, ("--ipc", "none"), "grep -c ' /dev/shm ' /proc/self/mountinfo; true") == ["0"]


def test_a_shared_namespace_is_shared_at_the_next_start_and_by_exec(rl: Rootless, image: str) -> None:
    rl("create", "--name", "c", *NONE, "--uts", "host", "--ipc", "host", image, "sleep", "60")
    rl("start", "c")
    mine = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("ipc", "uts")]
    script = "readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts"
    assert rl.out("exec", "c", "sh", "-c", script).split() == mine
    rl("rm", "-f", "-t", "0", "c")


def test_kernel_settings_and_domain_name(rl: Rootless, image: str) -> None:
    options = (
        "--sysctl",
        "net.ipv4.ip_default_ttl=33",
        "--sysctl",
        "kernel.msgmax=9000",
        "--domainname",
        "example.org",
    )
    script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax /proc/sys/kernel/domainname"
    assert run(rl, image, options, script) == ["33", "9000", "example.org"]


def test_options_of_proc_and_paths_that_docker_calls_system_paths(rl: Rootless, image: str) -> None:
    hidden = ("--security-opt", "proc-opts=hidepid=invisible")
    (line,) = run(rl, image, hidden, "grep ' /proc ' /proc/self/mountinfo")
    assert "hidepid=" in line
    open_paths = ("--security-opt", "systempaths=unconfined")
    assert run(rl, image, open_paths, "grep -c ' /proc/timer_list ' /proc/self/mountinfo; true") == ["0"]


def test_devices(rl: Rootless, image: str) -> None:
    assert run(rl, image, ("--device", "/dev/null:/dev/nothing"), "echo x > /dev/nothing; stat -c %F /dev/nothing") == [
        "character special file"
    ]
    read_only = ("--device", "/dev/zero:/dev/nulls:r")
    assert (
        run(rl, image, read_only, "head -c 3 /dev/nulls | wc -c; (echo > /dev/nulls) 2>&1 | grep -o 'Read-only'; true")[
            0
        ]
        == "3"
    )
    for wrong in ("/etc/passwd", "/dev/no-such-device", "/dev/null:relative", "null", "/dev/null:/a:/b"):
        done = rl("create", "--device", wrong, image, check=False)
        assert done.returncode == 125, wrong
        assert wrong in done.stderr


def test_limits_of_the_caller(rl: Rootless, image: str) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert run(rl, image, ("--ulimit", "host"), "ulimit -Sn; ulimit -Hn") == [str(soft), str(hard)]


# Files of the engine


def test_containers_can_tell_that_they_are_one(rl: Rootless, image: str) -> None:
    assert run(rl, image, (), "stat -c %s /run/.containerenv") == ["0"]
    told = run(rl, image, ("--privileged", "--name", "told"), "cat /run/.containerenv")
    assert 'engine="rootless"' in told
    assert 'name="told"' in told


def test_host_names(rl: Rootless, image: str, tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("192.0.2.7 somewhere\n")
    script = "grep -c somewhere /etc/hosts; true"
    assert run(rl, image, ("--hosts-file", str(names)), script) == ["1"]
    assert run(rl, image, ("--hosts-file", "none"), script) == ["0"]
    assert run(rl, image, ("--no-hostname",), "grep -c ' /etc/hostname ' /proc/self/mountinfo; true") == ["0"]
    assert rl("create", "--no-hosts", "--add-host", "a:192.0.2.1", image, check=False).returncode == 125


def test_an_init_of_ones_own(rl: Rootless, image: str) -> None:
    done = rl("create", "--init-path", "/no/such/init", image, check=False)
    assert done.returncode == 125
    assert "/no/such/init" in done.stderr


# What the image says


@pytest.fixture
def configured(rl: Rootless, tmp_path: Path) -> str:
    name = "docker.io/library/configured:1"
    config: dict[str, object] = {
        "Env": ["FROM_IMAGE=yes"],
        "User": "alice",
        "WorkingDir": "/srv",
        "Volumes": {"/kept": {}},
        "StopSignal": "SIGUSR1",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}},
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo from-cmd"],
        "Labels": {"of": "image"},
    }
    archive = docker_archive(tmp_path / "configured.tar", [busybox_layer()], names=[name], config=config)
    rl("load", "-q", "-i", str(archive))
    return name


def test_what_the_image_says_is_honoured(rl: Rootless, configured: str) -> None:
    assert rl.out("run", "--rm", *NONE, configured).strip() == "from-cmd"
    script = "echo $FROM_IMAGE $(id -un) $(pwd); grep -c ' /kept ' /proc/self/mountinfo"
    assert rl.out("run", "--rm", *NONE, configured, script).splitlines() == ["yes alice /srv", "1"]
    assert rl.out("run", "--rm", *NONE, "--entrypoint", '["echo", "json"]', configured, "x").strip() == "json x"
    rl("create", "--name", "c", "--expose", "99", configured)
    found = rl.inspect("c")["Config"]
    assert found["StopSignal"] == "SIGUSR1"
    assert set(found["ExposedPorts"]) == {"8080/tcp", "53/udp", "99/tcp"}
    assert found["Labels"] == {"of": "image"}
    rl("rm", "c")


def test_all_exposed_ports_are_published(rl: Rootless, configured: str) -> None:
    rl("create", "--name", "c", "-P", "--expose", "99", "-p", "127.0.0.1::8080", configured)
    found = rl.inspect("c")["HostConfig"]
    assert found["PublishAllPorts"] is True
    assert set(found["PortBindings"]) == {"8080/tcp", "53/udp", "99/tcp"}
    assert all(len(bound) == 1 and int(bound[0]["HostPort"]) > 0 for bound in found["PortBindings"].values())
    rl("rm", "c")
