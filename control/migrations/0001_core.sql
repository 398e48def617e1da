-- Times are milliseconds since the epoch. JSON columns hold the shapes of the public API.

CREATE TABLE applications (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

-- The id stays when the group is renamed: the agents' ownership of files hangs on it.
CREATE TABLE deployment_groups (
    id             TEXT PRIMARY KEY,
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    name           TEXT NOT NULL,
    settings       TEXT NOT NULL,
    created_ms     INTEGER NOT NULL,
    UNIQUE (application_id, name)
) STRICT;

-- Custom configurations; the built-in ones are part of the program.
CREATE TABLE deployment_configs (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    minimum_type  TEXT NOT NULL,
    minimum_value INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL
) STRICT;

CREATE TABLE resource_tags (
    resource_id TEXT NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    PRIMARY KEY (resource_id, key)
) STRICT, WITHOUT ROWID;

-- On-premises instances. A deregistered one stays for the record; its name may be registered anew.
CREATE TABLE instances (
    arn             TEXT PRIMARY KEY,
    name            TEXT NOT NULL,
    identity_kind   TEXT NOT NULL,
    identity_arn    TEXT NOT NULL,
    registered_ms   INTEGER NOT NULL,
    deregistered_ms INTEGER,
    last_seen_ms    INTEGER
) STRICT;
CREATE UNIQUE INDEX instances_registered_name ON instances (name) WHERE deregistered_ms IS NULL;
CREATE UNIQUE INDEX instances_registered_identity ON instances (identity_arn) WHERE deregistered_ms IS NULL;
CREATE INDEX instances_name ON instances (name);

CREATE TABLE instance_tags (
    instance_arn TEXT NOT NULL REFERENCES instances (arn) ON DELETE CASCADE,
    key          TEXT NOT NULL,
    value        TEXT NOT NULL,
    PRIMARY KEY (instance_arn, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
    seq            INTEGER PRIMARY KEY AUTOINCREMENT,
    application_id TEXT NOT NULL REFERENCES applications (id) ON DELETE CASCADE,
    location       TEXT NOT NULL,
    description    TEXT,
    s3_bucket      TEXT,
    s3_key         TEXT,
    registered_ms  INTEGER NOT NULL,
    first_used_ms  INTEGER,
    last_used_ms   INTEGER,
    UNIQUE (application_id, location)
) STRICT;

-- Deployments outlive their group and application: ids and names are kept here.
CREATE TABLE deployments (
    seq                    INTEGER PRIMARY KEY AUTOINCREMENT,
    id                     TEXT NOT NULL UNIQUE,
    application_id         TEXT NOT NULL,
    application_name       TEXT NOT NULL,
    group_id               TEXT NOT NULL,
    group_name             TEXT NOT NULL,
    config_name            TEXT NOT NULL,
    status                 TEXT NOT NULL,
    creator                TEXT NOT NULL,
    revision               TEXT NOT NULL,
    -- The revision together with the digest of its content, where known: equal means equal content.
    revision_key           TEXT NOT NULL,
    previous_revision      TEXT,
    s3_bucket              TEXT,
    s3_key                 TEXT,
    -- What the embedded S3 held at the creation, so that every host gets the same bytes.
    pinned_version         TEXT,
    pinned_sha256          TEXT,
    reuse_archive_from     TEXT,
    options                TEXT NOT NULL,
    messages               TEXT NOT NULL,
    created_ms             INTEGER NOT NULL,
    started_ms             INTEGER,
    -- When it counts as taking too long.
    deadline_ms            INTEGER NOT NULL,
    completed_ms           INTEGER,
    error_code             TEXT,
    error_message          TEXT,
    -- Why nothing more is started, once that is so.
    halt                   TEXT,
    rollback_deployment_id TEXT,
    rollback_of            TEXT,
    rollback_message       TEXT,
    fleet                  INTEGER NOT NULL DEFAULT 0,
    minimum_healthy        INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deployments_by_group ON deployments (group_id, status, seq);
CREATE INDEX deployments_active ON deployments (group_id) WHERE completed_ms IS NULL;
CREATE INDEX deployments_by_bundle ON deployments (s3_bucket, s3_key);

CREATE TABLE targets (
    id              INTEGER PRIMARY KEY,
    deployment_id   TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
    instance_arn    TEXT NOT NULL,
    instance_name   TEXT NOT NULL,
    host_identifier TEXT NOT NULL,
    -- Place in the order of the fleet, from 0.
    rank            INTEGER NOT NULL,
    status          TEXT NOT NULL,
    updated_ms      INTEGER NOT NULL,
    UNIQUE (deployment_id, rank),
    UNIQUE (deployment_id, instance_arn)
) STRICT;
CREATE INDEX targets_by_status ON targets (deployment_id, status, rank);
CREATE INDEX targets_by_host ON targets (host_identifier, deployment_id);

CREATE TABLE events (
    target_id   INTEGER NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
    position    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    started_ms  INTEGER,
    ended_ms    INTEGER,
    error_code  TEXT,
    script_name TEXT,
    message     TEXT,
    log_tail    TEXT,
    PRIMARY KEY (target_id, position)
) STRICT, WITHOUT ROWID;

-- One for each event that was given to a host.
CREATE TABLE commands (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    target_id       INTEGER NOT NULL REFERENCES targets (id) ON DELETE CASCADE,
    position        INTEGER NOT NULL,
    deployment_id   TEXT NOT NULL,
    group_id        TEXT NOT NULL,
    host_identifier TEXT NOT NULL,
    name            TEXT NOT NULL,
    state           TEXT NOT NULL,
    -- Since when the host could have taken it.
    waiting_ms      INTEGER NOT NULL,
    -- Offered: when it may be offered again.
    lease_ms        INTEGER,
    -- Acknowledged: when it counts as lost.
    deadline_ms     INTEGER,
    ended_ms        INTEGER,
    UNIQUE (target_id, position)
) STRICT;
-- Queries for outstanding commands name the states in these words, or the index is not used.
CREATE INDEX commands_outstanding ON commands (host_identifier, seq)
    WHERE state IN ('Pending', 'Offered', 'Acknowledged');
CREATE INDEX commands_by_deployment ON commands (deployment_id, state);

-- What a group's hosts were last given, for the order of the next deployment.
CREATE TABLE group_hosts (
    group_id     TEXT NOT NULL,
    instance_arn TEXT NOT NULL,
    last_status  TEXT NOT NULL,
    -- Revision key of the last success.
    revision_key TEXT,
    PRIMARY KEY (group_id, instance_arn)
) STRICT, WITHOUT ROWID;
