"""The tables of the database, as a list of steps from one version to the next.

Digests (diffIDs, blobs, image ids) are lower-case hex of SHA-256, without "sha256:". Times are Unix seconds.
"""

from __future__ import annotations

from rootless.errors import StorageError
from storage.sqlite import Connection

_FIRST = """
CREATE TABLE images (
    id TEXT PRIMARY KEY,              -- digest of `config`
    config TEXT NOT NULL,             -- the OCI or Docker image configuration, byte for byte
    manifest BLOB NOT NULL,           -- byte for byte as it came, or as we made it
    manifest_digest TEXT NOT NULL,
    manifest_type TEXT NOT NULL,      -- media type
    size INTEGER NOT NULL,            -- bytes of the extracted layers
    created TEXT NOT NULL,            -- RFC 3339, from the configuration; "" where it has none
    created_unix REAL NOT NULL,       -- the same for sorting and ages; 0 where it has none
    added REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE image_names (            -- docker.io/library/alpine:latest
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX image_names_by_image ON image_names(image_id);
CREATE TABLE image_digests (          -- docker.io/library/alpine@sha256:...
    name TEXT PRIMARY KEY,
    image_id TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX image_digests_by_image ON image_digests(image_id);
CREATE TABLE image_layers (           -- position 0 is the lowest
    image_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (image_id, position)
) WITHOUT ROWID;
CREATE INDEX image_layers_by_layer ON image_layers(diff_id);
CREATE TABLE layers (
    diff_id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,            -- bytes extracted
    tar_size INTEGER NOT NULL,        -- bytes of the uncompressed tar
    blob TEXT,                        -- digest of the kept compressed blob, or NULL: rebuilt from the record
    blob_size INTEGER,
    media_type TEXT,                  -- of that blob
    id_map TEXT NOT NULL DEFAULT '',  -- the id map that it was extracted under
    created REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX layers_by_blob ON layers(blob) WHERE blob IS NOT NULL;
CREATE TABLE leases (                 -- digests that a running pull, load or import is about to refer to
    token TEXT NOT NULL,              -- name of a locked file in the directory `leases`
    digest TEXT NOT NULL,
    PRIMARY KEY (token, digest)
) WITHOUT ROWID;

CREATE TABLE containers (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    image_id TEXT NOT NULL,
    image_name TEXT NOT NULL,
    created REAL NOT NULL,
    request TEXT NOT NULL,            -- JSON: the options it was created with
    state TEXT NOT NULL,
    pid INTEGER NOT NULL DEFAULT 0,
    pid_start INTEGER NOT NULL DEFAULT 0,
    boot_id TEXT NOT NULL DEFAULT '',
    monitor_pid INTEGER NOT NULL DEFAULT 0,
    monitor_start INTEGER NOT NULL DEFAULT 0,
    exit_code INTEGER NOT NULL DEFAULT 0,
    started REAL NOT NULL DEFAULT 0,
    finished REAL NOT NULL DEFAULT 0,
    oom_killed INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    command TEXT NOT NULL DEFAULT '',
    ports TEXT NOT NULL DEFAULT '[]',
    labels TEXT NOT NULL DEFAULT '{}',
    auto_remove INTEGER NOT NULL DEFAULT 0,
    driver TEXT NOT NULL DEFAULT '',
    network TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
CREATE INDEX containers_by_image ON containers(image_id);
CREATE TABLE container_layers (       -- what its root file system is stacked of; outlives the image
    container_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (container_id, position)
) WITHOUT ROWID;
CREATE INDEX container_layers_by_layer ON container_layers(diff_id);

CREATE TABLE volumes (
    name TEXT PRIMARY KEY,
    driver TEXT NOT NULL DEFAULT 'local',
    created REAL NOT NULL,
    labels TEXT NOT NULL DEFAULT '{}',
    options TEXT NOT NULL DEFAULT '{}',
    anonymous INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE container_volumes (
    container_id TEXT NOT NULL,
    volume TEXT NOT NULL,
    PRIMARY KEY (container_id, volume)
) WITHOUT ROWID;
CREATE INDEX container_volumes_by_volume ON container_volumes(volume);

CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_SECOND = """
ALTER TABLE image_digests ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;  -- pulled by this digest: it is a name
"""

_THIRD = """
CREATE TABLE manifest_lists (         -- their names are rows of image_names, as an image's are
    id TEXT PRIMARY KEY,              -- random: what is in a list changes
    content BLOB NOT NULL,            -- the OCI image index, JSON
    created REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE manifest_list_members (  -- where what the index lists is to be had
    list_id TEXT NOT NULL,
    digest TEXT NOT NULL,             -- of the manifest
    source TEXT NOT NULL DEFAULT '',  -- docker://host/repository@sha256:..., or '' where it is an image of the store:
    config TEXT,                      -- ... whose rows are kept here, as rmi may take the image away
    manifest BLOB,
    manifest_type TEXT,
    PRIMARY KEY (list_id, digest)
) WITHOUT ROWID;
CREATE TABLE manifest_list_layers (
    list_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    diff_id TEXT NOT NULL,
    PRIMARY KEY (list_id, digest, diff_id)
) WITHOUT ROWID;
CREATE INDEX manifest_list_layers_by_layer ON manifest_list_layers(diff_id);
"""

_FOURTH = """
-- restart: the policy: '' (none), always, unless-stopped, on-failure or on-failure:N
ALTER TABLE containers ADD COLUMN restart TEXT NOT NULL DEFAULT '';
-- how often the policy has started it since the user has
ALTER TABLE containers ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
-- whether the user has ended it since its last start
ALTER TABLE containers ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;
CREATE TABLE container_dependencies (  -- containers that run before this one, and are not removed before it
    container_id TEXT NOT NULL,
    dependency TEXT NOT NULL,
    PRIMARY KEY (container_id, dependency)
) WITHOUT ROWID;
CREATE INDEX container_dependencies_by_dependency ON container_dependencies(dependency);
"""

_FIFTH = """
-- health: what its health check says: '' (none), starting, healthy or unhealthy
ALTER TABLE containers ADD COLUMN health TEXT NOT NULL DEFAULT '';
CREATE TABLE container_health (       -- what the checks have found since its last start; the log goes further back
    container_id TEXT PRIMARY KEY,
    streak INTEGER NOT NULL DEFAULT 0,  -- failures, one after the other
    startup INTEGER NOT NULL DEFAULT 0,  -- of the startup check: n successes, or -n failures, in a row
    started INTEGER NOT NULL DEFAULT 0,  -- whether the startup check has been passed
    log TEXT NOT NULL DEFAULT '[]'    -- JSON: objects with Start, End, ExitCode, Output, the oldest first
) WITHOUT ROWID;
"""

_SIXTH = """
-- cgroup: the directory of the control group that its processes are in; '' where it has none of its own
ALTER TABLE containers ADD COLUMN cgroup TEXT NOT NULL DEFAULT '';
"""

# step n leads to version n + 1; released steps are never edited
STEPS = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH, _SIXTH)


def migrate(connection: Connection, version: int) -> None:
    """Bring the database up to `version`, in one transaction. Raises StorageError where it is newer than that."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        current = connection.execute("PRAGMA user_version").fetchone()[0]
        if current > version:
            raise StorageError(
                f"opening the database {connection.path}: a newer rootless has written it"
                f" (format {current}; this one knows {version})",
                "upgrade rootless, or choose another store with --root",
            )
        for step in STEPS[current:version]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
