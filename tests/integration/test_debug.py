"""`--log-level debug`: the steps of a command, on standard error only."""

from __future__ import annotations

import re

from tests.conftest import need
from tests.support.command import Rootless
from tests.support.layers import make_image, tar_of
from tests.support.pulling import registry
from tests.support.registry import Registry

__all__ = ["registry"]

LINE = re.compile(r"debug \d\d:\d\d:\d\d\.\d{3}: (.*)")


def steps(command: Rootless, *words: str) -> tuple[str, list[str], list[str]]:
    """Standard output, the steps, and what else was on standard error."""
    done = command("--log-level", "debug", *words)
    lines = done.stderr.splitlines()
    found = [match[1] for line in lines if (match := LINE.fullmatch(line))]
    return done.stdout, found, [line for line in lines if not LINE.fullmatch(line)]


def test_a_run_tells_its_helpers_its_mounts_and_its_driver(rl: Rootless, image: str) -> None:
    need("slirp4netns")
    words = ("run", "--rm", "-e", "SECRET=hunter2", "--tmpfs", "/scratch", image, "sh", "-c", "echo out; echo err >&2")
    out, told, others = steps(rl, *words)
    assert (out, others) == ("out\n", ["err"])
    text = "\n".join(told)
    for pattern in (
        r"^store .*db\.sqlite$",
        r"^storage driver: best is \w",
        r"^starting \S*/newuidmap: newuidmap \d+ 0 \d+ 1 ",
        r"^mount tmpfs tmpfs on /scratch ",
        r"^mount proc proc on /proc ",
        r"^starting slirp4netns .* tap0( \(in .*)?$",
        r"^command: \['sh', '-c', 'echo out",
    ):
        assert re.search(pattern, text, re.MULTILINE), (pattern, text)
    assert "hunter2" not in text


def test_an_exec_tells_whom_it_joins(rl: Rootless, image: str) -> None:
    rl("run", "-d", "--name", "c", "--network", "none", image, "sleep", "100")
    out, told, others = steps(rl, "exec", "c", "echo", "here")
    assert (out, others) == ("here\n", [])
    assert any(f"pid {rl.inspect('c')['State']['Pid']};" in line for line in told)


def test_a_pull_tells_its_requests(fresh: Rootless, registry: Registry) -> None:
    image = make_image([tar_of({"etc/motd": b"hello\n"})])
    registry.push("team/debug", image)
    out, told, _ = steps(fresh, "pull", "-q", "--tls-verify=false", f"{registry.host}/team/debug")
    assert out.strip() == image.id
    manifest = f"GET http://{registry.host}/v2/team/debug/manifests/latest: 200 after "
    assert any(line.startswith(manifest) for line in told), told
    assert any(line.startswith("extracting layer ") for line in told)


def test_nothing_is_told_without_it(rl: Rootless, image: str) -> None:
    for level in ("info", "warn", "error"):
        done = rl("--log-level", level, "run", "--rm", "--network", "none", image, "true")
        assert (done.stdout, done.stderr) == ("", "")


def test_warnings_are_told_unless_errors_alone_are_asked_for(rl: Rootless, image: str) -> None:
    words = ("run", "--rm", "-it", "--network", "none", image, "true")
    for level, said in (("warn", True), ("warning", True), ("error", False), ("fatal", False)):
        assert ("Warning: " in rl("--log-level", level, *words).stderr) is said, level
    assert rl("--log-level", "trace", "ps").returncode == 0
    assert "Error: " in rl("--log-level", "panic", "rm", "nobody", check=False).stderr
