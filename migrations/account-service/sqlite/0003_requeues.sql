-- Dead letters that a person had put back into the queue: who asked for it, when and why.
CREATE TABLE requeues (
    id             BLOB PRIMARY KEY NOT NULL, -- UUIDv7 of asked_at: the order of the list
    dead_letter_id BLOB NOT NULL,
    -- What the letter was; null where it was no event.
    event_id       TEXT,
    event_type     TEXT,
    subject        TEXT,
    -- What had become of it.
    given_up_for   TEXT,
    attempts       INTEGER NOT NULL CHECK (attempts >= 0),
    asked_by       TEXT NOT NULL,
    reason         TEXT,
    asked_at       INTEGER NOT NULL,
    -- When the broker confirmed it; null when it did not, and the letter was left where it was.
    requeued_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX requeues_of_letter ON requeues (dead_letter_id, id);
CREATE INDEX requeues_of_event ON requeues (event_id, id) WHERE event_id IS NOT NULL;
