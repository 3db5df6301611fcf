"""`--filter` on rows of a real database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rootless.cli.filters import container_filter
from rootless.engine import records
from rootless.errors import NotFoundError, UsageError
from rootless.jsontext import dumps
from storage.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "root"), str(tmp_path / "run"))
    labels = {"tier": "front", "x": "1"}
    add(store, "a" * 64, "web", created=100.0, state="running", labels=labels, image="httpd", restart="unless-stopped")
    add(store, "b" * 64, "web-db", created=200.0, state="exited", exit_code=3, labels={"tier": "back"}, network="none")
    records.update(store.db, "a" * 64, health="healthy", command="/bin/server --data=job")
    records.update(store.db, "b" * 64, restart="unless-stopped", stopped=1)
    add(store, "abc" + "c" * 61, "job", created=300.0, state="created", volumes=["data"], restart="on-failure:3")
    records.update(store.db, "abc" + "c" * 61, command="job")
    return store


def add(store: Store, container_id: str, name: str, **given: Any) -> None:
    values = {
        "id": container_id,
        "name": name,
        "image_id": "1" * 64,
        "image_name": given.get("image", "busybox"),
        "created": given["created"],
        "request": dumps({"inspected_mounts": [{"Type": "bind", "Source": '/ho"st', "Destination": f"/of-{name}"}]}),
        "network": dumps({"mode": given.get("network", "slirp4netns")}),
        "state": given["state"],
        "exit_code": given.get("exit_code", 0),
        "labels": dumps(given.get("labels", {})),
        "restart": given.get("restart", ""),
    }
    records.insert(store.db, values, [], {volume: (False, {}, {}) for volume in given.get("volumes", [])})


def passing(store: Store, *filters: str) -> list[str]:
    passes = container_filter(store, list(filters))
    return [container.name for container in records.all_containers(store.db) if passes(container)]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        (["name=web"], ["web", "web-db"]),
        (["name=^web$"], ["web"]),
        (["name=web", "name=job"], ["web", "web-db", "job"]),
        (["name=web", "status=exited"], ["web-db"]),
        (["id=a"], ["web", "job"]),
        (["id=aaa", "id=bbb"], ["web", "web-db"]),
        (["label=tier"], ["web", "web-db"]),
        (["label=tier=front"], ["web"]),
        (["label=tier", "label=x"], ["web"]),
        (["label!=tier"], ["job"]),
        (["status=running", "status=created"], ["web", "job"]),
        (["status=stopped"], ["web-db"]),
        (["exited=3"], ["web-db"]),
        (["exited=0"], []),
        (["ancestor=httpd"], ["web"]),
        (["before=job"], ["web", "web-db"]),
        (["since=web"], ["web-db", "job"]),
        (["until=250"], ["web", "web-db"]),
        (["network=none"], ["web-db"]),
        (["volume=data"], ["job"]),
        (["volume=/of-web"], ["web"]),
        (['volume=/ho"st'], ["web", "web-db", "job"]),
        (["volume=/ho"], []),
        (["health=healthy"], ["web"]),
        (["health=none"], ["web-db", "job"]),
        (["health=starting", "health=unhealthy"], []),
        (["pod=x"], []),
        (["command=serv"], ["web"]),
        (["command=^job$"], ["job"]),
        (["restart-policy=on-failure"], ["job"]),
        (["restart-policy=on-failure:3"], ["job"]),
        (["restart-policy=on-failure:4"], []),
        (["restart-policy=no"], []),
        (["restart-policy=unless-stopped"], ["web", "web-db"]),
        (["should-start-on-boot=true"], ["web"]),
        (["should-start-on-boot=false"], ["web-db", "job"]),
        ([], ["web", "web-db", "job"]),
    ],
)
def test_filters(store: Store, filters: list[str], names: list[str]) -> None:
    assert passing(store, *filters) == names


@pytest.mark.parametrize(
    "text",
    [
        *("colour=red", "name", "status=dancing", "exited=x", "name=(", "name!=x", "until=x", "health=fine"),
        *("command=(", "restart-policy=sometimes", "should-start-on-boot=perhaps"),
    ],
)
def test_a_wrong_filter_is_refused(store: Store, text: str) -> None:
    with pytest.raises(UsageError):
        passing(store, text)


@pytest.mark.parametrize(("text", "hint"), [("name", "write it as KEY=VALUE"), ("colour=red", None)])
def test_how_to_write_a_filter_is_told_where_that_was_wrong(store: Store, text: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as refused:
        passing(store, text)
    assert refused.value.hint == hint


def test_a_container_that_is_not_there_cannot_be_compared_with(store: Store) -> None:
    with pytest.raises(NotFoundError):
        passing(store, "before=nobody")
