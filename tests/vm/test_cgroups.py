"""Control groups of a real systemd: limits from a login session, in a slice, refused without it."""

from __future__ import annotations

import json

import pytest

from tests.support.vm import Machine

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

AS_ALICE = """\
loginctl enable-linger alice
until [ -S /run/user/1000/bus ]; do sleep 0.2; done
cat > /tmp/work <<'WORK'
export XDG_RUNTIME_DIR=/run/user/1000 PATH=$HOME/rootless/bin:$PATH
cd
{work}
WORK
runuser -l alice -c 'bash /tmp/work'
"""
# Each part prints `key value`.
FROM_A_SESSION = """\
show() {{ echo "$1" $(cat "/sys/fs/cgroup$(rootless inspect c --format '{{{{.State.CgroupPath}}}}')/$2"); }}
rootless load -q -i busybox.tar > /dev/null
rootless run -d --name plain --network none busybox sleep 1000 > /dev/null
echo plain "$(rootless inspect plain --format '{{{{.State.CgroupPath}}}}|{{{{.HostConfig.CgroupManager}}}}')"
rootless rm -f -t 0 plain > /dev/null
limits="-m 64m --memory-reservation 32m --pids-limit 50 --cpus 0.5"
rootless run -d --name c --network none $limits busybox sleep 1000 > /dev/null
echo group "$(rootless inspect c --format '{{{{.State.CgroupPath}}}}|{{{{.HostConfig.CgroupManager}}}}')"
show memory memory.max
show low memory.low
show swap memory.swap.max
show pids pids.max
show cpu cpu.max
echo inside $(rootless exec c cat /sys/fs/cgroup/memory.max /proc/self/cgroup)
rootless update -m 80m --pids-limit 60 c > /dev/null
show updated memory.max
show updated-pids pids.max
rootless pause c > /dev/null
show frozen cgroup.freeze
rootless unpause c > /dev/null
rootless stats --no-stream --format json c > stats
echo stats $(cat stats)
rootless rm -f -t 0 c > /dev/null
limits="-m 20m --memory-swap 20m --network none"
rootless run --name oom $limits busybox sh -c 'head -c 60000000 /dev/zero | tail' > /dev/null 2>&1
echo oom "$(rootless inspect oom --format '{{{{.State.OOMKilled}}}}')"
rootless run --name oom2 $limits busybox tail /dev/zero > /dev/null 2>&1
echo oom2 $? "$(rootless inspect oom2 --format '{{{{.State.OOMKilled}}}} {{{{.State.ExitCode}}}}')"
rootless rm oom oom2 > /dev/null
rootless run --rm --network none --cgroup-parent made.slice busybox cat /proc/self/cgroup > /dev/null; echo slice $?
rootless run -d --name c --network none --cgroup-parent made.slice busybox sleep 1000 > /dev/null
echo parent "$(rootless inspect c --format '{{{{.State.CgroupPath}}}}')"
rootless rm -f -t 0 c > /dev/null
sleep 1
units=$(systemctl --user list-units --all --plain --no-legend 'rootless-*' | wc -l)
echo left $units $(find /sys/fs/cgroup -name 'rootless-*' | wc -l)
"""
WITHOUT = """\
rm -f /run/user/1000/bus
systemctl stop user@1000.service
echo refused $(runuser -u alice -- env PATH=/home/alice/rootless/bin:$PATH HOME=/home/alice XDG_RUNTIME_DIR=/tmp/x \
    rootless run --rm --network none -m 64m busybox true 2>&1)
echo runs $(runuser -u alice -- env PATH=/home/alice/rootless/bin:$PATH HOME=/home/alice XDG_RUNTIME_DIR=/tmp/x \
    rootless run --rm --network none busybox echo yes 2>&1)
"""


def told_by(output: str) -> dict[str, str]:
    return dict(line.partition(" ")[::2] for line in output.splitlines())


def test_limits_from_a_login_session(machine: Machine) -> None:
    told = told_by(machine.run(AS_ALICE.format(work=FROM_A_SESSION.format()) + "\n" + WITHOUT, 900))
    assert told["plain"] == "|none"
    path, _, manager = told["group"].partition("|")
    assert manager == "systemd"
    assert path.startswith("/user.slice/user-1000.slice/user@1000.service/")
    assert path.endswith(".scope/container")
    assert told["memory"] == str(64 << 20)
    assert told["low"] == str(32 << 20)
    assert told["swap"] == str(64 << 20)
    assert told["pids"] == "50"
    assert told["cpu"] == "50000 100000"
    assert told["inside"] == f"{64 << 20} 0::/"
    assert (told["updated"], told["updated-pids"]) == (str(80 << 20), "60")
    assert told["frozen"] == "1"
    (stats,) = json.loads(told["stats"])
    assert stats["mem_usage"].endswith("83.89MB")
    assert stats["cpu_pressure"].startswith("some ")
    assert told["oom"] == "true"
    assert told["oom2"] == "137 true 137"
    assert told["slice"] == "0"
    assert "/made.slice/rootless-" in told["parent"]
    assert told["left"] == "0 0"
    assert "rootless doctor" in told["refused"]
    assert told["runs"] == "yes"
