"""Other hosts than this one: the same user on a machine whose root set it up differently.

A user namespace keeps us who we are and gives "root" (our first subordinate id) a mount namespace of its own, in which
/etc/subuid, newuidmap and the rest can be replaced for real. A command then runs there as us.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rootless.kernel.idmaps import UserMap, default_user_map, find_program
from rootless.kernel.mounts import MS_BIND, MS_REC, mount
from rootless.kernel.userns import UserNamespace
from tests.support.command import Rootless, executable

TOOLS = ("newuidmap", "newgidmap")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "fuse", "net/tun")
# In that namespace there are no ids beyond 65536.
ENTRY = f"{os.getuid()}:2000:60000\n"


def keep_us() -> UserMap:
    """A map in which we are ourselves and root is a subordinate id of ours."""
    base = default_user_map()
    if base.single:
        pytest.skip(f"needs subordinate ids: {base.reason}")
    maps = []
    for us, (_, start, count) in ((os.getuid(), base.uids[1]), (os.getgid(), base.gids[1])):
        if count <= us + 1:
            pytest.skip("needs more subordinate ids than the number of our own")
        maps.append([(0, start, us), (us, us, 1), (us + 1, start + us, count - us)])
    return UserMap(maps[0], maps[1])


def run_on_host(
    command: list[str],
    place: Path,
    *,
    files: Mapping[str, str | None] | None = None,
    tools: Callable[[Path], None] | None = None,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> tuple[int, str, str]:
    """Run a command as us on a machine where `files` have other contents (None: an empty one) and `tools` did what it
    likes to copies of newuidmap and newgidmap, set-user-ID root at first. `prepare` is called as that machine's root.
    Returns exit code, standard output and standard error. `place` is an empty directory for the replacements.
    """
    tmpfs = place / "host"
    tmpfs.mkdir()
    us = (os.getuid(), os.getgid())
    paths = [find_program(tool) for tool in TOOLS]

    def inside() -> tuple[int, str, str]:
        mount("tmpfs", str(tmpfs), "tmpfs", 0, "mode=755")
        for path in paths:
            assert path is not None
            copy = tmpfs / os.path.basename(path)
            shutil.copy(path, copy)
            copy.chmod(0o4755)
        if tools is not None:
            tools(tmpfs)
        for path in paths:
            assert path is not None
            mount(str(tmpfs / os.path.basename(path)), path, None, MS_BIND)
        for number, (name, content) in enumerate((files or {}).items()):
            replacement = tmpfs / str(number)
            replacement.write_text(content or "")
            mount(str(replacement), name, None, MS_BIND)
        if prepare is not None:
            prepare()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=60,
            env={**os.environ, **(environment or {})},
            user=us[0],
            group=us[1],
            extra_groups=[],
        )
        return done.returncode, done.stdout, done.stderr

    namespace = UserNamespace.create(keep_us())
    try:
        return namespace.run(inside, mount_ns=True)
    finally:
        namespace.close()


class OddHost:
    """The command `rl` on a host that is set up in another way: see `run_on_host`. Each call is a boot of that host."""

    def __init__(
        self,
        rl: Rootless,
        place: Path,
        *,
        subids: str = ENTRY,
        tools: Callable[[Path], None] | None = None,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self.rl = rl
        self.environment = dict(rl.environment)
        self._place = place
        self._files = {"/etc/subuid": subids, "/etc/subgid": subids}
        self._tools = tools
        self._prepare = prepare
        self._boots = 0

    def __call__(self, *args: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error of the command."""
        return self.execute([executable(), *args])

    def script(self, text: str) -> tuple[int, str, str]:
        """The same of a shell script, in which the command is `rootless`."""
        path = f"{os.path.dirname(executable())}:{self.environment['PATH']}"
        return self.execute(["sh", "-c", text], PATH=path)

    def execute(self, command: list[str], **more: str) -> tuple[int, str, str]:
        self._boots += 1
        place = self._place / f"boot{self._boots}"
        place.mkdir(parents=True)
        return run_on_host(
            command,
            place,
            files=self._files,
            tools=self._tools,
            environment={**self.environment, **more},
            prepare=self._prepare,
        )


def hide_devices(place: Path, *names: str) -> Callable[[], None]:
    """What gives a host a /dev without these; `place` is where the new one is put together."""

    def prepare() -> None:
        new = place / "dev"
        new.mkdir(exist_ok=True)
        mount("tmpfs", str(new), "tmpfs", 0, "mode=755")
        for name in DEVICES:
            if name in names or not os.path.exists("/dev/" + name):
                continue
            target = new / name
            target.parent.mkdir(exist_ok=True)
            target.touch()
            mount("/dev/" + name, str(target), None, MS_BIND)
        for name in ("shm", "pts"):
            (new / name).mkdir()
            mount("/dev/" + name, str(new / name), None, MS_BIND | MS_REC)
        (new / "ptmx").symlink_to("pts/ptmx")
        mount(str(new), "/dev", None, MS_BIND | MS_REC)

    return prepare
