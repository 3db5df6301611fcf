"""Names, look-ups, removal, listing and garbage, on a store whose layers are empty directories."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rootless.errors import ConflictError, ImageError, NotFoundError, StorageError, UsageError
from storage.blobs import BlobWriter
from storage.documents.manifests import DOCKER_MANIFEST
from storage.documents.write import docker_manifest
from storage.images.describe import history
from storage.images.filters import image_filter, matches, split_filters
from storage.images.listing import list_images
from storage.images.rows import AddedLayer, add_image, remove, tag, untag
from storage.lease import Lease
from storage.lookup import find_image, need_image
from storage.store import Store
from storage.upkeep.garbage import collect_garbage
from storage.upkeep.prune import prune_images
from tests.support.store import configuration, hex_of, make_store, put_container, put_image

ALPINE = "docker.io/library/alpine:latest"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)


@pytest.fixture(autouse=True)
def no_registries_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "registries.conf"
    path.write_text('unqualified-search-registries = ["docker.io"]\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    return path


@pytest.mark.parametrize(
    "text", ["alpine", "alpine:latest", "docker.io/alpine", "library/alpine", "docker.io/library/alpine:latest"]
)
def test_an_image_is_found_by_every_spelling_of_its_name(store: Store, text: str) -> None:
    image_id = put_image(store, ALPINE)
    assert need_image(store.db, text).id == image_id


def test_an_image_is_found_by_its_id_in_full_and_in_part(store: Store) -> None:
    image_id = put_image(store, ALPINE)
    for text in (image_id, f"sha256:{image_id}", image_id[:12], image_id[:3], f"sha256:{image_id[:8]}"):
        found = find_image(store.db, text)
        assert found is not None
        assert found.id == image_id
    assert find_image(store.db, image_id[:2]) is None
    assert find_image(store.db, "f" * 64) is None


def test_an_image_is_found_by_the_digest_of_its_manifest(store: Store) -> None:
    image = need_image(store.db, put_image(store, ALPINE))
    found = find_image(store.db, f"alpine@{image.digest}")
    assert found is not None
    assert found.id == image.id
    assert find_image(store.db, f"debian@{image.digest}") is None
    assert find_image(store.db, f"alpine@sha256:{'0' * 64}") is None


def test_an_id_prefix_of_several_images_is_refused(store: Store) -> None:
    ids: dict[str, str] = {}
    for number in range(5000):
        prefix = hex_of(configuration(["base"], Cmd=[str(number)]).decode())[:3]
        if prefix in ids:
            put_image(store, "docker.io/x/a:1", Cmd=[ids[prefix]])
            put_image(store, "docker.io/x/b:1", Cmd=[str(number)])
            with pytest.raises(ConflictError, match="several ids"):
                find_image(store.db, prefix)
            return
        ids[prefix] = str(number)
    raise AssertionError("no two ids began alike")


def test_a_short_name_finds_what_podman_calls_localhost(store: Store) -> None:
    image_id = put_image(store, "localhost/built:latest")
    assert need_image(store.db, "built").id == image_id


def test_a_short_name_finds_images_of_the_searched_registries(store: Store, no_registries_conf: Path) -> None:
    no_registries_conf.write_text('unqualified-search-registries = ["quay.io", "registry.example"]\n')
    image_id = put_image(store, "registry.example/tool:2")
    assert need_image(store.db, "tool:2").id == image_id
    assert find_image(store.db, "tool") is None


def test_removing_an_image_that_is_not_there_ends_with_1_and_all_else_with_125(store: Store) -> None:
    with pytest.raises(NotFoundError) as raised:
        remove(store, "nothing")
    assert raised.value.exit_code == 1
    with pytest.raises(NotFoundError) as raised:
        need_image(store.db, "nothing")
    assert raised.value.exit_code == 125


def test_an_image_knows_its_layers_from_the_lowest_up(store: Store) -> None:
    put_image(store, ALPINE, layers=("base", "middle", "top"))
    assert need_image(store.db, "alpine").diff_ids == [hex_of("base"), hex_of("middle"), hex_of("top")]


def test_a_name_moves_to_the_image_that_is_added_last(store: Store) -> None:
    old = put_image(store, ALPINE)
    new = put_image(store, ALPINE, Cmd=["new"])
    assert need_image(store.db, "alpine").id == new
    assert need_image(store.db, old).names == []


def test_layers_that_are_not_those_of_the_configuration_are_refused(store: Store) -> None:
    data = configuration(["base", "top"])
    manifest = docker_manifest(data, [(hex_of("base"), 1)])
    with pytest.raises(ImageError, match="lists other layers"):
        add_image(store, data, manifest, DOCKER_MANIFEST, [AddedLayer(hex_of("base"), 1, 1)])


def test_an_image_whose_layer_has_gone_is_not_recorded(store: Store) -> None:
    data = configuration(["base"])
    manifest = docker_manifest(data, [(hex_of("base"), 1)])
    with pytest.raises(StorageError, match=r"missing|gone"):
        add_image(store, data, manifest, DOCKER_MANIFEST, [AddedLayer(hex_of("base"), 1, 1)])
    assert list_images(store.db) == []
    assert store.db.execute("SELECT count(*) FROM layers").fetchone() == (0,)


def test_tag_and_untag(store: Store) -> None:
    put_image(store, ALPINE)
    tag(store, "alpine", ["mine", "quay.io/me/mine:2"])
    assert set(need_image(store.db, "mine").names) == {ALPINE, "docker.io/library/mine:latest", "quay.io/me/mine:2"}
    untag(store, "mine", ["quay.io/me/mine:2"])
    with pytest.raises(NotFoundError, match="no name"):
        untag(store, "mine", ["quay.io/me/mine:2"])
    untag(store, "mine")
    assert find_image(store.db, "alpine") is None
    assert len(list_images(store.db)) == 1


def test_a_digest_is_no_name_to_give(store: Store) -> None:
    put_image(store, ALPINE)
    with pytest.raises(UsageError, match="not a digest"):
        tag(store, "alpine", [f"x@sha256:{'0' * 64}"])


def test_removing_one_of_several_names_keeps_the_image(store: Store) -> None:
    image_id = put_image(store, ALPINE, "docker.io/library/other:1")
    removed = remove(store, "other:1")
    assert (removed.untagged, removed.deleted) == (["docker.io/library/other:1"], [])
    removed = remove(store, "alpine")
    assert (removed.untagged, removed.deleted) == ([ALPINE], [image_id])


def test_removing_by_id_needs_force_where_there_are_several_names(store: Store) -> None:
    image_id = put_image(store, ALPINE, "docker.io/library/other:1")
    with pytest.raises(ConflictError, match="several names"):
        remove(store, image_id[:12])
    assert remove(store, image_id[:12], force=True).deleted == [image_id]


def test_an_image_in_use_is_not_removed_and_the_containers_are_named(store: Store) -> None:
    put_container(store, "busy", put_image(store, ALPINE), "running")
    with pytest.raises(ConflictError, match=r"in use by container busy \(running\)") as raised:
        remove(store, "alpine")
    assert raised.value.exit_code == 2
    assert find_image(store.db, "alpine")


def test_a_name_of_an_image_in_use_can_go_while_it_has_another(store: Store) -> None:
    put_container(store, "busy", put_image(store, ALPINE, "docker.io/library/other:1"))
    assert remove(store, "other:1").deleted == []


def layer_names(store: Store) -> set[str]:
    return set(os.listdir(store.layout.layers))


def test_garbage_is_what_no_image_and_no_container_refers_to(store: Store) -> None:
    put_image(store, ALPINE, layers=("base", "a"))
    put_image(store, "docker.io/library/b:1", layers=("base", "b"))
    store.db.execute("INSERT INTO container_layers VALUES ('c', 0, ?)", (hex_of("a"),))
    remove(store, "alpine")
    assert collect_garbage(store).layers == []
    store.db.execute("DELETE FROM container_layers")
    assert collect_garbage(store).layers == [hex_of("a")]
    assert layer_names(store) == {hex_of("base"), hex_of("b")}
    remove(store, "b:1")
    collect_garbage(store)
    assert layer_names(store) == set()
    assert os.listdir(store.layout.tmp) == []


def test_a_lease_protects_layers_that_lost_their_image(store: Store) -> None:
    put_image(store, ALPINE)
    with Lease(store) as lease:
        lease.protect([hex_of("base")])
        remove(store, "alpine")
        assert collect_garbage(store).layers == []
    assert collect_garbage(store).layers == [hex_of("base")]


def test_any_lease_protects_layers_that_no_image_has_had_yet(store: Store) -> None:
    store.layout.create()
    directory = Path(store.layout.diff(hex_of("new")))
    with Lease(store):
        directory.mkdir(parents=True)
        collect_garbage(store)
        assert directory.exists()
    collect_garbage(store)
    assert not directory.exists()


def test_the_lease_of_a_dead_process_protects_nothing(store: Store) -> None:
    put_image(store, ALPINE)
    pid = os.fork()
    if not pid:
        child = make_store(Path(store.root).parent)
        Lease(child).protect([hex_of("base")])
        os._exit(0)
    os.waitpid(pid, 0)
    assert store.db.execute("SELECT count(*) FROM leases").fetchone() == (1,)
    remove(store, "alpine")
    assert collect_garbage(store).layers == [hex_of("base")]
    assert store.db.execute("SELECT count(*) FROM leases").fetchone() == (0,)
    assert os.listdir(store.root + "/leases") == []


def test_blobs_go_with_their_layer_and_strays_go_too(store: Store) -> None:
    put_image(store, ALPINE)
    blob, stray = hex_of("blob"), hex_of("stray")
    for name in (blob, stray):
        Path(store.layout.blob(name)).write_bytes(b"x")
    store.db.execute("UPDATE layers SET blob = ?, blob_size = 1", (blob,))
    collect_garbage(store)
    assert os.listdir(store.layout.blobs) == [blob]
    remove(store, "alpine")
    assert collect_garbage(store).blobs == [blob]
    assert os.listdir(store.layout.blobs) == []


@pytest.mark.parametrize("commit", [1, 2, 3])
def test_no_row_names_a_missing_blob_when_a_collector_is_killed_at_a_commit(store: Store, commit: int) -> None:
    put_image(store, ALPINE)
    blob = hex_of("blob")
    Path(store.layout.blob(blob)).write_bytes(b"x")
    store.db.execute("UPDATE layers SET blob = ?, blob_size = 1", (blob,))
    remove(store, "alpine")
    pid = os.fork()
    if not pid:
        child = make_store(Path(store.root).parent)
        seen: list[str] = []

        def die(statement: str) -> None:
            seen.append(statement)
            if seen.count("COMMIT") == commit:
                os.kill(os.getpid(), 9)

        child.db.set_trace_callback(die)
        collect_garbage(child)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == (9 if commit < 3 else 0)
    assert all(os.path.exists(store.layout.blob(name)) for (name,) in store.db.execute("SELECT blob FROM layers"))
    collect_garbage(make_store(Path(store.root).parent))
    assert os.listdir(store.layout.blobs) == os.listdir(store.layout.layers) == os.listdir(store.layout.tmp) == []
    assert store.db.execute("SELECT count(*) FROM layers").fetchone() == (0,)


def test_a_blob_that_somebody_needs_again_stays_when_its_layer_goes(store: Store) -> None:
    put_image(store, ALPINE)
    blob = hex_of("blob")
    Path(store.layout.blob(blob)).write_bytes(b"x")
    store.db.execute("UPDATE layers SET blob = ?, blob_size = 1", (blob,))
    remove(store, "alpine")
    lease = Lease(other := make_store(Path(store.root).parent))
    begun: list[str] = []

    def pull(statement: str) -> None:
        begun.append(statement)
        if begun.count("BEGIN IMMEDIATE") == 2:
            store.db.set_trace_callback(None)
            lease.protect([blob])

    store.db.set_trace_callback(pull)
    assert collect_garbage(store).layers == [hex_of("base")]
    assert os.path.exists(other.layout.blob(blob))
    lease.release()
    collect_garbage(store)
    assert not os.path.exists(other.layout.blob(blob))


def test_a_fresh_broken_download_is_kept_for_resuming_and_a_stale_one_is_not(store: Store) -> None:
    store.layout.create()
    fresh, stale = (Path(store.layout.tmp, f"{hex_of(word)}.partial") for word in ("fresh", "stale"))
    for path in (fresh, stale):
        path.write_bytes(b"half")
    os.utime(stale, (0, time.time() - 8 * 24 * 3600))
    collect_garbage(store)
    assert fresh.exists()
    assert not stale.exists()


def test_broken_downloads_go_when_asked_for_unless_somebody_goes_on_with_them(store: Store) -> None:
    store.layout.create()
    part = Path(store.layout.tmp, f"{hex_of('half')}.partial")
    part.write_bytes(b"half")
    with Lease(store):
        collect_garbage(store, downloads=True)
    assert part.exists(), "somebody is pulling"
    with BlobWriter(store.layout, hex_of("half"), resume=True):
        collect_garbage(store, downloads=True)
        assert part.exists(), "somebody writes there"
    collect_garbage(store, downloads=True)
    assert not part.exists()


def test_prune_removes_images_without_name_and_with_all_the_unused_ones(store: Store) -> None:
    dangling = put_image(store, Cmd=["dangling"])
    used = put_image(store, "docker.io/library/used:1", Cmd=["used"])
    unused = put_image(store, "docker.io/library/unused:1", Cmd=["unused"])
    put_container(store, "c", used)
    assert prune_images(store) == [dangling]
    assert prune_images(store, ["label=no=such"], all_unused=True) == []
    assert prune_images(store, all_unused=True) == [unused]
    assert [image.id for image in list_images(store.db)] == [used]


def listed(store: Store, *filters: str) -> set[str]:
    pairs = split_filters(filters)
    passes = image_filter(store.db, pairs)
    return {(image.names or ["<none>"])[0] for image in list_images(store.db, with_config=True) if passes(image)}


def test_filters_of_one_key_are_alternatives_and_different_keys_must_all_hold(store: Store) -> None:
    put_image(store, "quay.io/a/one:1", created="2024-01-01T00:00:00Z", Labels={"team": "red", "tier": "1"})
    put_image(store, "docker.io/library/two:2", created="2024-02-01T00:00:00Z", Labels={"team": "blue"})
    put_image(store, created="2024-03-01T00:00:00Z")
    assert listed(store) == {"quay.io/a/one:1", "docker.io/library/two:2", "<none>"}
    assert listed(store, "dangling=true") == {"<none>"}
    assert listed(store, "dangling=false", "label=team=red") == {"quay.io/a/one:1"}
    assert listed(store, "label=team", "label=tier") == {"quay.io/a/one:1"}
    assert listed(store, "label!=team") == {"<none>"}
    assert listed(store, "reference=two", "reference=quay.io/*/one") == {"quay.io/a/one:1", "docker.io/library/two:2"}
    assert listed(store, "before=two:2") == {"quay.io/a/one:1"}
    assert listed(store, "since=two:2") == {"<none>"}
    assert listed(store, "until=2024-02-15T00:00:00Z") == {"quay.io/a/one:1", "docker.io/library/two:2"}
    assert listed(store, "until=1h") == {"quay.io/a/one:1", "docker.io/library/two:2", "<none>"}


@pytest.mark.parametrize("text", ["dangling=maybe", "colour=red", "dangling", "until=yesterday"])
def test_a_filter_that_is_not_known_is_refused(store: Store, text: str) -> None:
    with pytest.raises(UsageError):
        listed(store, text)


def test_patterns_stop_at_slashes() -> None:
    assert matches("docker.io/library/alpine:3", "alp*")
    assert matches("docker.io/library/alpine:3", "alpine:3")
    assert matches("docker.io/me/alpine:3", "*/alpine")
    assert not matches("docker.io/me/alpine:3", "alp*")
    assert not matches("docker.io/library/alpine:3", "docker.io/*:3")


def test_history_puts_layers_beside_their_steps(store: Store) -> None:
    put_image(store, ALPINE, layers=("base", "top"))
    steps = history(store, need_image(store.db, "alpine"))
    assert [(step.created_by, step.size) for step in steps] == [("step top", 1000), ("step base", 1000)]
    assert steps[0].id
    assert steps[0].tags == [ALPINE]
    assert steps[1].id == ""
