"""What killed or failed work leaves in a store goes with the next work on layers, and nothing younger does."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from rootless.errors import StorageError
from rootless.runtime.seccomp_profile import program
from storage.database import open_database
from storage.drivers import choose_driver
from storage.layers.store import LayerStore
from storage.layout import Layout
from tests.support.command import Rootless
from tests.support.extraction import Layers, member, tar


def die_in(work: object, call: str) -> None:
    """Run `work` in a child that is killed when it calls the function `call` of os."""
    pid = os.fork()
    if not pid:
        setattr(os, call, lambda *_, **__: os.kill(os.getpid(), 9))
        assert callable(work)
        work()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 9


def make_old(directory: Path) -> None:
    for path in directory.rglob("*"):
        os.utime(path, (0, time.time() - 3700), follow_symlinks=False)


def test_drafts_of_killed_processes_go_after_an_hour(fresh: Rootless) -> None:
    layout = Layout(str(fresh.root))
    layout.create()
    fresh("images")
    root, tmp = fresh.root, fresh.root / "tmp"
    (root / "db.sqlite").rename(root / "kept")
    die_in(lambda: open_database(str(root / "db.sqlite")), "link")
    (root / "kept").rename(root / "db.sqlite")
    die_in(lambda: choose_driver(layout, None), "rename")
    (tmp / "probe-0123").mkdir()
    (tmp / "probe-0123" / "upper").mkdir()
    die_in(lambda: program(None, [], str(root / "seccomp")), "rename")

    def drafts() -> list[str]:
        found = [*root.glob("*.new-*"), *tmp.iterdir(), *(root / "seccomp").iterdir()]
        return sorted({path.name.split("-")[0] for path in found})

    left = ["db.sqlite.new", "driver", "new", "probe"]
    assert drafts() == left
    fresh("image", "prune", "-f")
    assert drafts() == left, "somebody may be at work on them"
    make_old(root)
    fresh("image", "prune", "-f")
    assert drafts() == []
    assert (root / "db.sqlite").exists()


def test_a_layer_that_cannot_be_begun_leaves_no_descriptor_and_no_lock(tmp_path: Path) -> None:
    layers = Layers(tmp_path)
    layers.put(tar(member("warm")))
    before = sorted(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    failures = 0
    numbers = range(int(max(before, key=int)) + 10)
    unused = [number for number in numbers if not os.path.exists(f"/proc/self/fd/{number}")]
    for spare in range(1, 9):
        resource.setrlimit(resource.RLIMIT_NOFILE, (unused[spare], hard))
        try:
            layers.store.begin().abort()
        except (StorageError, OSError):
            failures += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert sorted(os.listdir("/proc/self/fd")) == before, spare
    assert failures > 3
    LayerStore(layers.layout, lambda: layers.namespace).sweep()
    assert layers.leftovers() == []
    layers.close()
