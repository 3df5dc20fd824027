-- The order number of each credit: an order is credited once, under whichever tx_no. Credits made before
-- this version get it from their request or, where there is none, when their result is received again; until
-- then it is null. Numbers that pay-service would not take are not kept.
ALTER TABLE credits ADD COLUMN merchant_order_no TEXT;
-- The tx_no of the order's other credit, where an operator credited this one despite it.
ALTER TABLE credits ADD COLUMN credited_despite BLOB CHECK (credited_despite IS NULL OR source = 'exception');

DROP TRIGGER credits_stay;
-- A request's number as text, in the usual form of a uuid.
UPDATE credits SET merchant_order_no = (
    SELECT lower(substr(digits, 1, 8) || '-' || substr(digits, 9, 4) || '-' || substr(digits, 13, 4) || '-'
                 || substr(digits, 17, 4) || '-' || substr(digits, 21, 12))
    FROM (SELECT hex(merchant_order_no) AS digits FROM requests WHERE requests.tx_no = credits.tx_no)
);
CREATE UNIQUE INDEX credits_of_order ON credits (merchant_order_no) WHERE credited_despite IS NULL;

-- As before, but for an order number that was not known.
CREATE TRIGGER credits_stay
BEFORE UPDATE OF tx_no, account_no, amount, currency, source, event_id, credited_at, credited_despite ON credits
BEGIN
    SELECT RAISE(ABORT, 'what was credited stays as it is');
END;
CREATE TRIGGER credits_keep_their_order BEFORE UPDATE OF merchant_order_no ON credits
WHEN OLD.merchant_order_no IS NOT NULL BEGIN
    SELECT RAISE(ABORT, 'what was credited stays as it is');
END;

-- Two more kinds; SQLite changes a CHECK only with its table. The differences refer to the exceptions, so
-- both are copied before either goes.
CREATE TABLE exceptions_new (
    -- UUIDv7 of first_seen: the order of the list.
    id                BLOB PRIMARY KEY NOT NULL,
    -- The tx_no, or the merchant_order_no of a request that has none.
    subject           BLOB NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('unknown_account', 'currency_mismatch', 'contradicts_request',
                          'contradicts_credit', 'order_credited_already', 'overflow', 'not_at_pay_service',
                          'not_taken', 'wrong_answer')),
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
INSERT INTO exceptions_new SELECT * FROM exceptions;
CREATE TABLE reconciliation_differences_new (
    reconciliation_id BLOB NOT NULL REFERENCES reconciliations,
    tx_no             BLOB NOT NULL,
    kind              TEXT NOT NULL CHECK (kind IN ('missing_here', 'refused', 'order_credited_already',
                          'not_succeeded_there', 'not_there', 'account_differs', 'currency_differs',
                          'amount_differs')),
    there             TEXT,
    here              TEXT,
    detail            TEXT,
    exception_id      BLOB REFERENCES exceptions_new,
    found_at          INTEGER NOT NULL,
    PRIMARY KEY (reconciliation_id, tx_no)
) STRICT, WITHOUT ROWID;
INSERT INTO reconciliation_differences_new SELECT * FROM reconciliation_differences;
DROP TABLE reconciliation_differences;
DROP TABLE exceptions;
ALTER TABLE exceptions_new RENAME TO exceptions;
ALTER TABLE reconciliation_differences_new RENAME TO reconciliation_differences;
CREATE UNIQUE INDEX exceptions_open ON exceptions (subject, kind) WHERE state = 'open';
CREATE INDEX exceptions_subject ON exceptions (subject);
CREATE INDEX exceptions_tx_no ON exceptions (tx_no, id);
CREATE INDEX exceptions_state ON exceptions (state, id);
CREATE INDEX exceptions_kind ON exceptions (kind, id);
CREATE INDEX reconciliation_differences_kind ON reconciliation_differences (reconciliation_id, kind, tx_no);
-- For counting the differences that are still open.
CREATE INDEX reconciliation_differences_exception ON reconciliation_differences (exception_id)
    WHERE exception_id IS NOT NULL;

-- When a nightly reconciliation was found to have been begun by a clock that was ahead: it does not count,
-- and its day is reconciled again.
ALTER TABLE reconciliations ADD COLUMN voided_at INTEGER;
DROP INDEX reconciliations_nightly;
CREATE UNIQUE INDEX reconciliations_nightly ON reconciliations (period_from, period_to)
    WHERE origin = 'nightly' AND voided_at IS NULL;
