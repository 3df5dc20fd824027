-- Accounts, what was credited to them, and what was asked of pay-service. Amounts are minor units,
-- times are microseconds since the epoch, uuids are 16 bytes.

CREATE TABLE accounts (
    account_no   TEXT PRIMARY KEY NOT NULL,
    account_name TEXT NOT NULL,
    currency     TEXT NOT NULL,
    balance      INTEGER NOT NULL DEFAULT 0 CHECK (balance >= 0),
    created_at   INTEGER NOT NULL,
    UNIQUE (account_no, currency)
) STRICT, WITHOUT ROWID;

-- The primary key alone makes a tx_no credit at most once, and the foreign key alone keeps other
-- currencies out of an account. What was credited stays as it is.
CREATE TABLE credits (
    tx_no       BLOB PRIMARY KEY NOT NULL,
    account_no  TEXT NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
    currency    TEXT NOT NULL,
    source      TEXT NOT NULL
                CHECK (source IN ('webhook', 'queue', 'query', 'sweep', 'statement', 'exception')),
    event_id    TEXT,
    credited_at INTEGER NOT NULL,
    FOREIGN KEY (account_no, currency) REFERENCES accounts (account_no, currency)
) STRICT, WITHOUT ROWID;
-- With the amount, so that the audit sums up without looking at the table.
CREATE INDEX credits_of_account ON credits (account_no, credited_at, tx_no, amount);

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
    -- The sweep: when pay-service is asked next or, under a lease, when the lease ends; NULL once there
    -- is nothing left to ask. How many steps of the ladder are spent; how many questions in a row were
    -- not answered; whose lease it is.
    ask_at            INTEGER,
    asks              INTEGER NOT NULL DEFAULT 0,
    misses            INTEGER NOT NULL DEFAULT 0,
    ask_token         BLOB,
    CHECK ((status = 'unknown') = (tx_no IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_to_ask ON requests (ask_at) WHERE ask_at IS NOT NULL;

-- A balance is the sum of its account's credits: whoever inserts credits moves it, in the same
-- statement. A sum beyond 64 bits is no INTEGER, which the STRICT table refuses.
CREATE TRIGGER credits_move_balances AFTER INSERT ON credits BEGIN
    UPDATE accounts SET balance = balance + NEW.amount WHERE account_no = NEW.account_no;
END;
CREATE TRIGGER credits_stay BEFORE UPDATE ON credits BEGIN
    SELECT RAISE(ABORT, 'what was credited stays as it is');
END;
CREATE TRIGGER credits_stay_there BEFORE DELETE ON credits BEGIN
    SELECT RAISE(ABORT, 'what was credited stays as it is');
END;
CREATE TRIGGER balances_start_at_zero BEFORE INSERT ON accounts WHEN NEW.balance <> 0 BEGIN
    SELECT RAISE(ABORT, 'a balance is the sum of its credits');
END;
-- Balances changed by hand are not refused here, since SQLite does not tell a trigger who fired it;
-- the audit finds them.
