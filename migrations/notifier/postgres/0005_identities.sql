-- An event is identified by its source and id together. Where the id is a UUIDv7 its key follows from the two;
-- the key of any other event is found here, whatever time it is stamped with when it comes again.
CREATE TABLE identities (
    source text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    key uuid NOT NULL,
    PRIMARY KEY (source, id)
);

-- What is in the log already. An event that was delivered under several times is known under the newest.
INSERT INTO identities (source, id, key)
SELECT DISTINCT ON (source, id) source, id, key FROM events WHERE id <> key::text ORDER BY source, id, key DESC;

-- Identities go when their events do.
CREATE INDEX identities_key ON identities (key);
