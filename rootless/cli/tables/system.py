"""Options of the verbs that are about this host and this program."""

from __future__ import annotations

from rootless.cli.options import STR, Command, Option

_FORMAT = (Option("--format -f", STR, "Print with a Go template, or as json", metavar="TEMPLATE"),)

TABLE = {
    "doctor": Command("doctor", "Check all that this host must provide, and say how to mend what is missing.", _FORMAT),
    "info": Command("info", "Describe this host and the store.", _FORMAT),
    "version": Command("version", "Print the version.", _FORMAT),
}
