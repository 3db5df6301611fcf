"""Whether a store is what it should be. Nothing is changed here; `storage.upkeep.check.repair` mends.

database      opens, is intact, and its rows fit together
images        configurations, manifests and lists of layers
lists         manifest lists: their indexes, and what they keep of their members
layers        every extracted file against the layer's record (replay, compare), and the tar against its diffID
blobs         against their digests
leftovers     what killed processes have left, once it is old enough
"""

from __future__ import annotations

from dataclasses import dataclass, field

DATABASE = "database"
IMAGE = "image"
LIST = "manifest list"
LAYER = "layer"
BLOB = "blob"
CONTAINER = "container"
VOLUME = "volume"
LEFTOVER = "leftover"


@dataclass(slots=True)
class Damage:
    """One thing that is not as it should be.

    `name`: id or digest in hex, name or path. `what`: what is wrong, a line for each thing. `images`: names or ids of
    those that it concerns. `mend`: what the user can do. `key` says to `repair` what it is about: see there.
    """

    kind: str
    name: str
    what: list[str]
    mend: str
    images: list[str] = field(default_factory=list)
    key: str = ""
    mended: bool = False


@dataclass(slots=True)
class Checked:
    """What was looked at, by kind, and what was found."""

    counts: dict[str, int] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
