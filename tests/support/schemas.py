"""The JSON schemas of the OCI image specification, from Debian's golang-github-opencontainers-image-spec-dev."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

PLACE = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
INDEX, MANIFEST, CONFIG, LAYOUT = (
    f"{name}-schema.json" for name in ("image-index", "image-manifest", "config", "image-layout")
)


def need_schemas() -> None:
    """Skip where the package is missing; in CI that fails."""
    if not PLACE.is_dir():
        message = "not installed: golang-github-opencontainers-image-spec-dev (contrib/test installs it)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def validate(data: bytes, schema: str) -> dict[str, Any]:
    """The JSON object, which the schema must accept; what it does not like fails the test."""
    found: dict[str, Any] = json.loads(data)
    faults = [f"{list(fault.path)}: {fault.message}" for fault in _validator(schema).iter_errors(found)]
    assert not faults, f"{schema}: {faults}"
    return found


@cache
def _validator(schema: str) -> Draft4Validator:
    registry: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
    return Draft4Validator(_load(schema), registry=registry)


def _retrieve(uri: str) -> Resource[Any]:
    return Resource.from_contents(_load(uri.rpartition("/")[2]), default_specification=DRAFT4)


def _load(name: str) -> Any:
    """The files refer to one another by their names, and call themselves something else: that is taken away."""
    return json.loads((PLACE / name).read_text(), object_hook=_without_id)


def _without_id(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "id" or not isinstance(item, str)}
