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
    published_at INTEGER NOT NULL, -- for the first time
    attempts INTEGER NOT NULL DEFAULT 0, -- that failed
    reason TEXT, -- of the last failure
    returns_to TEXT REFERENCES queues (name), -- at due_at; of a message that waits for its next attempt
    due_at INTEGER,
    dead_letter_id BLOB, -- of a message in a dead-letter queue
    dead_lettered_at INTEGER,
    handed_out INTEGER NOT NULL DEFAULT 0,
    consumer BLOB,
    CHECK ((returns_to IS NULL) = (due_at IS NULL))
) STRICT;
CREATE INDEX messages_ready ON messages (queue, id) WHERE consumer IS NULL;
CREATE INDEX messages_out ON messages (consumer) WHERE consumer IS NOT NULL;
CREATE UNIQUE INDEX messages_dead ON messages (queue, dead_letter_id) WHERE dead_letter_id IS NOT NULL;
CREATE INDEX messages_due ON messages (due_at) WHERE due_at IS NOT NULL;
