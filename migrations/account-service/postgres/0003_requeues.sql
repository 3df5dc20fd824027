-- Dead letters that a person had put back into the queue: who asked for it, when and why.
CREATE TABLE requeues (
    id             uuid PRIMARY KEY, -- UUIDv7 of asked_at: the order of the list
    dead_letter_id uuid NOT NULL,
    -- What the letter was; null where it was no event.
    event_id       text,
    event_type     text,
    subject        text,
    -- What had become of it.
    given_up_for   text,
    attempts       bigint NOT NULL CHECK (attempts >= 0),
    asked_by       text NOT NULL,
    reason         text,
    asked_at       timestamptz NOT NULL,
    -- When the broker confirmed it; null when it did not, and the letter was left where it was.
    requeued_at    timestamptz
);
CREATE INDEX requeues_of_letter ON requeues (dead_letter_id, id);
CREATE INDEX requeues_of_event ON requeues (event_id, id) WHERE event_id IS NOT NULL;
