"""Image names: Docker's own cases, hostile ones, and properties."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import UsageError
from storage.references import Reference, names_registry, parse, split_transport

DIGEST = "sha256:" + "0123456789abcdef" * 4

# distribution/reference's grammar as its documentation gives it, as one expression
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9]*:[a-fA-F0-9:]*\])(?::[0-9]+)?"
GRAMMAR = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,9}})?")


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine", "alpine"),
        ("alpine:3.20", "docker.io/library/alpine:3.20", "alpine:3.20"),
        ("fooo/bar", "docker.io/fooo/bar", "fooo/bar"),
        ("library/alpine", "docker.io/library/alpine", "alpine"),
        ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine", "alpine"),
        ("library/foo/bar", "docker.io/library/foo/bar", "library/foo/bar"),
        ("quay.io/podman/hello:1", "quay.io/podman/hello:1", "quay.io/podman/hello:1"),
        ("localhost/built", "localhost/built", "localhost/built"),
        ("localhost:5000/a/b", "localhost:5000/a/b", "localhost:5000/a/b"),
        ("127.0.0.1:8000/private", "127.0.0.1:8000/private", "127.0.0.1:8000/private"),
        ("[::1]:5000/a:tag", "[::1]:5000/a:tag", "[::1]:5000/a:tag"),
        ("[2001:db8::1]/a", "[2001:db8::1]/a", "[2001:db8::1]/a"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),  # an upper-case first part can only be a host
        ("xn--n3h.com/myimage", "xn--n3h.com/myimage", "xn--n3h.com/myimage"),
        ("aa/asdf$$^/aa".replace("$$^", "x"), "docker.io/aa/asdfx/aa", "aa/asdfx/aa"),
        ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}", f"alpine@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker.io/library/alpine:3@{DIGEST}", f"alpine:3@{DIGEST}"),
        ("docker", "docker.io/library/docker", "docker"),
        ("1234567890123456789012345678901234567890123456789012345678901", None, None),
    ],
)
def test_names_are_normalised_as_docker_does(text: str, full: str | None, familiar: str | None) -> None:
    reference = parse(text)
    assert str(reference) == (full or f"docker.io/library/{text}")
    assert reference.familiar == (familiar or text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("Alpine", "lowercase"),
        ("docker.io/docker/Docker", "lowercase"),
        ("..", "begin and end"),
        ("a..b", "not a name"),
        ("a/../b", "begin and end"),
        ("a___b", "not a name"),
        ("-foo", "begin and end"),
        ("foo-", "begin and end"),
        ("foo//bar", "between two slashes"),
        ("foo/", "after the last"),
        ("/foo", "between two slashes"),
        ("example.com/", "names no image"),
        (":latest", "names no image"),
        ("foo:", "tag after ':' is empty"),
        ("foo:-x", "not a tag"),
        ("foo:" + "x" * 129, "129 characters"),
        ("x" * 300, "more than 255"),
        ("foo@sha256:short", "not a digest"),
        ("foo@", "not a digest"),
        ("foo@sha256:" + "A" * 64, "not a digest"),
        ("foo@sha512:" + "a" * 128, "sha512"),
        ("0123456789abcdef" * 4, "id of an image"),
        ("localhost:/foo", "not a port"),
        ("localhost:http/foo", "not a port"),
        ("localhost:99999/foo", "not a port"),
        ("[::1/foo", "IPv6"),
        ("[fe80::1%eth0]:5000/foo", "IPv6"),
        ("::1/foo", "not the name of a host"),
        ("https://example.com/foo", "URL"),
        ("oci-archive:/tmp/x.tar", "place of files"),
        ("dir:./x", "place of files"),
        ("-host.com/foo", "not the name of a host"),
        ("a b", "not a name"),
        ("aa\nbb", "not a name"),
        ("föö", "begin and end"),
        ("foo\0bar", "not a name"),
    ],
)
def test_bad_names_are_refused_and_the_error_says_why(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=re.escape(why)) as caught:
        parse(text)
    assert len(caught.value.message) < 400


def test_the_error_for_upper_case_offers_the_lower_case_name() -> None:
    with pytest.raises(UsageError) as caught:
        parse("quay.io/Team/App:V1")
    assert caught.value.hint == "did you mean quay.io/team/app:V1?"


_labels = st.from_regex(r"[a-z0-9]([a-zA-Z0-9-]{0,4}[a-z0-9])?", fullmatch=True)
_ports = st.just("") | st.integers(1, 65535).map(lambda port: f":{port}")
_hosts = st.builds(
    lambda labels, port: ".".join(labels) + port, st.lists(_labels, min_size=2, max_size=4), _ports
) | st.builds(lambda name, port: name + port, st.sampled_from(["localhost", "[::1]", "[2001:db8::1]"]), _ports)
_paths = st.lists(
    st.from_regex(r"[a-z0-9]{1,4}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True), min_size=1, max_size=3
).map("/".join)
_tags = st.just("") | st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
_digests = st.sampled_from(["", "@" + DIGEST])


@given(_hosts, _paths, _tags, _digests)
def test_every_part_of_a_full_name_is_kept(host: str, path: str, tag: str, digest: str) -> None:
    reference = parse(f"{host}/{path}{tag}{digest}")
    assert str(reference) == f"{host}/{path}{tag}{digest}"
    assert (reference.domain, reference.path) == (host, path)
    assert (reference.tag or "", reference.digest or "") == (tag[1:], digest[1:])
    assert parse(reference.familiar) == reference


@given(_paths.filter(lambda path: not names_registry(path)), _tags, _digests)
def test_a_name_without_registry_is_docker_hubs(path: str, tag: str, digest: str) -> None:
    reference = parse(path + tag + digest)
    assert reference.domain == "docker.io"
    assert reference.path == (path if "/" in path else f"library/{path}")
    assert parse(reference.familiar) == parse(str(reference)) == reference


@given(st.text(alphabet="abzA09._-:/@[]\x00 é", max_size=40))
def test_what_is_read_is_in_the_grammar(text: str) -> None:
    try:
        reference = parse(text)
    except UsageError:
        return
    assert GRAMMAR.fullmatch(str(reference))


@given(st.text(max_size=60))
def test_no_text_makes_the_parser_fail_in_another_way(text: str) -> None:
    try:
        assert isinstance(parse(text), Reference)
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("alpine", ("", "alpine")),
        ("docker://quay.io/a:1", ("docker", "quay.io/a:1")),
        ("docker:latest", ("", "docker:latest")),
        ("docker-archive:/tmp/a.tar", ("docker-archive", "/tmp/a.tar")),
        ("oci:./dir:tag", ("oci", "./dir:tag")),
        ("oci:1.0", ("", "oci:1.0")),
        ("dir:/x", ("dir", "/x")),
        ("localhost:5000/a", ("", "localhost:5000/a")),
    ],
)
def test_transports_are_told_from_tags(text: str, parts: tuple[str, str]) -> None:
    assert split_transport(text) == parts


@pytest.mark.parametrize(
    ("text", "answer"),
    [("alpine", False), ("a/b", False), ("a.b/c", True), ("localhost/c", True), ("h:1/c", True), ("alpine:1", False)],
)
def test_a_registry_is_recognised_by_dot_port_or_localhost(text: str, answer: bool) -> None:
    assert names_registry(text) is answer
