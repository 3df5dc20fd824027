-- What does not fit, kept for a person to judge.
CREATE TABLE exceptions (
    -- UUIDv7 of first_seen: the order of the list.
    id                uuid PRIMARY KEY,
    -- The tx_no, or the merchant_order_no of a request that has none.
    subject           uuid NOT NULL,
    kind              text NOT NULL CHECK (kind IN ('unknown_account', 'currency_mismatch', 'contradicts_request',
                          'contradicts_credit', 'overflow', 'not_at_pay_service', 'not_taken', 'wrong_answer')),
    tx_no             uuid,
    merchant_order_no text,
    source            text NOT NULL CHECK (source IN ('webhook', 'queue', 'query', 'sweep', 'statement', 'request')),
    event_id          text,
    detail            text NOT NULL,
    -- JSON, as it was received: what was told first, and the last that was told otherwise.
    received          text,
    contradiction     text,
    -- JSON: account, request and credit as they were.
    recorded          text NOT NULL,
    first_seen        timestamptz NOT NULL,
    last_seen         timestamptz NOT NULL,
    count             bigint NOT NULL CHECK (count > 0),
    state             text NOT NULL CHECK (state IN ('open', 'credited', 'dismissed', 'closed')),
    resolved_by       text,
    reason            text,
    resolved_at       timestamptz,
    CHECK ((state = 'open') = (resolved_at IS NULL)
       AND (state = 'open') = (resolved_by IS NULL) AND (state = 'open') = (reason IS NULL))
);
CREATE UNIQUE INDEX exceptions_open ON exceptions (subject, kind) WHERE state = 'open';
CREATE INDEX exceptions_subject ON exceptions (subject);
CREATE INDEX exceptions_tx_no ON exceptions (tx_no, id);
CREATE INDEX exceptions_state ON exceptions (state, id);
CREATE INDEX exceptions_kind ON exceptions (kind, id);
