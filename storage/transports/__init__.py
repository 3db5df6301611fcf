"""Images outside registries, by names with a transport (containers-transports(5)): archives, directories, and the store
of Podman.

    docker-archive:FILE[:NAME[:TAG] | :@INDEX]     oci-archive:FILE[:NAME | :@INDEX]     dir:DIRECTORY
    oci:DIRECTORY[:NAME | :@INDEX]                 containers-storage:[[DRIVER@ROOT]]NAME (read only)
"""

from __future__ import annotations

from storage.transports.places import Place, parse_place
from storage.transports.reading import Read, read_image
from storage.transports.writing import Written, write_image

__all__ = ["Place", "Read", "Written", "parse_place", "read_image", "write_image"]
