"""Deleting what a test's store leaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def remove_store(place: Path) -> None:
    """Delete a store whose files partly belong to subordinate ids."""
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        code = (
            "import sys; from rootless.kernel.files import remove_tree; "
            "from rootless.kernel.idmaps import default_user_map; from rootless.kernel.userns import UserNamespace; "
            "UserNamespace.create(default_user_map()).run(remove_tree, sys.argv[1])"
        )
        subprocess.run([sys.executable, "-c", code, str(place)], check=False)
