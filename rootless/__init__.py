"""Containers without root and without a daemon."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

debug: Callable[[str], None] | None = None
"""With --log-level debug, takes a line about a step that is about to be done or has been decided.

None otherwise, which is asked before a line is put together: nothing is paid for it then. It stands here because this
package is loaded by whatever uses it. It writes to the standard error of the process, so a process whose standard
error is a container's does not call it.
"""
warns = True
"""Whether warnings are printed; not with --log-level error."""
