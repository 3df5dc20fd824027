-- Recharges and the outbox their results are published from.
CREATE TABLE recharges (
    -- UUIDv7 of the same millisecond as created_at: the primary key is also the order of the statement.
    tx_no uuid PRIMARY KEY,
    merchant text NOT NULL,
    merchant_order_no text NOT NULL,
    account_no text NOT NULL,
    amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency text NOT NULL CHECK (length(currency) = 3),
    channel text NOT NULL,
    attach text,
    created_at timestamptz NOT NULL,
    status text NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'closed')),
    settled_at timestamptz CHECK ((settled_at IS NULL) = (status = 'pending')),
    failure text CHECK ((failure IS NOT NULL) = (status = 'failed')),
    UNIQUE (merchant, merchant_order_no)
);
-- The conditions, which always hold, keep kept plans for a `tx_no` alone from walking these indexes.
CREATE INDEX recharges_of_merchant ON recharges (merchant, tx_no) WHERE merchant IS NOT NULL;
CREATE INDEX recharges_of_account ON recharges (account_no, tx_no) WHERE account_no IS NOT NULL;
-- What did not succeed is rare and looked for.
CREATE INDEX recharges_unsuccessful ON recharges (status, tx_no) WHERE status <> 'succeeded';

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
