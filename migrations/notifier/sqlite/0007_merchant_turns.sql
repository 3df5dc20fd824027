-- When each merchant ('' is the operator) last had a turn of its replays and cancellations: the one with the
-- lowest is next. Kept when nothing of it runs, so that starting another one is no way to be first.
CREATE TABLE bulk_turns (
    merchant TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What runs for a merchant is counted.
CREATE INDEX bulks_running_of_merchant ON bulks (coalesce(merchant, '')) WHERE finished_at IS NULL;
