-- What does not fit, kept for a person to judge.
CREATE TABLE exceptions (
    -- UUIDv7 of first_seen: the order of the list.
    id                BLOB PRIMARY KEY NOT NULL,
    -- The tx_no, or the merchant_order_no of a request that has none.
    subject           BLOB NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('unknown_account', 'currency_mismatch', 'contradicts_request',
                          'contradicts_credit', 'overflow', 'not_at_pay_service', 'not_taken', 'wrong_answer')),
    tx_no             BLOB,
    merchant_order_no TEXT,
    source            TEXT NOT NULL CHECK (source IN ('webhook', 'queue', 'query', 'sweep', 'statement', 'request')),
    event_id          TEXT,
    detail            TEXT NOT NULL,
    -- JSON, as it was received: what was told first, and the last that was told otherwise.
    received          TEXT,
    contradiction     TEXT,
    -- JSON: account, request and credit as they were.
    recorded          TEXT NOT NULL,
    first_seen        INTEGER NOT NULL,
    last_seen         INTEGER NOT NULL,
    count             INTEGER NOT NULL CHECK (count > 0),
    state             TEXT NOT NULL CHECK (state IN ('open', 'credited', 'dismissed', 'closed')),
    resolved_by       TEXT,
    reason            TEXT,
    resolved_at       INTEGER,
    CHECK ((state = 'open') = (resolved_at IS NULL)
       AND (state = 'open') = (resolved_by IS NULL) AND (state = 'open') = (reason IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX exceptions_open ON exceptions (subject, kind) WHERE state = 'open';
CREATE INDEX exceptions_subject ON exceptions (subject);
CREATE INDEX exceptions_tx_no ON exceptions (tx_no, id);
CREATE INDEX exceptions_state ON exceptions (state, id);
CREATE INDEX exceptions_kind ON exceptions (kind, id);
