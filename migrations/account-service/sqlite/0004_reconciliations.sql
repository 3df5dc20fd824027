-- The walks along pay-service's statement and the credits of one period, and what they have found. Times are
-- microseconds since the epoch, uuids are 16 bytes.
CREATE TABLE reconciliations (
    id          BLOB PRIMARY KEY NOT NULL, -- UUIDv7 of asked_at: the order of the list
    period_from INTEGER NOT NULL,
    period_to   INTEGER NOT NULL,
    origin      TEXT NOT NULL CHECK (origin IN ('asked', 'nightly')),
    asked_by    TEXT NOT NULL,
    asked_at    INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('running', 'finished', 'cancelled')),
    -- How far it has come: the last number that was compared; sums per currency and how many differences
    -- of each kind, as JSON.
    after_tx_no BLOB,
    pages       INTEGER NOT NULL,
    recharges   INTEGER NOT NULL,
    totals      TEXT NOT NULL,
    differences TEXT NOT NULL,
    -- When its next stretch is due or, under a lease, when the lease ends; whose lease it is.
    due_at      INTEGER,
    token       BLOB,
    -- How often in a row pay-service has not answered, and what it said last instead.
    failures    INTEGER NOT NULL,
    last_error  TEXT,
    finished_at INTEGER,
    -- Who ended it before its end, when and why.
    cancelled_at INTEGER,
    cancelled_by TEXT,
    cancel_reason TEXT,
    CHECK ((state = 'running') = (due_at IS NOT NULL) AND (state = 'finished') = (finished_at IS NOT NULL)
           AND (state = 'cancelled') = (cancelled_at IS NOT NULL)
           AND (cancelled_at IS NULL) = (cancelled_by IS NULL))
) STRICT, WITHOUT ROWID;
-- One of each day, however many processes begin it.
CREATE UNIQUE INDEX reconciliations_nightly ON reconciliations (period_from, period_to) WHERE origin = 'nightly';
CREATE INDEX reconciliations_due ON reconciliations (due_at) WHERE due_at IS NOT NULL;

-- One line per recharge about which the two sides differed. What either held, as JSON.
CREATE TABLE reconciliation_differences (
    reconciliation_id BLOB NOT NULL REFERENCES reconciliations,
    tx_no             BLOB NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('missing_here', 'refused', 'not_succeeded_there', 'not_there',
                          'account_differs', 'currency_differs', 'amount_differs')),
    there             TEXT,
    here              TEXT,
    detail            TEXT,
    exception_id      BLOB REFERENCES exceptions,
    found_at          INTEGER NOT NULL,
    PRIMARY KEY (reconciliation_id, tx_no)
) STRICT, WITHOUT ROWID;
CREATE INDEX reconciliation_differences_kind ON reconciliation_differences (reconciliation_id, kind, tx_no);
