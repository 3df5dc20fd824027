-- The notifiers that run, with the ids and fingerprints of their SECRET_KEYS, the one that encrypts first: none
-- starts that would encrypt under a key which another lacks. A row that was not renewed of late is of a process that
-- has died.
CREATE TABLE key_holders (
    process uuid PRIMARY KEY,
    keys jsonb NOT NULL,
    seen_at timestamptz NOT NULL
);
