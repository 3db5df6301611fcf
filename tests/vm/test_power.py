"""A machine that loses its power, or is started anew: the store opens, and says what is true."""

from __future__ import annotations

import json
import random

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
# Each line that is printed says what has been promised before the power went.
LOAD = """\
rootless load -q -i busybox.tar > /dev/null && echo loaded docker.io/library/busybox:latest
for n in $(seq 1000); do
    rootless run --name c$n --network none busybox sh -c "head -c 3000000 /dev/urandom > /data; echo $n > /n"
    rootless commit -q c$n made:$n > /dev/null && echo made docker.io/library/made:$n
    rootless rm c$n > /dev/null && echo removed c$n
    rootless volume create v$n > /dev/null && echo volume v$n
    [ $((n % 3)) != 0 ] || rootless rmi made:$n > /dev/null && echo gone docker.io/library/made:$n
done
"""
LOOK = """\
echo images $(rootless images --format '{{.Repository}}:{{.Tag}}')
echo containers $(rootless ps -a --format '{{.Names}}={{.State}}')
rootless system check > check; echo check $?; cat check
rootless run --rm --network none busybox echo it runs
for n in $(rootless images --format '{{.Tag}}' --filter reference=made); do
    rootless run --rm --network none made:$n cat /n /data > data
    [ $(head -n 1 data) = $n ] && [ $(wc -c < data) -gt 3000000 ] || echo broken made:$n
done
rootless rm -fa > /dev/null
rootless system check --repair > check; echo repaired $?
ls ~/.local/share/rootless/tmp | wc -l
"""


def words_after(told: str, first: str) -> list[str]:
    return next((line.split()[1:] for line in told.splitlines() if line.split()[:1] == [first]), [])


@pytest.mark.parametrize("seed", range(2))
def test_what_was_reported_before_a_power_cut_is_there_after_it(machine: Machine, seed: int) -> None:
    lines = random.Random(seed).randint(6, 30)
    before = machine.cut(AS_ALICE.format(work=LOAD), lambda told: told.count("\n") >= lines, 600)
    promised: set[str] = set()
    for line in before.splitlines():
        verb, _, what = line.partition(" ")
        if verb in ("loaded", "made"):
            promised.add(what)
        elif verb == "gone":
            promised.discard(what)
    after = machine.run(AS_ALICE.format(work=LOOK), 600)
    assert promised <= set(words_after(after, "images")), (before, after)
    assert "check 0" in after, after
    assert "it runs" in after
    assert "broken" not in after, after
    assert "repaired 0" in after
    assert all(state.endswith(("=created", "=exited")) for state in words_after(after, "containers")), after


def test_containers_of_the_boot_before_are_known_to_have_ended(machine: Machine) -> None:
    start = """\
rootless load -q -i busybox.tar
rootless run -d --name c --network none busybox sleep 100000
rootless run -d --name r --restart always --network none busybox sleep 100000
rootless run -d --rm --name gone --network none busybox sleep 100000
sync
echo running $(rootless ps -q | wc -l)
sleep 1000
"""
    machine.cut(AS_ALICE.format(work=start), lambda told: "running 3" in told)
    look = """\
echo states $(rootless ps -a --format '{{.Names}}={{.State}}')
rootless inspect c --format '{{json .State}}' > state; echo state "$(cat state)"
rootless start --all --filter restart-policy=always
echo again $(rootless ps --format '{{.Names}}')
rootless rm -f -t 0 c r
"""
    after = machine.run(AS_ALICE.format(work=look))
    assert sorted(words_after(after, "states")) == ["c=exited", "r=exited"]
    state = json.loads(next(line for line in after.splitlines() if line.startswith("state ")).partition(" ")[2])
    assert (state["Status"], state["Pid"]) == ("exited", 0)
    assert words_after(after, "again") == ["r"]
