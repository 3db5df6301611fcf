"""What is known of an image, in the words of `podman image inspect` and `podman history`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from rootless.jsontext import loads
from storage.documents.config import unix_time
from storage.lookup import Image
from storage.store import Store


def inspect_image(store: Store, image: Image) -> dict[str, Any]:
    """The object that `image inspect` prints (Podman's keys; lists and objects instead of null)."""
    row = store.db.execute("SELECT manifest, manifest_type FROM images WHERE id = ?", (image.id,)).fetchone()
    manifest: dict[str, Any] = loads(bytes(row[0])) if row else {}
    config = image.config
    inner: dict[str, Any] = config.get("config") or {}
    steps = config.get("history") or []
    came_from = [
        found[0] for found in store.db.execute("SELECT name FROM image_digests WHERE image_id = ?", (image.id,))
    ]
    described = {
        "Id": image.id,
        "Digest": image.digest,
        "RepoTags": sorted(image.names),
        "RepoDigests": sorted({*came_from, *(f"{name.rpartition(':')[0]}@{image.digest}" for name in image.names)}),
        "Parent": "",
        "Comment": (steps[-1].get("comment") or "") if steps else "",
        "Created": image.created,
        "Config": inner,
        "Version": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Architecture": config.get("architecture") or "",
        "Os": config.get("os") or "",
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": {"Name": store.driver, "Data": _directories(store, image)},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{diff_id}" for diff_id in image.diff_ids]},
        "Labels": inner.get("Labels") or {},
        "Annotations": manifest.get("annotations") or {},
        "ManifestType": row[1] if row else "",
        "User": inner.get("User") or "",
        "History": steps,
        "NamesHistory": sorted(image.names),
    }
    if config.get("variant"):
        described["Variant"] = config["variant"]
    if inner.get("Healthcheck"):
        described["Healthcheck"] = inner["Healthcheck"]
    return described


def _directories(store: Store, image: Image) -> dict[str, str]:
    """The extracted layers, the highest apart, as the overlay drivers stack them."""
    if not image.diff_ids:
        return {}
    *lower, upper = (store.layout.diff(diff_id) for diff_id in image.diff_ids)
    return {"LowerDir": ":".join(reversed(lower)), "UpperDir": upper} if lower else {"UpperDir": upper}


@dataclass(frozen=True, slots=True)
class Step:
    """One line of `history`. `id` is the image's for the newest step, else ""; `created`: Unix seconds."""

    id: str
    created: float
    created_text: str
    created_by: str
    size: int
    comment: str
    tags: list[str]


def history(store: Store, image: Image) -> list[Step]:
    """The steps that made the image, newest first. Layers that its configuration does not explain come first."""
    marks = ",".join("?" * len(image.diff_ids))
    sizes = dict(store.db.execute(f"SELECT diff_id, size FROM layers WHERE diff_id IN ({marks})", image.diff_ids))
    layers = [sizes.get(diff_id, 0) for diff_id in image.diff_ids]
    told = image.config.get("history") or []
    unexplained = max(0, len(layers) - sum(not step.get("empty_layer") for step in told))
    steps: list[dict[str, Any]] = [{} for _ in range(unexplained)] + list(told)
    lines = []
    for number, step in enumerate(steps):
        size = layers.pop(0) if layers and not step.get("empty_layer") else 0
        newest = number == len(steps) - 1
        created = str(step.get("created") or image.created)
        lines.append(
            Step(
                image.id if newest else "",
                unix_time(created) or time.time(),
                created,
                str(step.get("created_by") or ""),
                size,
                str(step.get("comment") or ""),
                sorted(image.names) if newest else [],
            )
        )
    return lines[::-1]
