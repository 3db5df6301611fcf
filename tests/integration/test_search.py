"""Searching registries, listing tags, and pulling them all."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from rootless.errors import RegistryError
from storage.registry import listing
from storage.registry.access import Access
from storage.remote.pull_tags import tags_of
from tests.support.command import Rootless
from tests.support.faulty import Faulty, Request, answer, send
from tests.support.pulling import OPEN, Write, configure, faulty, registry, small
from tests.support.registry import Registry

__all__ = ["configure", "faulty", "registry"]

RESULTS = [
    {"name": "library/web", "description": "A web\n server " + "x" * 60, "star_count": 20, "is_official": True},
    {"name": "team/web", "description": "", "star_count": 3, "is_automated": True},
    {"name": "team/\x1b[31mred", "description": "a\x1b[2Jb", "star_count": 0},
]


@dataclass
class SearchServer:
    """A registry as Docker Hub was: it answers /v1/search."""

    results: list[dict[str, Any]] = field(default_factory=lambda: RESULTS)
    queries: list[dict[str, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                if parts.path == "/v1/search":
                    service.queries.append(parse_qs(parts.query))
                body = json.dumps({"results": service.results if parts.path == "/v1/search" else []}).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hub() -> Iterator[SearchServer]:
    server = SearchServer()
    yield server
    server.stop()


def test_the_table_of_a_search(fresh: Rootless, hub: SearchServer) -> None:
    lines = fresh.out("search", OPEN, f"{hub.host}/web").split("\n")
    assert lines[0].split() == ["NAME", "DESCRIPTION"]
    name, _, description = lines[1].partition("  ")
    assert name == f"{hub.host}/library/web"
    assert description.strip() == "A web server " + "x" * 31 + "..."
    assert "\x1b" not in "".join(lines)
    assert hub.queries == [{"q": ["web"], "n": ["25"]}]
    assert "x" * 60 in fresh.out("search", OPEN, "--no-trunc", f"{hub.host}/web")
    compatible = fresh.out("search", OPEN, "--compatible", f"{hub.host}/web").split("\n")
    assert compatible[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
    assert compatible[1].split()[-2:] == ["20", "[OK]"]


def test_filters_limits_and_forms(fresh: Rootless, hub: SearchServer) -> None:
    def names(*words: str) -> list[str]:
        return fresh.out("search", OPEN, "--format", "{{.Name}}", *words, f"{hub.host}/web").split()

    def of(number: int) -> str:
        return f"{hub.host}/{RESULTS[number]['name']}"

    assert names("--filter", "stars=10") == names("-f", "is-official") == [of(0)]
    assert names("-f", "is-official=false", "-f", "stars=1") == names("-f", "is-automated=true") == [of(1)]
    assert names("--limit", "1") == [of(0)]
    assert hub.queries[-1]["n"] == ["1"]
    found = json.loads(fresh.out("search", OPEN, "--format", "json", f"{hub.host}/web"))
    assert found[1] == {
        "Index": hub.host,
        "Name": of(1),
        "Description": "",
        "Stars": 3,
        "Official": "",
        "Automated": "[OK]",
        "Tag": "",
    }
    table = fresh.out("search", OPEN, "--format", "table {{.Name}} {{.Stars}}", f"{hub.host}/web").split("\n")
    assert table[0].split() == ["NAME", "STARS"]


def test_a_short_term_is_looked_for_where_registries_conf_says(
    fresh: Rootless, hub: SearchServer, configure: Write
) -> None:
    gone = "127.0.0.1:1"
    configure(
        f'unqualified-search-registries = ["{hub.host}", "{gone}"]\n[[registry]]\nlocation = "{hub.host}"\n'
        f'insecure = true\n[[registry]]\nlocation = "{gone}"\ninsecure = true'
    )
    done = fresh("search", "--format", "{{.Name}}", "web")
    assert f"{hub.host}/team/web" in done.stdout
    assert "Warning: searching for web: asking 127.0.0.1:1: connection refused" in done.stderr


def test_a_registry_without_a_search_has_a_catalog(fresh: Rootless, registry: Registry) -> None:
    for name in ("found/one", "found/two", "other/three"):
        registry.push(name, small(51))
    found = fresh.out("search", OPEN, "--format", "{{.Name}}", f"{registry.host}/found").split()
    assert found == [f"{registry.host}/found/one", f"{registry.host}/found/two"]
    assert fresh.out("search", OPEN, f"{registry.host}/nothing") == ""
    assert len(fresh.out("search", OPEN, "--limit", "1", "--format", "{{.Name}}", f"{registry.host}/o").split()) == 1


def test_tags_are_listed_page_by_page(fresh: Rootless, registry: Registry, faulty: Faulty) -> None:
    place = "/v2/tagged/app/tags/list"
    faulty.rule(r"n=1000", answer(200, b'{"tags": ["1", "2"]}', link='<list?last=2>; rel="next"'))  # relative
    faulty.rule(r"last=2", answer(200, b'{"tags": ["3", "4"]}', link=f'<{place}?last=4&n=2>; rel="next"'))
    faulty.rule(r"last=4", answer(200, b'{"tags": ["5"]}', link=f'<{place}>; rel="first"'))
    done = fresh.out("search", OPEN, "--list-tags", f"{faulty.host}/tagged/app").split("\n")
    assert [line.split() for line in done] == [
        ["NAME", "TAG"],
        *([f"{faulty.host}/tagged/app", tag] for tag in ("1", "2", "3", "4", "5")),
    ]
    assert [request.path.partition("?")[0] for request in faulty.paths("tags/list")] == [place] * 3
    for tag in ("1", "2", "3"):
        registry.push("tagged/app", small(52), tag)
    (found,) = json.loads(fresh.out("search", OPEN, "--list-tags", "--format", "json", f"{registry.host}/tagged/app"))
    assert found["Name"] == f"{registry.host}/tagged/app"
    assert sorted(found["Tags"]) == ["1", "2", "3"]
    limited = fresh.out(
        "search", OPEN, "--list-tags", "--limit", "2", "--format", "{{.Tag}}", f"{registry.host}/tagged/app"
    )
    assert limited.split() == found["Tags"][:2]


def test_a_list_without_an_end_is_left(fresh: Rootless, faulty: Faulty, monkeypatch: pytest.MonkeyPatch) -> None:
    page = answer(200, b'{"tags": ["a"]}', link='</v2/endless/app/tags/list?last=a>; rel="next"')
    faulty.rule(r"/v2/endless/", page, -1)
    failed = fresh("search", OPEN, "--list-tags", f"{faulty.host}/endless/app", check=False)
    assert failed.returncode == 125
    assert "does not end (after 2 pages)" in failed.stderr

    def another(handler: BaseHTTPRequestHandler, request: Request) -> None:
        send(handler, 200, b'{"tags": ["a"]}', {"link": f'<{request.path}x>; rel="next"'})

    faulty.rule(r"/v2/longer/", another, -1)
    monkeypatch.setattr(listing, "_MOST_PAGES", 5)
    with pytest.raises(RegistryError, match="after 5 pages"):
        tags_of(f"{faulty.host}/longer/app", Access(tls_verify=False))


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"tags": [1]}', b'{"tags": "x"}', b"\xff"])
def test_answers_that_are_no_lists(fresh: Rootless, faulty: Faulty, body: bytes) -> None:
    faulty.rule(r"tags/list", answer(200, body), -1)
    failed = fresh("search", OPEN, "--list-tags", f"{faulty.host}/lies/app", check=False)
    assert failed.returncode == 125
    assert "Error: listing the tags of" in failed.stderr
    assert "internal" not in failed.stderr


def test_all_tags_are_pulled(fresh: Rootless, registry: Registry) -> None:
    ids = [small(seed).id for seed in (61, 62)]
    for seed, tag in ((61, "one"), (62, "two"), (61, "three")):
        registry.push("all/app", small(seed), tag)
    printed = fresh.out("pull", "-q", OPEN, "--all-tags", f"{registry.host}/all/app").split()
    assert sorted(printed) == sorted([ids[0], ids[0], ids[1]])
    listed = fresh.out("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    assert set(listed) == {f"{registry.host}/all/app:{tag}" for tag in ("one", "two", "three")}
    failed = fresh("pull", OPEN, "-a", f"{registry.host}/all/app:one", check=False)
    assert failed.returncode == 125
    assert "names one already" in failed.stderr
    missing = fresh("pull", OPEN, "-a", f"{registry.host}/all/none", check=False)
    assert missing.returncode == 125
    assert "there is none" in missing.stderr


@pytest.mark.parametrize(
    "words, told",
    [
        (("--filter", "color=red", "x"), "not one of"),
        (("--filter", "stars=many", "x"), "not a value"),
        (("--limit", "101", "x"), "not between 0 and 100"),
        (("--list-tags", "--filter", "stars=1", "x"), "cannot be filtered"),
        (("oci:/x", "--list-tags"), "not in a registry"),
        (("127.0.0.1:1/",), "no word to look for"),
        (("127.0.0.1:1/x",), "connection refused"),
    ],
)
def test_what_cannot_be_searched(rl: Rootless, words: tuple[str, ...], told: str) -> None:
    failed = rl("search", OPEN, *words, check=False)
    assert failed.returncode == 125
    assert told in failed.stderr
