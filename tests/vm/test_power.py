"""A machine that loses its power, or is started anew: the store opens, and says what is true."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.support.vm import Machine, words_after

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]

AS_ALICE = """\
loginctl enable-linger alice
until [ -S /run/user/1000/bus ]; do sleep 0.2; done
cat > /tmp/work <<'WORK'
export XDG_RUNTIME_DIR=/run/user/1000 PATH=$HOME/rootless/bin:$PATH
cd
{work}
WORK
"""
RUN = "runuser -l alice -c 'bash /tmp/work'\n"
# Each line that is printed says what has been promised before the power went.
LOAD = """\
./docker-registry serve registry.yml > registry.log 2>&1 &
rootless load -q -i busybox.tar > /dev/null && echo image docker.io/library/busybox:latest
while rootless run --rm --network none busybox sh -c "head -c 9000000 /dev/urandom > /data"; do sleep 2; done &
for n in $(seq 1000); do
    rootless run --name c$n --network none busybox sh -c "head -c 1000000 /dev/urandom > /data; echo $n > /n"
    rootless commit -q c$n made:$n > /dev/null && echo image docker.io/library/made:$n
    rootless rm c$n > /dev/null
    rootless volume create v$n > /dev/null && echo volume v$n
    [ $((n % 2)) = 0 ] || continue
    rootless tag made:$n kept:$n && echo image docker.io/library/kept:$n
    rootless run -d --name d$n --network none -v v$n:/v kept:$n sleep 1000 > /dev/null
    rootless push -q --tls-verify=false made:$((n - 1)) 127.0.0.1:5000/made:$((n - 1))
    echo leaving docker.io/library/made:$((n - 1))
    rootless rmi made:$((n - 1)) > /dev/null
    rootless pull -q --tls-verify=false 127.0.0.1:5000/made:$((n - 1)) > /dev/null &&
        echo image 127.0.0.1:5000/made:$((n - 1))
done
"""
LOOK = """\
echo images $(rootless images --format '{{.Repository}}:{{.Tag}}')
echo volumes $(rootless volume ls -q)
echo containers $(rootless ps -a --format '{{.Names}}={{.State}}')
rootless system check > check; echo check $?; cat check
for n in $(rootless ps -aq); do rootless inspect $n > /dev/null || echo not inspected $n; done
for n in $(rootless images --format '{{.Repository}}:{{.Tag}}' | grep -v /busybox:); do
    rootless run --rm --network none $n cat /n /data > data
    [ $(head -n 1 data) = ${n##*:} ] && [ $(wc -c < data) -gt 1000000 ] || echo broken $n
done
rootless rm -fa > /dev/null
echo left $(rootless ps -aq)
rootless load -q -i busybox.tar > /dev/null
rootless run --rm --name c1 --network none -v v1:/v busybox echo it runs
rootless system check --repair > check; echo repaired $?; cat check
rootless rmi -fa > /dev/null
rootless volume prune -f > /dev/null
echo layers $(cd ~/.local/share/rootless; find layers blobs/sha256 tmp volumes -mindepth 1 -maxdepth 1 ! -name reserve)
"""
LOOK_AT_EACH = f"""\
echo disk 0; {RUN}
n=0
for disk in /dev/vd[b-z]; do
    mount $disk /mnt
    mount --bind /mnt/home/alice /home/alice
    n=$((n + 1)); echo disk $n; {RUN}
    umount /home/alice /mnt
done
"""


def promised(told: str) -> tuple[set[str], set[str]]:
    """Images and volumes that had been reported, but those whose removal had begun."""
    lines = [line.split() for line in told.splitlines()]
    said = {verb: {words[1] for words in lines if words[0] == verb} for verb in ("image", "volume", "leaving")}
    return said["image"] - said["leaving"], said["volume"]


def test_what_was_reported_before_a_power_cut_is_there_after_it(machine: Machine, tmp_path: Path) -> None:
    chance = random.Random()
    lines = chance.randint(10, 16)
    cut = machine.cut(AS_ALICE.format(work=LOAD) + RUN, lambda told: told.count("\n") >= lines, 1200)
    disks = [tmp_path / f"cut-{n}.img" for n in range(3)]
    before = [cut.moment(n / len(disks) + chance.random() / len(disks), chance, disk) for n, disk in enumerate(disks)]
    machine.disk = disks[0]
    after = machine.run(AS_ALICE.format(work=LOOK) + LOOK_AT_EACH, 1800, disks[1:])
    sections = after.split("disk ")[1:]
    assert len(sections) == len(disks), after
    leaving = {line.partition(" ")[2] for line in cut.told.splitlines() if line.startswith("leaving")}
    for had, found in zip(before, sections, strict=True):
        case = f"before:\n{had}\nafter:\n{found}\nall:\n{cut.told}"
        images, volumes = promised(had)
        assert images - leaving <= set(words_after(found, "images")), case
        assert volumes <= set(words_after(found, "volumes")), case
        # Those that were being made may lack their config.json: writing it waits for no disk.
        damaged = {line.split()[2] for line in found.splitlines() if line.startswith("DAMAGE   container")}
        assert found.count("DAMAGE") == len(damaged) <= 3, case
        assert f"check {int(bool(damaged))}" in found, case
        assert "repaired 0" in found, case
        assert "broken" not in found, case
        assert "not inspected" not in found, case
        assert "it runs" in found, case
        assert all(state.endswith(("=created", "=exited")) for state in words_after(found, "containers")), case
        assert "left\n" in found, case
        assert "layers\n" in found, case


def test_containers_of_the_boot_before_are_known_to_have_ended(machine: Machine, tmp_path: Path) -> None:
    start = """\
rootless load -q -i busybox.tar
rootless run -d --name c --network none busybox sleep 100000
rootless run -d --name r --restart always --network none busybox sleep 100000
rootless run -d --rm --name gone --network none busybox sleep 100000
sync
echo running $(rootless ps -q | wc -l)
sleep 1000
"""
    cut = machine.cut(AS_ALICE.format(work=start) + RUN, lambda told: "running 3" in told, 900)
    disk = tmp_path / "cut.img"
    cut.moment(1, random.Random(), disk)
    machine.disk = disk
    look = """\
echo states $(rootless ps -a --format '{{.Names}}={{.State}}')
rootless inspect c --format '{{json .State}}' > state; echo state "$(cat state)"
rootless start --all --filter restart-policy=always
echo again $(rootless ps --format '{{.Names}}')
rootless rm -f -t 0 c r
"""
    after = machine.run(AS_ALICE.format(work=look) + RUN, 900)
    assert sorted(words_after(after, "states")) == ["c=exited", "r=exited"]
    state = json.loads(next(line for line in after.splitlines() if line.startswith("state ")).partition(" ")[2])
    assert (state["Status"], state["Pid"]) == ("exited", 0)
    assert words_after(after, "again") == ["r"]
