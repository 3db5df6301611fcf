"""The database: does it open, is it intact, do its rows fit together."""

from __future__ import annotations

from collections.abc import Iterator

from rootless.errors import RootlessError
from storage.sqlite import Connection
from storage.store import Store
from storage.upkeep.check import DATABASE, Damage

MISSING_LAYER = "layer row"
DANGLING = "dangling rows"

# What a row needs: table, column -> the tables and columns of which one has it.
_REFERENCES = (
    ("image_names", "image_id", (("images", "id"), ("manifest_lists", "id"))),
    ("image_digests", "image_id", (("images", "id"), ("manifest_lists", "id"))),
    ("image_layers", "image_id", (("images", "id"),)),
    ("container_layers", "container_id", (("containers", "id"),)),
    ("container_volumes", "container_id", (("containers", "id"),)),
    ("container_volumes", "volume", (("volumes", "name"),)),
    ("manifest_list_members", "list_id", (("manifest_lists", "id"),)),
    ("manifest_list_layers", "list_id", (("manifest_lists", "id"),)),
)

_WITHOUT_ROW = """SELECT diff_id FROM (SELECT diff_id FROM image_layers UNION SELECT diff_id FROM container_layers
 UNION SELECT diff_id FROM manifest_list_layers) WHERE diff_id NOT IN (SELECT diff_id FROM layers) ORDER BY diff_id"""

RESET = "nothing of it can be read: `rootless system reset` deletes the store, then pull or load its images again"


def check_database(store: Store) -> Iterator[Damage]:
    """What is wrong with it. Where it cannot be read at all, that is the only thing."""
    path = store.layout.database
    try:
        connection = store.db
        lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    except RootlessError as error:
        mend = error.hint if "newer" in error.message and error.hint else RESET
        yield Damage(DATABASE, path, [error.message], mend, key=RESET)
        return
    if lines != ["ok"]:
        yield Damage(DATABASE, path, lines, RESET, key=RESET)
        return
    yield from _references(connection)


def is_readable(damages: list[Damage]) -> bool:
    """Whether what was found leaves a database to work with."""
    return not any(damage.key == RESET for damage in damages)


def _references(connection: Connection) -> Iterator[Damage]:
    for table, column, owners in _REFERENCES:
        query = f"SELECT {column}, count(*) FROM {table} {dangling(column, owners)} GROUP BY {column}"
        for name, count in connection.execute(query).fetchall():
            yield Damage(
                DATABASE,
                str(name),
                [f"{count} rows of {table} refer to it, and there is no such {owners[0][0].removesuffix('s')}"],
                "rootless system check --repair (these rows say nothing that is of use)",
                key=f"{DANGLING}:{table}:{column}",
            )
    for (diff_id,) in connection.execute(_WITHOUT_ROW).fetchall():
        yield Damage(
            DATABASE,
            diff_id,
            ["the layer is used, and has no row"],
            "rootless system check --repair (its sizes are found out anew)",
            key=MISSING_LAYER,
        )


def dangling(column: str, owners: tuple[tuple[str, str], ...]) -> str:
    """The condition for rows whose `column` is in none of the owners' columns."""
    return "WHERE " + " AND ".join(f"{column} NOT IN (SELECT {key} FROM {table})" for table, key in owners)


def dangling_in(table: str, column: str) -> str:
    """The condition for the rows of `table` that `check_database` complains of."""
    owners = next(owners for name, key, owners in _REFERENCES if (name, key) == (table, column))
    return dangling(column, owners)
