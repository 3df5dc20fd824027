-- Accounts, what was credited to them, and what was asked of pay-service. Amounts are minor units.

CREATE TABLE accounts (
    account_no   text PRIMARY KEY,
    account_name text NOT NULL,
    currency     text NOT NULL,
    balance      bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   timestamptz NOT NULL
) WITH (fillfactor = 70); -- room for balances to be updated in their page

-- The primary key alone makes a tx_no credit at most once.
CREATE TABLE credits (
    tx_no       uuid PRIMARY KEY,
    account_no  text NOT NULL REFERENCES accounts,
    amount      bigint NOT NULL CHECK (amount > 0),
    currency    text NOT NULL,
    source      text NOT NULL CHECK (source IN ('webhook', 'queue', 'query')),
    event_id    text,
    credited_at timestamptz NOT NULL
);
CREATE INDEX credits_of_account ON credits (account_no, credited_at, tx_no);

CREATE TABLE requests (
    merchant_order_no uuid PRIMARY KEY,
    account_no        text NOT NULL REFERENCES accounts,
    amount            bigint NOT NULL CHECK (amount > 0),
    currency          text NOT NULL,
    channel           text NOT NULL,
    attach            text,
    tx_no             uuid UNIQUE,
    status            text NOT NULL CHECK (status IN ('unknown', 'pending', 'succeeded', 'failed', 'closed')),
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    CHECK ((status = 'unknown') = (tx_no IS NULL))
);
