"""What a container takes over from the files of its host."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless.kernel.mounts import MS_BIND, mount
from tests.support.command import Rootless
from tests.support.hosts import OddHost

HOSTS = "127.0.0.1 localhost\n192.0.2.50 intranet.example intranet\n192.0.2.51 web\n"


@pytest.mark.parametrize("network", ["none", "host", "slirp4netns"])
def test_names_of_the_hosts_file_are_known_in_the_container(
    rl: Rootless, image: str, tmp_path: Path, network: str
) -> None:
    file = tmp_path / "hosts"
    file.write_text(HOSTS)
    host = OddHost(rl, tmp_path, prepare=lambda: mount(str(file), "/etc/hosts", None, MS_BIND))
    code, out, err = host("run", "--rm", "--network", network, "--hostname", "web", image, "cat", "/etc/hosts")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines()]
    assert ["192.0.2.50", "intranet.example", "intranet"] in lines
    assert (["192.0.2.51", "web"] in lines) == (network == "host"), "elsewhere it is the container's own name"
    assert [line[0] for line in lines if "localhost" in line] == ["127.0.0.1", "::1"]
