CREATE TABLE applications (
    id               TEXT PRIMARY KEY,
    name             TEXT NOT NULL UNIQUE,
    created_ms       INTEGER NOT NULL
) STRICT;
