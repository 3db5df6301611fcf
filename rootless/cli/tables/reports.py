"""Options of the verbs that tell what has happened."""

from __future__ import annotations

from rootless.cli.options import BOOL, LIST, STR, Command, Option

TABLE = {
    "events": Command(
        "events",
        "Print what happens to containers, images and volumes, as it happens.",
        (
            Option(
                "--filter -f",
                LIST,
                "Only those that match (container=, event=, image=, label=, type=, volume=, ...)",
                metavar="KEY=VALUE",
            ),
            Option("--format", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),
            Option("--no-trunc", BOOL, "Print ids in full (default: yes)", True),
            Option("--since", STR, "What has happened since this time, too (RFC 3339, or 10m)", metavar="TIME"),
            Option("--stream", BOOL, "Go on printing as it comes (default: yes); else end at once", True),
            Option("--until", STR, "End at this time (RFC 3339, or 10m: in ten minutes)", metavar="TIME"),
        ),
        examples=("rootless events --since 1h --filter event=died", "rootless events --stream=false --format json"),
    ),
}
