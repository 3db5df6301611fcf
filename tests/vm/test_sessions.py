"""A user of a machine with systemd logs in and out, while its clock jumps."""

from __future__ import annotations

import pytest

from tests.support.vm import Machine, words_after

pytestmark = [pytest.mark.vm, pytest.mark.timeout(3600)]


def test_a_clock_that_jumps_and_sessions_that_end_without_lingering(machine: Machine) -> None:
    """As Debian has it, what runs outlives a session; with KillUserProcesses=yes it ends with the session."""
    script = """\
session() { systemd-run --quiet --uid=alice -p PAMName=login --wait --pipe bash -l; }
serve="sh -c \\"trap 'exit 3' TERM; echo ready; while :; do sleep 0.2; done\\""
session <<WORK
cd; PATH=\\$HOME/rootless/bin:\\$PATH
rootless load -q -i busybox.tar > /dev/null
rootless run -d --name c --network none busybox $serve > /dev/null
rootless run -d --name r --network none --restart always busybox $serve > /dev/null
WORK
session <<'WORK'
PATH=$HOME/rootless/bin:$PATH
echo stayed $(rootless ps --format '{{.Names}}={{.State}}')
rootless exec c echo answer
WORK
date -s '+400 days' > /dev/null
session <<'WORK'
PATH=$HOME/rootless/bin:$PATH
echo later $(rootless ps --format '{{.Names}}={{.State}}') $(rootless run --rm --network none busybox echo new)
WORK
date -s '-800 days' > /dev/null
session <<'WORK'
PATH=$HOME/rootless/bin:$PATH
echo earlier $(rootless ps --format '{{.Names}}={{.State}}') $(rootless run --rm --network none busybox echo new)
rootless restart -t 5 c > /dev/null
echo restarted $(rootless ps --format '{{.Names}}={{.State}}')
WORK
mkdir -p /etc/systemd/logind.conf.d
printf '[Login]\\nKillUserProcesses=yes\\n' > /etc/systemd/logind.conf.d/kill.conf
systemctl restart systemd-logind
session <<'WORK'
PATH=$HOME/rootless/bin:$PATH
for name in c r; do
    rootless stop -t 5 $name > /dev/null
    rootless start $name > /dev/null
    until rootless logs --tail 1 $name | grep -q ready; do sleep 0.2; done
done
sleep 1
WORK
while pgrep -u alice -x sh > /dev/null; do sleep 0.2; done
session <<'WORK'
PATH=$HOME/rootless/bin:$PATH
echo ended $(rootless ps -a --format '{{.Names}}={{.State}}')
echo codes $(rootless inspect --format '{{.State.ExitCode}}/{{.RestartCount}}' c r)
rootless start --all --filter restart-policy=always > /dev/null
echo again $(rootless ps --format '{{.Names}}={{.State}}')
rootless rm -fa -t 0 > /dev/null
WORK
"""
    told = machine.run(script, 1800)
    both = ["c=running", "r=running"]
    assert sorted(words_after(told, "stayed")) == both, told
    assert "answer" in told
    for moment in ("later", "earlier"):
        *states, new = words_after(told, moment)
        assert (sorted(states), new) == (both, "new"), told
    assert sorted(words_after(told, "restarted")) == both, told
    assert sorted(words_after(told, "ended")) == ["c=exited", "r=exited"], told
    assert all(word.endswith("/0") for word in words_after(told, "codes")), told
    assert words_after(told, "again") == ["r=running"], told
