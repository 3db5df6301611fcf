"""registries.conf: which registries a name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from rootless.errors import RegistryError, RootlessError, StorageError, UsageError
from storage.references import parse
from storage.settings import registries_conf
from storage.settings.registries_conf import Endpoint, RegistriesConf, load, with_tls_verify


@pytest.fixture(autouse=True)
def no_files_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CONTAINERS_REGISTRIES_CONF", "REGISTRIES_CONFIG_PATH", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(registries_conf, "SYSTEM_DIRECTORY", str(tmp_path / "etc"))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def conf_of(tmp_path: Path, text: str) -> RegistriesConf:
    return load(str(write(tmp_path / "registries.conf", text)))


def names(conf: RegistriesConf, text: str) -> list[str]:
    return [str(reference) for reference in conf.candidates(text)]


def endpoints(conf: RegistriesConf, text: str) -> list[tuple[str, str]]:
    return [(endpoint.host, endpoint.repository) for endpoint in conf.endpoints(parse(text))]


def test_without_any_file_names_are_docker_hubs() -> None:
    conf = load()
    assert names(conf, "alpine:3") == ["docker.io/library/alpine:3"]
    assert conf.endpoints(parse("quay.io/a/b")) == [Endpoint("quay.io", "a/b")]


def test_the_users_file_replaces_the_machines_and_drop_ins_add_to_it(tmp_path: Path) -> None:
    write(tmp_path / "etc/registries.conf", 'unqualified-search-registries = ["machine.example"]')
    assert names(load(), "x") == ["machine.example/x"]
    write(tmp_path / "home/.config/containers/registries.conf", 'unqualified-search-registries = ["user.example"]')
    write(tmp_path / "etc/registries.conf.d/50-a.conf", '[[registry]]\nlocation = "one.example"\nblocked = true')
    write(
        tmp_path / "home/.config/containers/registries.conf.d/10.conf",
        '[[registry]]\nlocation = "one.example"\ninsecure = true',
    )
    conf = load()
    assert names(conf, "x") == ["user.example/x"]
    assert conf.endpoints(parse("one.example/a")) == [Endpoint("one.example", "a", insecure=True)]
    assert len(conf.sources) == 3


def test_an_alias_wins_over_the_searched_registries(tmp_path: Path) -> None:
    conf = conf_of(
        tmp_path,
        'unqualified-search-registries = ["a.example", "b.example:5000"]\n'
        '[aliases]\nfedora = "registry.fedoraproject.org/fedora"\n"team/app" = "quay.io/team/app"',
    )
    assert names(conf, "fedora:41") == ["registry.fedoraproject.org/fedora:41"]
    assert names(conf, "team/app") == ["quay.io/team/app"]
    assert names(conf, "other:1") == ["a.example/other:1", "b.example:5000/other:1"]
    assert names(conf, "quay.io/fedora") == ["quay.io/fedora"]


def test_docker_hub_among_the_searched_registries_keeps_its_library(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, 'unqualified-search-registries = ["docker.io"]')
    assert names(conf, "alpine") == ["docker.io/library/alpine"]


def test_enforcing_mode_refuses_to_guess_and_lists_the_choices(tmp_path: Path) -> None:
    conf = conf_of(
        tmp_path, 'unqualified-search-registries = ["a.example", "b.example"]\nshort-name-mode = "enforcing"'
    )
    with pytest.raises(UsageError) as caught:
        conf.candidates("x")
    assert "a.example/x, b.example/x" in (caught.value.hint or "")
    assert len(conf.candidates("x", local=True)) == 2


def test_an_empty_search_list_asks_for_a_full_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="searches none"):
        conf_of(tmp_path, "unqualified-search-registries = []").candidates("x")


def test_the_longest_prefix_decides_and_ends_at_a_separator(tmp_path: Path) -> None:
    conf = conf_of(
        tmp_path,
        """
        [[registry]]
        location = "example.com"
        blocked = true
        [[registry]]
        prefix = "example.com/foo"
        location = "internal.example:5000/bar"
        """,
    )
    assert endpoints(conf, "example.com/foo/app:1") == [("internal.example:5000", "bar/app")]
    assert endpoints(conf, "example.com.org/foo") == [("example.com.org", "foo")]
    with pytest.raises(RegistryError, match="blocked"):
        conf.endpoints(parse("example.com/foobar"))


def test_a_wildcard_stands_for_subdomains(tmp_path: Path) -> None:
    conf = conf_of(tmp_path, '[[registry]]\nprefix = "*.example.com"\ninsecure = true')
    assert conf.endpoints(parse("a.b.example.com/x")) == [Endpoint("a.b.example.com", "x", insecure=True)]
    assert conf.endpoints(parse("example.com/x")) == [Endpoint("example.com", "x")]


def test_mirrors_come_first_and_only_for_the_references_they_are_for(tmp_path: Path) -> None:
    conf = conf_of(
        tmp_path,
        """
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "localhost:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry.mirror]]
        location = "tags.example"
        pull-from-mirror = "tag-only"
        """,
    )
    hosts = [endpoint.host for endpoint in conf.endpoints(parse("alpine"))]
    assert hosts == ["localhost:5000", "tags.example", "docker.io"]
    assert conf.endpoints(parse("alpine"))[0] == Endpoint("localhost:5000", "hub/library/alpine", True, True)
    hosts = [endpoint.host for endpoint in conf.endpoints(parse("alpine@sha256:" + "a" * 64))]
    assert hosts == ["localhost:5000", "digests.example", "docker.io"]


def test_tls_verify_overrides_what_is_configured(tmp_path: Path) -> None:
    found = conf_of(tmp_path, '[[registry]]\nlocation = "a.example"\ninsecure = true').endpoints(parse("a.example/x"))
    assert with_tls_verify(found, True)[0].insecure is False
    assert with_tls_verify(found, None)[0].insecure is True
    assert with_tls_verify([Endpoint("b.example", "x")], False)[0].insecure is True


def test_version_1_is_translated(tmp_path: Path) -> None:
    conf = conf_of(
        tmp_path,
        '[registries.search]\nregistries = ["s.example"]\n[registries.insecure]\nregistries = ["i.example"]\n'
        '[registries.block]\nregistries = ["b.example"]',
    )
    assert names(conf, "x") == ["s.example/x"]
    assert conf.endpoints(parse("i.example/x"))[0].insecure
    with pytest.raises(RegistryError, match="blocked"):
        conf.endpoints(parse("b.example/x"))


@pytest.mark.parametrize(
    "text",
    [
        "unqualified-search-registries = [",
        'unqualified-search-registries = "docker.io"',
        '[[registry]]\ninsecure = "yes"\nlocation = "x"',
        "[[registry]]\ninsecure = true",
        '[[registry]]\nlocation = "http://x"',
        "registry = 1",
        "aliases = 3",
        '[[registry]]\nlocation = "x"\n[[registry.mirror]]\ninsecure = true',
        'short-name-mode = "maybe"',
        '[registries.search]\nregistries = []\n[[registry]]\nlocation = "x"',
    ],
)
def test_a_wrong_file_is_named_in_the_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(StorageError, match=r"registries\.conf"):
        conf_of(tmp_path, text)


def test_a_file_that_was_asked_for_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "absent"))
    with pytest.raises(RootlessError, match="no such file"):
        load()
