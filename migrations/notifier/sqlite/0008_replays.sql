-- An operator's replay may be of every subscription. SQLite can't drop NOT NULL: the table is made again.
CREATE TABLE bulks_new (
    id BLOB PRIMARY KEY,
    action TEXT NOT NULL CHECK (action IN ('replay', 'cancellation')),
    subscription_id BLOB REFERENCES subscriptions (id),
    merchant TEXT,
    -- States, and classes of failures, separated by commas.
    states TEXT NOT NULL,
    event_type TEXT,
    failure_classes TEXT,
    created_from INTEGER,
    created_to INTEGER,
    actor TEXT NOT NULL,
    reason TEXT,
    matched INTEGER NOT NULL DEFAULT 0,
    changed INTEGER NOT NULL DEFAULT 0,
    -- The last notification it has looked at.
    cursor_id BLOB,
    -- The one with the lowest is next; a new one is at once.
    turn INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
INSERT INTO bulks_new (id, action, subscription_id, merchant, states, event_type, failure_classes, created_from,
    created_to, actor, reason, matched, changed, cursor_id, turn, created_at, finished_at)
SELECT id, action, subscription_id, merchant, states, event_type, failure_classes, created_from, created_to, actor,
    reason, matched, changed, cursor_id, turn, created_at, finished_at FROM bulks;
DROP TABLE bulks;
ALTER TABLE bulks_new RENAME TO bulks;
CREATE INDEX bulks_running ON bulks (turn, id) WHERE finished_at IS NULL;
CREATE INDEX bulks_finished ON bulks (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX bulks_running_of_merchant ON bulks (coalesce(merchant, '')) WHERE finished_at IS NULL;
