-- One row: the last time at which an account-service with a trusted clock was at work, in microseconds
-- since the epoch. A process that starts much later than that is not trusted at once.
CREATE TABLE clock (
    only_row INTEGER PRIMARY KEY DEFAULT 1 CHECK (only_row = 1),
    seen_at  INTEGER
) STRICT, WITHOUT ROWID;
INSERT INTO clock (seen_at) SELECT credited_at FROM credits ORDER BY tx_no DESC LIMIT 1;
INSERT INTO clock (seen_at) VALUES (NULL) ON CONFLICT DO NOTHING;
