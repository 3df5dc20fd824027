-- What operators are told, and how much waits. Times are microseconds.

-- Written in the transaction that causes an event, published by the relay.
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

-- What waits for each subscription, as it was measured last; nothing for those for which nothing does.
CREATE TABLE backlogs (
    subscription_id BLOB PRIMARY KEY,
    waiting INTEGER NOT NULL,
    -- Those of them with an attempt under way.
    delivering INTEGER NOT NULL,
    oldest_at INTEGER NOT NULL,
    -- The earliest time at which one without an attempt under way is due.
    due_at INTEGER,
    -- Operators have been told that it grows, and it has not calmed down since.
    announced INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: whose turn it is to measure, when it is due again, and what all together was.
CREATE TABLE backlog_measurement (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    token BLOB,
    due_at INTEGER NOT NULL,
    measured_at INTEGER,
    waiting INTEGER NOT NULL DEFAULT 0,
    announced INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO backlog_measurement (only_row, due_at) VALUES (1, 0);
