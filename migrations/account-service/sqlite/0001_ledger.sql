-- Accounts, what was credited to them, and what was asked of pay-service. Amounts are minor units,
-- times are microseconds since the epoch, uuids are 16 bytes.

CREATE TABLE accounts (
    account_no   TEXT PRIMARY KEY NOT NULL,
    account_name TEXT NOT NULL,
    currency     TEXT NOT NULL,
    balance      INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The primary key alone makes a tx_no credit at most once.
CREATE TABLE credits (
    tx_no       BLOB PRIMARY KEY NOT NULL,
    account_no  TEXT NOT NULL REFERENCES accounts,
    amount      INTEGER NOT NULL CHECK (amount > 0),
    currency    TEXT NOT NULL,
    source      TEXT NOT NULL CHECK (source IN ('webhook', 'queue', 'query')),
    event_id    TEXT,
    credited_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX credits_of_account ON credits (account_no, credited_at, tx_no);

CREATE TABLE requests (
    merchant_order_no BLOB PRIMARY KEY NOT NULL,
    account_no        TEXT NOT NULL REFERENCES accounts,
    amount            INTEGER NOT NULL CHECK (amount > 0),
    currency          TEXT NOT NULL,
    channel           TEXT NOT NULL,
    attach            TEXT,
    tx_no             BLOB UNIQUE,
    status            TEXT NOT NULL CHECK (status IN ('unknown', 'pending', 'succeeded', 'failed', 'closed')),
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    CHECK ((status = 'unknown') = (tx_no IS NULL))
) STRICT, WITHOUT ROWID;
