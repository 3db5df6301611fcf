"""What loads our own modules quickly, in an installation as small as can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
PROBE = """
import sys
sys.path.append({place!r})
from rootless.finder import install
install()
import rootless.inner.thing as thing
finder = type(thing.__loader__).__module__
print(thing.VALUE, thing.__file__, thing.__spec__.cached, finder, sys.modules["rootless.inner"].__path__)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    package = tmp_path / "place/rootless"
    (package / "inner").mkdir(parents=True)
    shutil.copy(TREE / "rootless/finder.py", package)
    (package / "__init__.py").touch()
    (package / "inner/__init__.py").touch()
    (package / "inner/thing.py").write_text("VALUE = 1\n")
    return tmp_path / "place"


def told(place: Path, code: str = PROBE) -> str:
    words = [sys.executable, "-I", "-S", "-c", code.format(place=str(place))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_modules_say_where_they_come_from(place: Path) -> None:
    inner = place / "rootless/inner"
    compiled = inner / f"__pycache__/thing.{sys.implementation.cache_tag}.pyc"
    expected = f"1 {inner}/thing.py {compiled} rootless.finder ['{inner}']"
    assert not compiled.exists()
    assert told(place) == expected
    assert compiled.exists(), "importlib's own loader has compiled it"
    assert told(place) == expected


def test_a_source_that_has_changed_counts(place: Path) -> None:
    source = place / "rootless/inner/thing.py"
    assert told(place).startswith("1 ")
    status = source.stat()
    source.write_text("VALUE = 22\n")  # another size, the same time
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert told(place).startswith("22 ")
    source.write_text("VALUE = 33\n")  # the same size, another time
    os.utime(source, (1, 1))
    assert told(place).startswith("33 ")
    assert told(place).startswith("33 ")


def test_a_compiled_file_is_used_and_one_of_another_python_is_not(place: Path) -> None:
    told(place)
    compiled = next((place / "rootless/inner/__pycache__").glob("thing.*"))
    content = compiled.read_bytes()
    compiled.write_bytes(content.replace(b"VALUE", b"OTHER"))
    assert "has no attribute 'VALUE'" in told(place), "the compiled file was not read"
    compiled.write_bytes(b"\0\0\0\0" + content[4:].replace(b"VALUE", b"OTHER"))
    assert told(place).startswith("1 ")


def test_large_and_cut_files_are_importlibs(place: Path) -> None:
    source = place / "rootless/inner/thing.py"
    source.write_text(f"VALUE = {'x' * 80_000!r}\n")
    assert told(place) == told(place) != ""
    assert told(place).startswith("x" * 80_000)
    source.write_text("VALUE = 5\n")
    told(place)
    compiled = next((place / "rootless/inner/__pycache__").glob("thing.*"))
    compiled.write_bytes(compiled.read_bytes()[:10])
    assert told(place).startswith("5 ")


def test_what_is_not_ours_or_not_there_is_left_to_others(place: Path) -> None:
    assert told(place, "import json" + PROBE).startswith("1 ")
    code = PROBE.replace("import rootless.inner", "import storage, rootless.inner")
    assert told(place, code) == "ModuleNotFoundError: No module named 'storage'"
    code = PROBE.replace("inner.thing as", "inner.missing as")
    assert told(place, code) == "ModuleNotFoundError: No module named 'rootless.inner.missing'"
