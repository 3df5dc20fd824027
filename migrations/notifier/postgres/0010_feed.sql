-- The order in which events were kept, for the feed of each merchant: the number of the transaction. All that was kept
-- below the oldest transaction that still keeps events is final, so a reader that stops there misses nothing. What is
-- there already comes first. The default is for processes of the version before, as long as some run.
ALTER TABLE events ADD COLUMN feed_position bigint NOT NULL DEFAULT 0;
ALTER TABLE events ALTER COLUMN feed_position SET DEFAULT pg_current_xact_id()::text::bigint;
CREATE INDEX events_feed ON events (merchant, feed_position, key) WHERE merchant IS NOT NULL;

-- One row. Transactions are numbered by the cluster: where a dump is restored in another one they may begin anew, and
-- `epoch` puts those of the new one behind all that are there.
CREATE TABLE feed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    cluster text NOT NULL,
    epoch bigint NOT NULL DEFAULT 0
);
INSERT INTO feed (cluster) SELECT system_identifier::text FROM pg_control_system();
