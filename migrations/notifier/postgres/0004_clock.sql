-- One row: the last time at which a notifier with a trusted clock was at work. A process that starts
-- much later than that is not trusted at once.
CREATE TABLE clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seen_at timestamptz
);
INSERT INTO clock (seen_at) SELECT received_at FROM events ORDER BY key DESC LIMIT 1;
INSERT INTO clock (seen_at) VALUES (NULL) ON CONFLICT DO NOTHING;
