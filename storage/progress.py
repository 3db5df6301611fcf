"""What long work on images tells whoever is watching. The command line draws it; the library may ignore it."""

from __future__ import annotations


class Progress:
    """Ignores everything; subclasses show it. Methods are called from several threads."""

    def note(self, text: str) -> None:
        """Something that is going on, as a line for people."""

    def warn(self, text: str) -> None:
        """Something that may not be what the user wanted."""

    def layer(self, digest: str, total: int) -> None:
        """A layer of `total` bytes is going to be fetched; `digest` (hex) names it in the other calls."""

    def advance(self, digest: str, count: int) -> None:
        """`count` more bytes of the layer are here; negative where it begins again."""

    def done(self, digest: str, note: str = "") -> None:
        """The layer is complete; `note` says how where it was not fetched ("already here")."""
