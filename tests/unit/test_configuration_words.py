"""Words of options that configure a container: what they mean, and which are refused."""

from __future__ import annotations

import pytest

from rootless.engine.request import CreateRequest
from rootless.engine.spec.environment import expand, shape
from rootless.engine.spec.particulars import parse_umask, split_device, sysctls
from rootless.engine.spec.secrets import mounts, parse_use
from rootless.engine.spec.ulimits import rlimits
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("plain", "plain"),
        ("$A", "one"),
        ("${A}b", "oneb"),
        ("$Ab", ""),
        ("${NONE:-else}", "else"),
        ("${A:-else}", "one"),
        ("${A:+then}", "then"),
        ("${NONE:+then}", ""),
        (r"\$A", "$A"),
        ("a$", "a$"),
        ("$$A", "$one"),
    ],
)
def test_values_are_put_in(text: str, result: str) -> None:
    assert expand(text, {"A": "one"}, "--env-merge") == result


@pytest.mark.parametrize("text", ["${A", "${A:?x}"])
def test_what_is_no_substitution(text: str) -> None:
    with pytest.raises(UsageError):
        expand(text, {}, "--env-merge")


def test_merging_comes_before_taking_away() -> None:
    values = {"A": "1", "B": "2"}
    shape(CreateRequest(env_merge=["A=${A}0", "C=$B"], unsetenv=["B", "NONE"]), values)
    assert values == {"A": "10", "C": "2"}
    shape(CreateRequest(unsetenv_all=True), values)
    assert values == {}


def test_words_about_a_secret() -> None:
    use = parse_use("source=word,type=mount,target=/x,uid=1,gid=2,mode=0440")
    assert (use.name, use.kind, use.target, use.uid, use.gid, use.mode) == ("word", "mount", "/x", 1, 2, 0o440)
    use = parse_use("word,type=env")
    assert (use.kind, use.target) == ("env", "word")


def test_secrets_below_run_secrets_are_one_mount() -> None:
    found = mounts("/c", ["a", "b,target=in/b", "c,target=/etc/c", "d,type=env", "e,target=/run/secrets/e"])
    places = {mount["destination"]: [row[:2] for row in mount["rootless"]["secrets"]] for mount in found}
    assert places == {
        "/etc/c": [["/etc/c", "/c/secrets/2"]],
        "/run/secrets": [
            ["/run/secrets/a", "/c/secrets/0"],
            ["/run/secrets/in/b", "/c/secrets/1"],
            ["/run/secrets/e", "/c/secrets/4"],
        ],
    }


def test_devices() -> None:
    assert split_device("/dev/fuse") == ("/dev/fuse", "/dev/fuse", "rwm")
    assert split_device("/dev/fuse:r") == ("/dev/fuse", "/dev/fuse", "r")
    assert split_device("/dev/a:/dev/b") == ("/dev/a", "/dev/b", "rwm")
    assert split_device("/dev/a:/dev/b:rw") == ("/dev/a", "/dev/b", "rw")
    for text in ("", "dev", "/dev/a:b", "/dev/a:/b:rwx", "/dev/a:/b:r:w", "/"):
        with pytest.raises(UsageError):
            split_device(text)


def test_settings_of_the_kernel() -> None:
    assert sysctls(["net/ipv4/ip_forward=1", " kernel.sem = 1 2 3 4"], "none", 0) == {
        "net.ipv4.ip_forward": "1",
        "kernel.sem": "1 2 3 4",
    }
    for text in ("kernel.core_pattern=|/x", "vm.swappiness=1", "=1", "net.x", "net/../vm=1"):
        with pytest.raises(UsageError):
            sysctls([text], "none", 0)


def test_masks() -> None:
    assert [parse_umask(text) for text in ("0", "22", "0777")] == [0, 0o22, 0o777]
    for text in ("", "8", "1000", "00022", "-1"):
        with pytest.raises(UsageError):
            parse_umask(text)


def test_the_last_of_two_limits_counts() -> None:
    assert rlimits(["nofile=1", "nofile=2:3"]) == [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 3}]
    assert rlimits(["core=unlimited"]) == [{"type": "RLIMIT_CORE", "soft": -1, "hard": -1}]
    assert rlimits(["host"]) == []


def test_what_is_kept_of_a_request() -> None:
    request = CreateRequest(passwd=False, http_proxy=False, env_host=True, secret=["a"], oom_score_adj=0)
    assert request.to_plain() == {"image": "", "passwd": False, "secret": ["a"], "oom_score_adj": 0}
    assert CreateRequest.from_plain(request.to_plain()).passwd is False
