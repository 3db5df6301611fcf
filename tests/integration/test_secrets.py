"""Secrets: kept by the store, given to containers, and nowhere else."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from tests.support.command import Rootless

NONE = ("--network", "none")
WORD = "correct-horse-battery"


@pytest.fixture
def store(fresh: Rootless, busybox: Path) -> Rootless:
    fresh("load", "-q", "-i", str(busybox))
    return fresh


def keep(rl: Rootless, name: str = "word", data: str = WORD, *options: str) -> str:
    return rl.out("secret", "create", *options, name, "-", input=data).strip()


def holders(place: Path, word: str = WORD) -> set[str]:
    """Files below `place` that have the word in them, as they are called."""
    found = set()
    for directory, _, names in os.walk(place):
        for name in names:
            path = Path(directory, name)
            if stat.S_ISREG(path.lstat().st_mode) and word.encode() in path.read_bytes():
                found.add(str(path.relative_to(place)))
    return found


def test_making_listing_and_removing(fresh: Rootless, tmp_path: Path) -> None:
    rl = fresh
    file = tmp_path / "file"
    file.write_bytes(b"\0binary\xff")
    first = rl.out("secret", "create", "-l", "a=b", "first", str(file)).strip()
    second = rl.out("secret", "create", "--env", "second", "IN_ENV", env={"IN_ENV": WORD}).strip()
    assert rl.out("secret", "ls", "-q").split() == [first, second]
    assert rl.out("secret", "ls", "--format", "{{.Name}} {{.Driver}}", "--filter", "name=sec") == "second file"
    assert rl.out("secret", "ls").splitlines()[0].split() == ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]
    (found,) = json.loads(rl.out("secret", "inspect", first[:8]))
    assert found["ID"] == first
    assert found["Spec"] == {"Name": "first", "Driver": {"Name": "file", "Options": {}}, "Labels": {"a": "b"}}
    assert WORD not in rl.out("secret", "inspect", "second")
    assert json.loads(rl.out("secret", "inspect", "--showsecret", "second"))[0]["SecretData"] == WORD
    assert "Name:" in rl.out("secret", "inspect", "--pretty", "second")
    assert rl("secret", "exists", "first").returncode == 0
    assert rl("secret", "exists", "none", check=False).returncode == 1
    assert rl("secret", "rm", "none", check=False).returncode == 125
    assert rl("secret", "rm", "--ignore", "none").stdout == ""
    assert rl.out("secret", "rm", "first") == first
    assert rl.out("secret", "rm", "--all") == second
    assert rl.out("secret", "ls", "-n") == ""


def test_names_and_sizes_that_are_refused(fresh: Rootless) -> None:
    for name in ("a/b", "a=b", "a,b", "..", "x" * 254, ""):
        done = fresh("secret", "create", "--", name, "-", input="x", check=False)
        assert done.returncode == 125, name
    for data in ("", "x" * 512000):
        assert fresh("secret", "create", "name", "-", input=data, check=False).returncode == 125
    keep(fresh, "largest", "x" * 511999)
    assert not [name for name in os.listdir(fresh.root / "secrets") if name.startswith("=")]


def test_a_name_is_taken_once(fresh: Rootless) -> None:
    first = keep(fresh)
    done = fresh("secret", "create", "word", "-", input="other", check=False)
    assert done.returncode == 125
    assert "rootless secret rm word" in done.stderr
    assert fresh.out("secret", "create", "--ignore", "word", "-", input="other").strip() == first
    assert fresh.out("secret", "create", "--replace", "word", "-", input="other").strip() == first
    assert json.loads(fresh.out("secret", "inspect", "--showsecret", "word"))[0]["SecretData"] == "other"


def test_only_the_owner_can_read_the_file(fresh: Rootless) -> None:
    keep(fresh)
    place = fresh.root / "secrets"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "word").stat().st_mode) == 0o600


def test_a_secret_as_file_and_as_variable(store: Rootless, image: str) -> None:
    keep(store)
    options = ("--secret", "word", "--secret", "word,type=env,target=WORD")
    script = "cat /run/secrets/word; echo; echo $WORD; stat -c '%a %u %g' /run/secrets/word; stat -f -c %T /run/secrets"
    found = store.out("run", "--rm", *NONE, *options, image, "sh", "-c", script).splitlines()
    assert found == [WORD, WORD, "444 0 0", "tmpfs"]
    more = ("--secret", "word,target=/etc/app/word,uid=5,gid=6,mode=0400", "--secret", "word,target=in/deep")
    script = "stat -c '%a %u %g' /etc/app/word; cat /run/secrets/in/deep; echo; (echo x >/etc/app/word) 2>&- || echo no"
    found = store.out("run", "--rm", *NONE, *more, image, "sh", "-c", script).splitlines()
    assert found == ["400 5 6", WORD, "no"]


def test_bad_words_about_a_secret(store: Rootless, image: str) -> None:
    keep(store)
    keep(store, "binary", "a\0b")
    for words in (
        "none",
        "",
        "word,type=file",
        "word,mode=9",
        "word,uid=x",
        "word,nonsense=1",
        "word,target=../x",
        "word,type=env,mode=0400",
        "binary,type=env",
        "word,target=a/",
    ):
        done = store("create", "--secret", words, image, check=False)
        assert done.returncode == 125, words
        assert "internal error" not in done.stderr
    twice = store("create", "--secret", "word", "--secret", "binary,target=word", image, check=False)
    assert twice.returncode == 125
    below = store("create", "--secret", "word", "--secret", "binary,target=word/x", image, check=False)
    assert below.returncode == 125
    assert store.out("ps", "-aq") == ""


def test_nothing_but_the_containers_own_copy_knows_it(store: Rootless, image: str, tmp_path: Path) -> None:
    keep(store)
    options = ("--secret", "word", "--secret", "word,type=env,target=WORD")
    done = store("--log-level", "debug", "run", "-d", "--name", "c", *NONE, *options, image, "sleep", "60")
    assert WORD not in done.stdout + done.stderr
    identity = store.out("inspect", "-f", "{{.Id}}", "c")
    copies = {f"containers/{identity}/secrets/{number}" for number in (0, 1)}
    assert holders(store.root) == {"secrets/word", *copies}
    assert holders(store.runroot) == set()
    assert all(stat.S_IMODE((store.root / path).stat().st_mode) == 0o600 for path in copies)
    assert WORD not in store.out("inspect", "c")
    assert store.inspect("c")["Config"]["Secrets"] == [
        {"Name": "word", "UID": 0, "GID": 0, "Mode": 0o444},
        {"Name": "word", "UID": 0, "GID": 0, "Mode": 0o444},
    ]
    store("commit", "-q", "c", "made:1")
    store("save", "-q", "-o", str(tmp_path / "made.tar"), "made:1")
    store("export", "-o", str(tmp_path / "c.tar"), "c")
    assert holders(tmp_path / "store" / "root") == {"secrets/word", *copies}
    for archive in ("made.tar", "c.tar"):
        assert WORD.encode() not in (tmp_path / archive).read_bytes()
    store("rm", "-f", "-t", "0", "c")
    assert holders(store.root) == {"secrets/word"}


def test_exec_has_the_variable_too(store: Rootless, image: str) -> None:
    keep(store)
    store("run", "-d", "--name", "c", *NONE, "--secret", "word,type=env", image, "sleep", "60")
    assert store.out("exec", "c", "sh", "-c", "echo $word; cat /run/secrets/word 2>/dev/null || echo no file") == (
        f"{WORD}\nno file"
    )
    store("rm", "-f", "-t", "0", "c")


def test_a_container_keeps_what_it_was_made_with(store: Rootless, image: str) -> None:
    keep(store)
    options = ("--secret", "word", "--secret", "word,type=env")
    store("create", "--name", "c", *NONE, *options, image, "sh", "-c", "cat /run/secrets/word; echo; echo $word")
    store("secret", "create", "--replace", "word", "-", input="changed")
    assert store.out("start", "-a", "c").split() == [WORD, WORD]
    store("secret", "rm", "word")
    assert store.out("start", "-a", "c").split() == [WORD, WORD]
    store("rm", "c")


def test_a_secret_is_an_event_without_its_data(fresh: Rootless) -> None:
    identity = keep(fresh)
    fresh("secret", "rm", "word")
    told = fresh.out("events", "--stream=false", "--format", "{{.Type}} {{.Status}} {{.ID}}")
    assert told.splitlines() == [f"secret create {identity}", f"secret remove {identity}"]
