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
    -- Grows with every rotation. A secret is sealed for its row and opens in no other.
    ordinal INTEGER NOT NULL,
    -- The key of SECRET_KEYS that the secret is encrypted under; without one it is plain text.
    key_id TEXT,
    secret BLOB NOT NULL,
    -- What receivers verify with, where the secret is a private key.
    public_key TEXT,
    expires_at INTEGER,
    PRIMARY KEY (subscription_id, ordinal)
) STRICT, WITHOUT ROWID;

-- What people did to subscriptions. Kept when the subscription is deleted.
CREATE TABLE subscription_audits (
    id BLOB PRIMARY KEY,
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    action TEXT NOT NULL,
    -- The names of the fields that a change named, separated by commas.
    changed TEXT NOT NULL,
    actor TEXT NOT NULL,
    reason TEXT,
    at INTEGER NOT NULL
) STRICT;
CREATE INDEX subscription_audits_subscription ON subscription_audits (subscription_id, id);

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
CREATE INDEX events_type ON events (type, key);

-- Every notification that is not final, and nothing else: small when all is well. Claiming looks
-- here alone.
CREATE TABLE waiting (
    -- Made of event and subscription, so that one event can't have two for the same subscription.
    -- It keeps the time of the event's key.
    id BLOB PRIMARY KEY,
    event_key BLOB NOT NULL,
    subscription_id BLOB NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- Failed attempts in this climb of the ladder.
    climb INTEGER NOT NULL DEFAULT 0,
    -- Whether it is a retry: tried before, and not asked for anew by a person since. Claims take retries
    -- and first attempts alternately, so that a backlog of the one never starves the other.
    again INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
    -- When the next attempt is due. A lease leaves it as it is, so that a claim changes no column of
    -- an index; those under a live lease are passed over, and no subscription has many of them.
    due_at INTEGER NOT NULL,
    lease_token BLOB,
    leased_until INTEGER,
    -- Why the last attempt failed, if it did.
    failure_class TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    CHECK ((lease_token IS NULL) = (leased_until IS NULL))
) STRICT;
CREATE INDEX waiting_due ON waiting (subscription_id, again, due_at);
CREATE INDEX waiting_subscription ON waiting (subscription_id, id);
CREATE INDEX waiting_failed ON waiting (failure_class, id) WHERE failure_class IS NOT NULL;

-- The final ones, written once. A resend moves one back.
CREATE TABLE notifications (
    id BLOB PRIMARY KEY,
    event_key BLOB NOT NULL,
    subscription_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('delivered', 'exhausted', 'cancelled')),
    attempts INTEGER NOT NULL,
    -- Why the last attempt failed, if it did.
    failure_class TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX notifications_subscription ON notifications (subscription_id, state, id);
-- The subscription makes counting them a matter of the index alone.
CREATE INDEX notifications_undelivered ON notifications (state, id, subscription_id) WHERE state <> 'delivered';
-- What is delivered has no failure, and costs nothing here.
CREATE INDEX notifications_failed ON notifications (failure_class, id) WHERE failure_class IS NOT NULL;

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

-- Bulk actions: replays and cancellations.
CREATE TABLE bulks (
    id BLOB PRIMARY KEY,
    action TEXT NOT NULL CHECK (action IN ('replay', 'cancellation')),
    subscription_id BLOB NOT NULL REFERENCES subscriptions (id),
    merchant TEXT,
    -- States, and classes of failures, separated by commas.
    states TEXT NOT NULL,
    event_type TEXT,
    failure_classes TEXT,
    created_from INTEGER,
    created_to INTEGER,
    actor TEXT NOT NULL,
    reason TEXT,
    matched INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    -- The last notification it has looked at.
    cursor_id BLOB,
    -- The one with the lowest is next; a new one is at once.
    turn INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX bulks_running ON bulks (turn, id) WHERE finished_at IS NULL;
CREATE INDEX bulks_finished ON bulks (finished_at) WHERE finished_at IS NOT NULL;

-- Of the days of events that came in at another time than the one they begin with: from when to when
-- they did so. Days are counted from 1970-01-01.
CREATE TABLE arrivals (
    day INTEGER PRIMARY KEY,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;

-- One row.
CREATE TABLE retention (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    -- Below this key something has been removed: an event that is not there can't be told from one
    -- that was.
    floor BLOB NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO retention (floor) VALUES (zeroblob(16));
