-- The walks along pay-service's statement and the credits of one period, and what they have found.
CREATE TABLE reconciliations (
    id          uuid PRIMARY KEY, -- UUIDv7 of asked_at: the order of the list
    period_from timestamptz NOT NULL,
    period_to   timestamptz NOT NULL,
    origin      text NOT NULL CHECK (origin IN ('asked', 'nightly')),
    asked_by    text NOT NULL,
    asked_at    timestamptz NOT NULL,
    state       text NOT NULL CHECK (state IN ('running', 'finished', 'cancelled')),
    -- How far it has come: the last number that was compared; sums per currency and how many differences
    -- of each kind, as JSON.
    after_tx_no uuid,
    pages       bigint NOT NULL,
    recharges   bigint NOT NULL,
    totals      text NOT NULL,
    differences text NOT NULL,
    -- When its next stretch is due or, under a lease, when the lease ends; whose lease it is.
    due_at      timestamptz,
    token       uuid,
    -- How often in a row pay-service has not answered, and what it said last instead.
    failures    bigint NOT NULL,
    last_error  text,
    finished_at timestamptz,
    -- Who ended it before its end, when and why.
    cancelled_at timestamptz,
    cancelled_by text,
    cancel_reason text,
    CHECK ((state = 'running') = (due_at IS NOT NULL) AND (state = 'finished') = (finished_at IS NOT NULL)
           AND (state = 'cancelled') = (cancelled_at IS NOT NULL)
           AND (cancelled_at IS NULL) = (cancelled_by IS NULL))
);
-- One of each day, however many processes begin it.
CREATE UNIQUE INDEX reconciliations_nightly ON reconciliations (period_from, period_to) WHERE origin = 'nightly';
CREATE INDEX reconciliations_due ON reconciliations (due_at) WHERE due_at IS NOT NULL;

-- One line per recharge about which the two sides differed. What either held, as JSON.
CREATE TABLE reconciliation_differences (
    reconciliation_id uuid NOT NULL REFERENCES reconciliations,
    tx_no             uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('missing_here', 'refused', 'not_succeeded_there', 'not_there',
                          'account_differs', 'currency_differs', 'amount_differs')),
    there             text,
    here              text,
    detail            text,
    exception_id      uuid REFERENCES exceptions,
    found_at          timestamptz NOT NULL,
    PRIMARY KEY (reconciliation_id, tx_no)
);
CREATE INDEX reconciliation_differences_kind ON reconciliation_differences (reconciliation_id, kind, tx_no);
