-- The broker in a file. Times are microseconds since the epoch.
CREATE TABLE queues (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE bindings (
    queue TEXT NOT NULL REFERENCES queues (name),
    pattern TEXT NOT NULL,
    PRIMARY KEY (queue, pattern)
) STRICT, WITHOUT ROWID;

-- Consumers that hold messages; one not seen for a while has died and gives them back.
CREATE TABLE consumers (
    id BLOB PRIMARY KEY,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: an id is a delivery tag and must never name another message.
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL REFERENCES queues (name),
    body BLOB NOT NULL,
    reason TEXT,
    handed_out INTEGER NOT NULL DEFAULT 0,
    consumer BLOB,
    published_at INTEGER NOT NULL
) STRICT;
CREATE INDEX messages_ready ON messages (queue, id) WHERE consumer IS NULL;
CREATE INDEX messages_out ON messages (consumer) WHERE consumer IS NOT NULL;
