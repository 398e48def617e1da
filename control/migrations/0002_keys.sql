-- Access keys. The secret is kept as it is, since a signature can be verified only with it;
-- the file is its owner's alone.
CREATE TABLE access_keys (
    id         TEXT PRIMARY KEY,
    secret     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('administrator', 'host')),
    name       TEXT NOT NULL,
    -- arn:aws:iam::<account>:user/<name>; a host's identifier
    arn        TEXT NOT NULL,
    -- milliseconds since the epoch
    created_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

CREATE INDEX access_keys_by_arn ON access_keys (arn);
