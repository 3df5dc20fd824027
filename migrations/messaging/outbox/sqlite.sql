-- The outbox of a service that publishes: copied into that service's own first migration.
-- `event` is the JSON text as it will be published, byte for byte. Times are microseconds.
CREATE TABLE outbox (
    id BLOB PRIMARY KEY,
    event TEXT NOT NULL,
    due_at INTEGER NOT NULL,
    lease_token BLOB,
    lease_until INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX outbox_due ON outbox (due_at, id);
