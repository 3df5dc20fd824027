-- Why one attempt at a time is made: the receiver asked for a pause with 429 or 503. So many times in
-- a row; null: it is unreachable.
ALTER TABLE subscription_health ADD COLUMN pause_answers INTEGER
    CHECK (pause_answers IS NULL OR (probe_at IS NOT NULL AND pause_answers > 0));
