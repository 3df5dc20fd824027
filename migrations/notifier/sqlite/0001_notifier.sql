-- Subscriptions, events, notifications and their attempts. Ids are 16 bytes, times are microseconds
-- since 1970.

CREATE TABLE subscriptions (
    id BLOB PRIMARY KEY,
    merchant TEXT,
    name TEXT NOT NULL,
    -- What its owner chose, as JSON.
    definition TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    deleted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX subscriptions_name ON subscriptions (coalesce(merchant, ''), name) WHERE deleted_at IS NULL;
CREATE INDEX subscriptions_merchant ON subscriptions (merchant, id) WHERE deleted_at IS NULL;

CREATE TABLE subscription_secrets (
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    -- Grows with every rotation.
    ordinal INTEGER NOT NULL,
    secret TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (subscription_id, ordinal)
) STRICT, WITHOUT ROWID;

-- One row. Every change of a subscription or secret bumps it, so that processes know when what they
-- remember is old; whoever matches events holds it, so that no change slips in between.
CREATE TABLE subscriptions_version (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO subscriptions_version (version) VALUES (1);

-- Written once and never changed.
CREATE TABLE events (
    key BLOB PRIMARY KEY,
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    type TEXT NOT NULL,
    time INTEGER NOT NULL,
    subject TEXT,
    merchant TEXT,
    traceparent TEXT,
    -- The webhook's body, byte for byte.
    body TEXT NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX events_id ON events (id);
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
CREATE INDEX events_type ON events (type, received_at);
CREATE INDEX events_received_at ON events (received_at);

CREATE TABLE notifications (
    id BLOB PRIMARY KEY,
    event_key BLOB NOT NULL,
    subscription_id BLOB NOT NULL,
    merchant TEXT,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'exhausted', 'cancelled')),
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Failed attempts in this climb of the ladder.
    climb INTEGER NOT NULL DEFAULT 0,
    -- When it is to be taken next: the next attempt's time or, under a lease, the lease's end.
    due_at INTEGER NOT NULL,
    lease_token BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (event_key, subscription_id)
) STRICT;
CREATE INDEX notifications_due ON notifications (subscription_id, due_at) WHERE state = 'pending';
CREATE INDEX notifications_undelivered ON notifications (state, created_at, id) WHERE state <> 'delivered';
CREATE INDEX notifications_subscription ON notifications (subscription_id, created_at, id);
CREATE INDEX notifications_merchant ON notifications (merchant, created_at, id) WHERE merchant IS NOT NULL;

CREATE TABLE attempts (
    notification_id BLOB NOT NULL,
    number INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    failure_class TEXT,
    http_status INTEGER,
    error TEXT,
    response_excerpt TEXT,
    PRIMARY KEY (notification_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE audits (
    id BLOB PRIMARY KEY,
    notification_id BLOB NOT NULL,
    action TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX audits_notification ON audits (notification_id, id);

CREATE TABLE replays (
    id BLOB PRIMARY KEY,
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    merchant TEXT,
    state TEXT,
    created_from INTEGER,
    created_to INTEGER,
    actor TEXT NOT NULL,
    reason TEXT,
    matched INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    -- The last notification it has looked at.
    cursor_created_at INTEGER,
    cursor_id BLOB,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX replays_running ON replays (id) WHERE finished_at IS NULL;
