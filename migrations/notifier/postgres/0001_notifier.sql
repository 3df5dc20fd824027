-- Subscriptions, events, notifications and their attempts.

CREATE TABLE subscriptions (
    id uuid PRIMARY KEY,
    merchant text,
    name text NOT NULL,
    -- What its owner chose, as JSON.
    definition text NOT NULL,
    state text NOT NULL CHECK (state IN ('active', 'paused', 'disabled')),
    disabled_reason text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    deleted_at timestamptz
);
CREATE UNIQUE INDEX subscriptions_name ON subscriptions ((coalesce(merchant, '')), name) WHERE deleted_at IS NULL;
CREATE INDEX subscriptions_merchant ON subscriptions (merchant, id) WHERE deleted_at IS NULL;

CREATE TABLE subscription_secrets (
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    -- Grows with every rotation.
    ordinal bigint NOT NULL,
    secret text NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (subscription_id, ordinal)
);

-- One row. Every change of a subscription or secret bumps it, so that processes know when what they
-- remember is old; whoever matches events holds it, so that no change slips in between.
CREATE TABLE subscriptions_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
);
INSERT INTO subscriptions_version (version) VALUES (1);

-- Written once and never changed; the log's look-ups by event lean on these indexes, since those of
-- notifications are written again with every change of state.
CREATE TABLE events (
    key uuid PRIMARY KEY,
    id text NOT NULL,
    source text NOT NULL,
    type text NOT NULL,
    time timestamptz NOT NULL,
    subject text,
    merchant text,
    traceparent text,
    -- The webhook's body, byte for byte.
    body text NOT NULL,
    received_at timestamptz NOT NULL
);
CREATE INDEX events_id ON events (id);
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
CREATE INDEX events_type ON events (type, received_at);
CREATE INDEX events_received_at ON events (received_at);

CREATE TABLE notifications (
    id uuid PRIMARY KEY,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    merchant text,
    state text NOT NULL CHECK (state IN ('pending', 'delivered', 'exhausted', 'cancelled')),
    attempts bigint NOT NULL DEFAULT 0,
    -- Failed attempts in this climb of the ladder.
    climb bigint NOT NULL DEFAULT 0,
    -- When it is to be taken next: the next attempt's time or, under a lease, the lease's end.
    due_at timestamptz NOT NULL,
    lease_token uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (event_key, subscription_id)
) WITH (fillfactor = 85);
CREATE INDEX notifications_due ON notifications (subscription_id, due_at) WHERE state = 'pending';
CREATE INDEX notifications_undelivered ON notifications (state, created_at, id) WHERE state <> 'delivered';
CREATE INDEX notifications_subscription ON notifications (subscription_id, created_at, id);
CREATE INDEX notifications_merchant ON notifications (merchant, created_at, id) WHERE merchant IS NOT NULL;

CREATE TABLE attempts (
    notification_id uuid NOT NULL,
    number bigint NOT NULL,
    started_at timestamptz NOT NULL,
    duration_ms bigint NOT NULL,
    outcome text NOT NULL,
    failure_class text,
    http_status bigint,
    error text,
    response_excerpt text,
    PRIMARY KEY (notification_id, number)
);

CREATE TABLE audits (
    id uuid PRIMARY KEY,
    notification_id uuid NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL
);
CREATE INDEX audits_notification ON audits (notification_id, id);

CREATE TABLE replays (
    id uuid PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    merchant text,
    state text,
    created_from timestamptz,
    created_to timestamptz,
    actor text NOT NULL,
    reason text,
    matched bigint NOT NULL DEFAULT 0,
    resent bigint NOT NULL DEFAULT 0,
    -- The last notification it has looked at.
    cursor_created_at timestamptz,
    cursor_id uuid,
    created_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX replays_running ON replays (id) WHERE finished_at IS NULL;
