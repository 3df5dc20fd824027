-- The order number of each credit: an order is credited once, under whichever tx_no. Credits made before
-- this version get it from their request or, where there is none, when their result is received again; until
-- then it is null. Numbers that pay-service would not take are not kept.
ALTER TABLE credits
    ADD COLUMN merchant_order_no text COLLATE "C",
    -- The tx_no of the order's other credit, where an operator credited this one despite it.
    ADD COLUMN credited_despite uuid,
    ADD CONSTRAINT credits_despite_by_hand CHECK (credited_despite IS NULL OR source = 'exception');

DROP TRIGGER credits_stay ON credits;
UPDATE credits SET merchant_order_no = requests.merchant_order_no::text
FROM requests WHERE requests.tx_no = credits.tx_no;
CREATE UNIQUE INDEX credits_of_order ON credits (merchant_order_no) WHERE credited_despite IS NULL;

-- As before, but for an order number that was not known.
CREATE TRIGGER credits_stay
    BEFORE UPDATE OF tx_no, account_no, amount, currency, source, event_id, credited_at, credited_despite
        OR DELETE OR TRUNCATE ON credits
    FOR EACH STATEMENT EXECUTE FUNCTION refuse('what was credited stays as it is');
CREATE TRIGGER credits_keep_their_order BEFORE UPDATE OF merchant_order_no ON credits
    FOR EACH ROW WHEN (OLD.merchant_order_no IS NOT NULL)
    EXECUTE FUNCTION refuse('what was credited stays as it is');

ALTER TABLE exceptions DROP CONSTRAINT exceptions_kind_check;
ALTER TABLE exceptions ADD CONSTRAINT exceptions_kind_check
    CHECK (kind IN ('unknown_account', 'currency_mismatch', 'contradicts_request', 'contradicts_credit',
                    'order_credited_already', 'overflow', 'not_at_pay_service', 'not_taken', 'wrong_answer'));
ALTER TABLE reconciliation_differences DROP CONSTRAINT reconciliation_differences_kind_check;
ALTER TABLE reconciliation_differences ADD CONSTRAINT reconciliation_differences_kind_check
    CHECK (kind IN ('missing_here', 'refused', 'order_credited_already', 'not_succeeded_there', 'not_there',
                    'account_differs', 'currency_differs', 'amount_differs'));
-- For counting the differences that are still open.
CREATE INDEX reconciliation_differences_exception ON reconciliation_differences (exception_id)
    WHERE exception_id IS NOT NULL;

-- When a nightly reconciliation was found to have been begun by a clock that was ahead: it does not count,
-- and its day is reconciled again.
ALTER TABLE reconciliations ADD COLUMN voided_at timestamptz;
DROP INDEX reconciliations_nightly;
CREATE UNIQUE INDEX reconciliations_nightly ON reconciliations (period_from, period_to)
    WHERE origin = 'nightly' AND voided_at IS NULL;
