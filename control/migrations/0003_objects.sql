-- The embedded S3. Contents lie in the data directory under objects/, named by `blob`;
-- times are milliseconds since the epoch.
CREATE TABLE buckets (
    name       TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT;

-- Every version of every object. A delete marker is a version without content.
CREATE TABLE objects (
    -- order of the versions
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    bucket        TEXT NOT NULL REFERENCES buckets (name),
    key           TEXT NOT NULL,
    version_id    TEXT NOT NULL UNIQUE,
    is_latest     INTEGER NOT NULL CHECK (is_latest IN (0, 1)),
    delete_marker INTEGER NOT NULL CHECK (delete_marker IN (0, 1)),
    blob          TEXT UNIQUE,
    -- bytes
    size          INTEGER NOT NULL DEFAULT 0,
    -- without quotes: hexadecimal MD5, or for an upload in parts that of the parts' MD5s and their number
    etag          TEXT,
    -- of the whole content, hexadecimal
    sha256        TEXT,
    -- another checksum of the whole content that the client named: algorithm and base64
    checksum_algorithm TEXT,
    checksum_value     TEXT,
    -- JSON: Content-Type and its like, and the user's metadata
    headers       TEXT NOT NULL DEFAULT '{}',
    created_at    INTEGER NOT NULL,
    CHECK (delete_marker = 1 OR (blob IS NOT NULL AND etag IS NOT NULL AND sha256 IS NOT NULL))
) STRICT;

CREATE UNIQUE INDEX objects_latest ON objects (bucket, key) WHERE is_latest = 1;
CREATE INDEX objects_versions ON objects (bucket, key, id);

-- Uploads in parts that were begun and neither completed nor aborted.
CREATE TABLE uploads (
    id                 TEXT PRIMARY KEY,
    bucket             TEXT NOT NULL REFERENCES buckets (name),
    key                TEXT NOT NULL,
    checksum_algorithm TEXT,
    checksum_type      TEXT CHECK (checksum_type IN ('FULL_OBJECT', 'COMPOSITE')),
    headers            TEXT NOT NULL,
    created_at         INTEGER NOT NULL
) STRICT;

CREATE INDEX uploads_by_key ON uploads (bucket, key);

CREATE TABLE upload_parts (
    upload_id      TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    blob           TEXT NOT NULL UNIQUE,
    size           INTEGER NOT NULL,
    etag           TEXT NOT NULL,
    -- of the upload's algorithm, base64
    checksum_value TEXT,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (upload_id, number)
) STRICT;
