-- The order in which events were kept, for the feed of each merchant: the number of the batch. What is there already
-- comes first.
ALTER TABLE events ADD COLUMN feed_position INTEGER NOT NULL DEFAULT 0;
CREATE INDEX events_feed ON events (merchant, feed_position, key) WHERE merchant IS NOT NULL;

-- The number of the last batch.
ALTER TABLE retention ADD COLUMN feed_position INTEGER NOT NULL DEFAULT 0;
