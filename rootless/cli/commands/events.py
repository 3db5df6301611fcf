"""`events`: what has happened to the store and its containers, and what happens."""

from __future__ import annotations

import time
from collections.abc import Callable

from rootless.cli.event_filters import event_filter
from rootless.cli.options import Opts
from rootless.cli.output import write
from rootless.cli.settings import Settings
from rootless.cli.times import moment_of, seconds_of
from rootless.errors import UsageError
from storage.event_log import Event, EventLog


def command(settings: Settings, opts: Opts) -> int:
    """Print new events as they come; with --since or --until also, with --stream=false only, those that are recorded.

    Ends at --until, else with --stream=false at once, else never.
    """
    passes = event_filter(opts.filter)
    since = moment_of(opts.since) if opts.since else None
    until = _end(opts.until) if opts.until else None
    show = _shown(opts.format, opts.no_trunc)
    log = EventLog(settings.store().layout.root, only_new=opts.stream and since is None and until is None)
    batches = log.follow(until) if opts.stream else [log.read()]
    for batch in batches:
        write("".join([show(event) for event in batch if _is_between(event, since, until) and passes(event)]))
    return 0


def _is_between(event: Event, since: float | None, until: float | None) -> bool:
    moment = event["t"] / 1e9
    return (since is None or moment >= since) and (until is None or moment <= until)


def _end(text: str) -> float:
    """The moment of --until. A span of time lies ahead, as with Podman; one with a minus sign is past."""
    try:
        if text.startswith("-"):
            return time.time() - seconds_of(text[1:])
        return time.time() + seconds_of(text)
    except ValueError:
        return moment_of(text)


def _shown(template: str | None, full: bool) -> Callable[[Event], str]:
    """What renders an event, as a line or several."""
    from rootless.cli.event_view import as_json, fields, line

    if not template:
        return lambda event: line(event, full) + "\n"
    if template == "json":
        return lambda event: as_json(event) + "\n"
    if template.startswith("table "):
        raise UsageError("events: --format table: events have no table", "leave the word table away")
    from rootless.cli.template import compile_template, unescape

    render = compile_template(unescape(template))
    return lambda event: render(fields(event)).rstrip("\n") + "\n"
