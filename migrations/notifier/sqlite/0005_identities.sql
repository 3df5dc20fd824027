-- An event is identified by its source and id together. Where the id is a UUIDv7 its key follows from the two;
-- the key of any other event is found here, whatever time it is stamped with when it comes again.
CREATE TABLE identities (
    source TEXT NOT NULL,
    id TEXT NOT NULL,
    key BLOB NOT NULL,
    PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;

-- What is in the log already. An event that was delivered under several times is known under the newest.
INSERT INTO identities (source, id, key)
SELECT source, id, max(key) FROM events WHERE replace(id, '-', '') <> lower(hex(key)) GROUP BY source, id;

-- Identities go when their events do.
CREATE INDEX identities_key ON identities (key);
