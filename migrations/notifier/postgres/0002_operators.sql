-- What operators are told, and how much waits.

-- Written in the transaction that causes an event, published by the relay.
-- `event` is the JSON text as it will be published, byte for byte (so text, not jsonb).
CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    event text NOT NULL,
    due_at timestamptz NOT NULL,
    lease_token uuid,
    lease_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL
);
-- The lease is in no index, so that taking and giving back a row stays a heap-only update.
-- The condition, which always holds, keeps kept plans for an `id` alone from walking this index.
CREATE INDEX outbox_due ON outbox (due_at, id) WHERE due_at IS NOT NULL;

-- What waits for each subscription, as it was measured last; nothing for those for which nothing does.
CREATE TABLE backlogs (
    subscription_id uuid PRIMARY KEY,
    waiting bigint NOT NULL,
    -- Those of them with an attempt under way.
    delivering bigint NOT NULL,
    oldest_at timestamptz NOT NULL,
    -- The earliest time at which one without an attempt under way is due.
    due_at timestamptz,
    -- Operators have been told that it grows, and it has not calmed down since.
    announced boolean NOT NULL
);

-- One row: whose turn it is to measure, when it is due again, and what all together was.
CREATE TABLE backlog_measurement (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    token uuid,
    due_at timestamptz NOT NULL,
    measured_at timestamptz,
    waiting bigint NOT NULL DEFAULT 0,
    announced boolean NOT NULL DEFAULT false
);
INSERT INTO backlog_measurement (due_at) VALUES ('epoch');
