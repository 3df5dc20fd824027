-- The outbox of a service that publishes: copied into that service's own first migration.
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
CREATE INDEX outbox_due ON outbox (due_at, id);
