-- Recharges and the outbox their results are published from. Times are microseconds since the epoch.
CREATE TABLE recharges (
    -- UUIDv7 of the same millisecond as created_at: the primary key is also the order of the statement.
    tx_no BLOB PRIMARY KEY,
    merchant TEXT NOT NULL,
    merchant_order_no TEXT NOT NULL,
    account_no TEXT NOT NULL,
    amount INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency TEXT NOT NULL CHECK (length(currency) = 3),
    channel TEXT NOT NULL,
    attach TEXT,
    created_at INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'closed')),
    settled_at INTEGER CHECK ((settled_at IS NULL) = (status = 'pending')),
    failure TEXT CHECK ((failure IS NOT NULL) = (status = 'failed')),
    UNIQUE (merchant, merchant_order_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX recharges_of_merchant ON recharges (merchant, tx_no);
CREATE INDEX recharges_of_account ON recharges (account_no, tx_no);
-- What did not succeed is rare and looked for.
CREATE INDEX recharges_unsuccessful ON recharges (status, tx_no) WHERE status <> 'succeeded';

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
