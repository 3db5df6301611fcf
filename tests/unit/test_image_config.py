"""Configurations that are not what they should be, and changes to those that are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rootless.errors import ImageError, UsageError
from storage.documents.config import LIMIT, parse_config, unix_time
from storage.documents.instructions import apply_changes

ROOTFS = {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"config": None},
        {"config": {}, "history": None, "created": None, "architecture": None},
        {"config": {"Env": None, "Cmd": None, "Entrypoint": None, "Labels": None, "Volumes": None, "User": None}},
        {"config": {"Env": ["WITHOUT_EQUALS"], "User": "99999999999", "WorkingDir": "../.."}},
        {"config": {"User": "root:nogroup"}},
    ],
)
def test_absent_and_null_and_odd_fields_are_fine(config: dict[str, Any]) -> None:
    assert parse_config(json.dumps({"rootfs": ROOTFS, **config}).encode(), "here")["rootfs"] == ROOTFS


@pytest.mark.parametrize(
    "config, what",
    [
        ([], "the image configuration is not an object"),
        ({}, "no list rootfs.diff_ids"),
        ({"rootfs": {"diff_ids": None}}, "no list rootfs.diff_ids"),
        ({"rootfs": {"diff_ids": ["sha256:short"]}}, "not a sha256 digest"),
        ({"rootfs": {"diff_ids": ["sha256:../../" + "0" * 58]}}, "not a sha256 digest"),
        ({"rootfs": {"diff_ids": [7]}}, "not a sha256 digest"),
        ({"rootfs": ROOTFS, "config": []}, "config is not an object"),
        ({"rootfs": ROOTFS, "config": {"Entrypoint": "/bin/sh"}}, "config.Entrypoint is not a list of strings"),
        ({"rootfs": ROOTFS, "config": {"Entrypoint": [1]}}, "config.Entrypoint is not a list of strings"),
        ({"rootfs": ROOTFS, "config": {"Env": {"A": "b"}}}, "config.Env is not a list of strings"),
        ({"rootfs": ROOTFS, "config": {"Env": ["A=\0"]}}, "config.Env has a NUL"),
        ({"rootfs": ROOTFS, "config": {"Volumes": {"/a\0b": {}}}}, "config.Volumes has a NUL"),
        ({"rootfs": ROOTFS, "config": {"Env": ["A=\ud800"]}}, "config.Env has half a character"),
        ({"rootfs": ROOTFS, "config": {"Cmd": ["\udfff"]}}, "config.Cmd has half a character"),
        ({"rootfs": ROOTFS, "config": {"Labels": {"a": "\udc80"}}}, "config.Labels has half a character"),
        ({"rootfs": ROOTFS, "config": {"Labels": {"\udc80": "a"}}}, "config.Labels has half a character"),
        ({"rootfs": ROOTFS, "config": {"User": 7}}, "User is not a string"),
        ({"rootfs": ROOTFS, "config": {"Labels": {"a": 1}}}, "config.Labels is not an object of strings"),
        ({"rootfs": ROOTFS, "history": [1]}, "history is not a list of objects"),
    ],
)
def test_fields_of_the_wrong_type_are_named(config: Any, what: str) -> None:
    with pytest.raises(ImageError, match=what):
        parse_config(json.dumps(config).encode(), "here")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"{}" + b" " * LIMIT])
def test_what_is_no_json_or_too_large_is_an_image_error(data: bytes) -> None:
    with pytest.raises(ImageError):
        parse_config(data, "here")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_json_value_gets_more_than_an_image_error(value: Any) -> None:
    for config in (value, {"rootfs": value}, {"rootfs": ROOTFS, "config": value, "history": value}):
        try:
            parse_config(json.dumps(config).encode(), "here")
        except ImageError:
            pass


def test_times() -> None:
    assert unix_time("2024-01-02T03:04:05Z") == 1704164645
    assert unix_time("2024-01-02T03:04:05.123456789+01:00") == pytest.approx(1704161045.123456)
    assert unix_time("0001-01-01T00:00:00Z") < 0
    assert unix_time("") == unix_time(None) == unix_time("yesterday") == 0


def changed(*changes: str, **config: Any) -> dict[str, Any]:
    apply_changes(config, changes)
    return config


def test_changes_are_those_of_a_containerfile() -> None:
    assert changed('CMD ["/bin/sh", "-l"]') == {"Cmd": ["/bin/sh", "-l"]}
    assert changed("CMD=/bin/sh -l") == {"Cmd": ["/bin/sh", "-c", "/bin/sh -l"]}
    assert changed("cmd top") == {"Cmd": ["/bin/sh", "-c", "top"]}
    assert changed('ENTRYPOINT ["/e"]', Cmd=["old"]) == {"Entrypoint": ["/e"]}
    assert changed('ENTRYPOINT ["/e"]', 'CMD ["new"]') == {"Entrypoint": ["/e"], "Cmd": ["new"]}
    assert changed('ENV A=b C="d e" F=g\\ h', "ENV A=x", "ENV OLD some words") == {
        "Env": ["C=d e", "F=g h", "A=x", "OLD=some words"]
    }
    assert changed("EXPOSE 80 53/udp 8000-8001/tcp") == {
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}
    }
    assert changed("LABEL a=b c='d e'", Labels={"x": "y"}) == {"Labels": {"x": "y", "a": "b", "c": "d e"}}
    assert changed("STOPSIGNAL SIGINT", "USER 1:2", "WORKDIR /srv", "WORKDIR app") == {
        "StopSignal": "SIGINT",
        "User": "1:2",
        "WorkingDir": "/srv/app",
    }
    assert changed('VOLUME ["/a b"]', "VOLUME /c /d") == {"Volumes": {"/a b": {}, "/c": {}, "/d": {}}}
    assert changed("ONBUILD RUN make") == {"OnBuild": ["RUN make"]}


@pytest.mark.parametrize(
    "change", ["", "FROM x", "CMD", "ENV A", "EXPOSE http", "EXPOSE 70000", "EXPOSE 9-8", 'LABEL a="b', "RUN;ls"]
)
def test_a_wrong_change_is_refused_and_named(change: str) -> None:
    with pytest.raises(UsageError, match="--change"):
        changed(change)
