"""No lock is held while something slow goes on, and whoever died with a lock has given it back."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.command import Rootless, wait_until
from tests.support.faulty import Faulty, dribble
from tests.support.leaks import assert_nothing_left
from tests.support.pulling import OPEN, faulty, registry, small
from tests.support.registry import Registry

__all__ = ["faulty", "registry"]

NONE = ("--network", "none")
IGNORES = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done")
# What takes a minute or more below. On an idle machine the commands beside it take some hundredths of a second.
AT_ONCE = 8.0

SLOW = {
    "stop": ("stop", "-t", "100", "BUSY"),
    "restart": ("restart", "-t", "100", "BUSY"),
    "rm": ("rm", "-f", "-t", "100", "BUSY"),
    "wait": ("wait", "BUSY"),
    "looks": ("wait", "--condition", "exited", "--condition", "paused", "BUSY"),
    "logs": ("logs", "-f", "BUSY"),
    "attach": ("attach", "--no-stdin", "BUSY"),
    "exec": ("exec", "BUSY", "sleep", "100"),
    "events": ("events",),
    "run": ("run", "--rm", "--name", "long", *NONE, "IMAGE", "sleep", "100"),
    "pull": ("pull", "-q", OPEN, "SLOW"),
}


def others(rl: Rootless, image: str) -> None:
    """Everything that somebody else may want meanwhile, each at once."""
    for words in (
        ("ps", "-a"),
        ("inspect", "busy"),
        ("create", "--name", "other", *NONE, image, "sleep", "100"),
        ("start", "other"),
        ("exec", "other", "true"),
        ("exec", "busy", "true"),
        ("pause", "other"),
        ("unpause", "other"),
        ("rename", "other", "another"),
        ("stop", "-t", "0", "another"),
        ("rm", "another"),
        ("run", "--rm", *NONE, image, "true"),
        ("run", "-d", "--name", "other", *NONE, image, "sleep", "100"),
        ("commit", "-q", "other", "made:1"),
        ("rm", "-f", "-t", "0", "other"),
        ("tag", image, "another:1"),
        ("rmi", "another:1"),
        ("rmi", "made:1"),
        ("container", "prune", "-f"),
        ("image", "prune", "-f"),
        ("volume", "create", "short-locks"),
        ("volume", "rm", "short-locks"),
    ):
        begun = time.monotonic()
        rl(*words)
        assert time.monotonic() - begun < AT_ONCE, words


@pytest.fixture
def slow_image(registry: Registry, faulty: Faulty) -> str:
    """A name whose layer comes a byte at a time."""
    layers = small(1)
    registry.push("slow/app", layers)
    faulty.rule("/blobs/" + layers.layers[0].digest, dribble(faulty, 0.5, 1), times=-1)
    return f"{faulty.host}/slow/app"


def test_nobody_waits_for_what_is_slow(rl: Rootless, image: str, slow_image: str, faulty: Faulty) -> None:
    processes = {}
    rl("run", "-d", "--name", "busy", *NONE, image, *IGNORES)
    rl("run", "-d", "--name", "fails", "--restart", "always", *NONE, image, "false")
    for name, words in SLOW.items():
        if "BUSY" in words:
            rl("run", "-d", "--name", name, *NONE, image, *IGNORES)
            wait_until(lambda name=name: rl.out("logs", name) == "ready")  # type: ignore[misc]
        processes[name] = rl.popen(
            *({"IMAGE": image, "SLOW": slow_image, "BUSY": name}.get(word, word) for word in words)
        )
    for name in ("stop", "restart", "rm"):
        wait_until(lambda name=name: rl.status(name) == "stopping")  # type: ignore[misc]
    wait_until(lambda: any("/blobs/" in request.path for request in faulty.requests), 30)
    wait_until(lambda: rl("inspect", "long", check=False).returncode == 0 and rl.status("long") == "running")
    try:
        others(rl, image)
        begun = time.monotonic()
        rl("rm", "-f", "fails")  # its policy waits for seconds by now
        assert time.monotonic() - begun < AT_ONCE
        ended = [name for name, process in processes.items() if process.poll() is not None]
        assert ended == [], "what is slow is still under way: nobody has waited for it"
    finally:
        for name, process in processes.items():
            process.send_signal(signal.SIGINT if name == "pull" else signal.SIGKILL)  # a killed pull leaves its draft
        for process in processes.values():
            process.communicate()


def locked(place: Path) -> set[str]:
    """The files and directories that somebody has locked."""
    found = set()
    for directory, _, names in os.walk(place):
        for path in (directory, *(f"{directory}/{name}" for name in names)):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:  # a link, a socket, what a container keeps to itself
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.add(path)
            finally:
                os.close(fd)
    return found


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (("run", "--rm", "--name", "dead", *NONE, "IMAGE", "true"), "written"),
        (("run", "--rm", "--name", "dead", *NONE, "IMAGE", "true"), "directory"),
        (("run", "-d", "--name", "dead", *NONE, "IMAGE", "sleep", "100"), "initialized"),
        (("start", "stopped"), "plan-sent"),
        (("stop", "-t", "100", "busy"), "stop-sent"),
        (("rm", "stopped"), "removing"),
        (("rm", "stopped"), "remove-files"),
        (("container", "prune", "-f"), "removing"),
        (("commit", "-q", "--pause", "busy", "dead:1"), "paused"),
        (("rmi", "gone:1"), "garbage-moved"),
        (("image", "prune", "-a", "-f"), "garbage-recorded"),
        (("pull", "-q", OPEN, "QUICK"), "layer-extracted"),
        (("pull", "-q", OPEN, "QUICK"), "layers-recorded"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_the_locks_of_the_dead_are_free(
    fresh: Rootless, busybox: Path, image: str, registry: Registry, words: tuple[str, ...], step: str
) -> None:
    fresh("load", "-q", "-i", str(busybox))
    registry.push("quick/app", small(2))
    quick = f"{registry.host}/quick/app"
    fresh("run", "-d", "--name", "busy", *NONE, image, *IGNORES)
    wait_until(lambda: fresh.out("logs", "busy") == "ready")
    fresh("run", "--name", "stopped", *NONE, image, "true")
    if words[0] in ("rmi", "image"):
        fresh("pull", "-q", OPEN, quick)
        fresh("tag", quick, "gone:1")
        fresh("rmi", quick)
    of_the_living = locked(fresh.place)
    assert len(of_the_living) == 1, "that of the container which runs"
    killed = fresh(
        *({"IMAGE": image, "QUICK": quick}.get(word, word) for word in words),
        env={"ROOTLESS_TEST_DIE_AT": step},
        check=False,
    )
    assert killed.returncode != 0, "it was killed at that step"
    wait_until(lambda: locked(fresh.place) <= of_the_living, what="the end of all that the command had started")
    fresh("ps", "-a")
    fresh("run", "--rm", *NONE, image, "true")
    fresh("container", "prune", "-f")
    fresh("image", "prune", "-f")
    assert fresh("pull", "-q", OPEN, quick).returncode == 0
    fresh("rmi", quick)
    for name in ("dead", "stopped", "busy"):
        fresh("rm", "-f", "-i", "-t", "0", name)
    assert fresh.out("ps", "-aq") == ""
    assert_nothing_left(fresh.place, fresh.root, fresh.runroot)
