"""`diff`: what a container or an image has changed."""

from __future__ import annotations

from rootless.cli.options import Opts
from rootless.cli.output import lines, pretty_json, printable, write
from rootless.cli.settings import Settings
from rootless.engine.files.views import diff
from rootless.errors import UsageError

_KEYS = {"changed": "C", "added": "A", "deleted": "D"}


def command(settings: Settings, opts: Opts) -> int:
    """Print one line for each change, or JSON with Podman's keys."""
    if opts.format not in (None, "", "json"):
        raise UsageError("only supported value for '--format' is 'json'")
    store = settings.store()
    names = list(opts.names)
    if opts.latest:
        if names:
            raise UsageError("diff: --latest and the name of a container exclude each other")
        from rootless.engine.records import latest

        names = [latest(store.db).id]
    if not 1 <= len(names) <= 2:
        raise UsageError("diff: name one container or image, or two to compare", "usage: rootless diff NAME [OTHER]")
    found = diff(store, names[0], names[1] if len(names) == 2 else None, opts.kind)
    if opts.format == "json":
        listed = {key: [path for kind, path in found if kind == letter] for key, letter in _KEYS.items()}
        write(pretty_json({key: paths for key, paths in listed.items() if paths}, "     ") + "\n")
    else:
        lines(f"{kind} {printable(path)}" for kind, path in found)
    return 0
