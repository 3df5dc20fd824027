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
    -- Grows with every rotation. A secret is sealed for its row and opens in no other.
    ordinal bigint NOT NULL,
    -- The key of SECRET_KEYS that the secret is encrypted under; without one it is plain text.
    key_id text,
    secret bytea NOT NULL,
    -- What receivers verify with, where the secret is a private key.
    public_key text,
    expires_at timestamptz,
    PRIMARY KEY (subscription_id, ordinal)
);

-- What people did to subscriptions. Kept when the subscription is deleted.
CREATE TABLE subscription_audits (
    id uuid PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    action text NOT NULL,
    -- The names of the fields that a change named, separated by commas.
    changed text NOT NULL,
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL
);
CREATE INDEX subscription_audits_subscription ON subscription_audits (subscription_id, id);

-- One row. Every change of a subscription or secret bumps it, so that processes know when what they
-- remember is old; whoever matches events holds it, so that no change slips in between.
CREATE TABLE subscriptions_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version bigint NOT NULL
);
INSERT INTO subscriptions_version (version) VALUES (1);

-- What only grows (events, notifications, attempts) lies in partitions by day, each of which is
-- dropped whole one day. The day is that of the time which keys and ids begin with: a notification
-- and its attempts are of the day of its event. Days are made ahead by the program; what belongs to
-- none that is there lies in the default partitions.

-- Written once and never changed.
CREATE TABLE events (
    key uuid PRIMARY KEY,
    id text NOT NULL,
    source text NOT NULL,
    -- In the order of bytes a family is one range of the index.
    type text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    subject text,
    merchant text,
    traceparent text,
    -- The webhook's body, byte for byte.
    body text NOT NULL,
    received_at timestamptz NOT NULL
) PARTITION BY RANGE (key);
CREATE TABLE events_default PARTITION OF events DEFAULT;
-- Other ids are their events' keys.
CREATE INDEX events_foreign_id ON events (id) WHERE id <> key::text;
CREATE INDEX events_subject ON events (subject) WHERE subject IS NOT NULL;
CREATE INDEX events_type ON events (type, key);

-- Every notification that is not final, and nothing else: small when all is well. Claiming looks
-- here alone.
CREATE TABLE waiting (
    -- Made of event and subscription, so that one event can't have two for the same subscription.
    -- It keeps the time of the event's key.
    id uuid PRIMARY KEY,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    attempts bigint NOT NULL DEFAULT 0,
    -- Failed attempts in this climb of the ladder.
    climb bigint NOT NULL DEFAULT 0,
    -- Whether it is a retry: tried before, and not asked for anew by a person since. Claims take retries
    -- and first attempts alternately, so that a backlog of the one never starves the other.
    again boolean NOT NULL DEFAULT false,
    -- When the next attempt is due. A lease leaves it as it is, so that a claim changes no column of
    -- an index; those under a live lease are passed over, and no subscription has many of them.
    due_at timestamptz NOT NULL,
    lease_token uuid,
    leased_until timestamptz,
    -- Why the last attempt failed, if it did.
    failure_class text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK ((lease_token IS NULL) = (leased_until IS NULL))
) WITH (
    -- Room on each page for the next version of the rows on it, without which a claim would touch
    -- every index (a HOT update needs the same page). A claim may take all rows of a page at once.
    fillfactor = 45,
    -- Every row leaves soon after it came: the dead are cleared away by their number alone, however
    -- many live ones wait, and without pauses.
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX waiting_due ON waiting (subscription_id, again, due_at);
-- While the table is empty, a look for an `id` alone seems to cost as little here as by the primary key,
-- and a plan kept from then would walk all of this index: what is kept names the subscription too.
CREATE INDEX waiting_subscription ON waiting (subscription_id, id);
-- Written by failures alone, which change `due_at` as well and so are in every index anew anyway.
CREATE INDEX waiting_failed ON waiting (failure_class, id) WHERE failure_class IS NOT NULL;

-- The final ones, written once. A resend moves one back.
CREATE TABLE notifications (
    id uuid PRIMARY KEY,
    event_key uuid NOT NULL,
    subscription_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('delivered', 'exhausted', 'cancelled')),
    attempts bigint NOT NULL,
    -- Why the last attempt failed, if it did.
    failure_class text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
) PARTITION BY RANGE (id);
CREATE TABLE notifications_default PARTITION OF notifications DEFAULT;
CREATE INDEX notifications_subscription ON notifications (subscription_id, state, id);
-- The subscription makes counting them a matter of the index alone.
CREATE INDEX notifications_undelivered ON notifications (state, id, subscription_id) WHERE state <> 'delivered';
-- What is delivered has no failure, and costs nothing here.
CREATE INDEX notifications_failed ON notifications (failure_class, id) WHERE failure_class IS NOT NULL;

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
) PARTITION BY RANGE (notification_id);
CREATE TABLE attempts_default PARTITION OF attempts DEFAULT;

CREATE TABLE audits (
    id uuid PRIMARY KEY,
    notification_id uuid NOT NULL,
    action text NOT NULL,
    actor text NOT NULL,
    reason text,
    at timestamptz NOT NULL
);
CREATE INDEX audits_notification ON audits (notification_id, id);

-- Bulk actions: replays and cancellations.
CREATE TABLE bulks (
    id uuid PRIMARY KEY,
    action text NOT NULL CHECK (action IN ('replay', 'cancellation')),
    subscription_id uuid NOT NULL REFERENCES subscriptions (id),
    merchant text,
    -- States, and classes of failures, separated by commas.
    states text NOT NULL,
    event_type text,
    failure_classes text,
    created_from timestamptz,
    created_to timestamptz,
    actor text NOT NULL,
    reason text,
    matched bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    -- The last notification it has looked at.
    cursor_id uuid,
    -- The one with the lowest is next; a new one is at once.
    turn bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL,
    finished_at timestamptz
);
CREATE INDEX bulks_running ON bulks (turn, id) WHERE finished_at IS NULL;
CREATE INDEX bulks_finished ON bulks (finished_at) WHERE finished_at IS NOT NULL;

-- Of the days of events that came in at another time than the one they begin with: from when to when
-- they did so. Days are counted from 1970-01-01.
CREATE TABLE arrivals (
    day bigint PRIMARY KEY,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL
);

-- One row.
CREATE TABLE retention (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- Below this key something has been removed: an event that is not there can't be told from one
    -- that was.
    floor uuid NOT NULL
);
INSERT INTO retention (floor) VALUES ('00000000-0000-0000-0000-000000000000');
