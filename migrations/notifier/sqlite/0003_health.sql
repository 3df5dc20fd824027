-- How endpoints do that do not do well; a success removes the row. Times are microseconds.
CREATE TABLE subscription_health (
    subscription_id BLOB PRIMARY KEY,
    -- When the first attempt began that failed since the last success.
    failing_since INTEGER NOT NULL,
    -- When the last attempt ended that failed by the endpoint's own fault.
    failed_at INTEGER,
    -- Attempts in a row that did not reach it.
    unreached INTEGER NOT NULL,
    -- Where it is unreachable: no probe begins before, and the lease of the one that has begun.
    probe_at INTEGER,
    probe_token BLOB,
    probe_until INTEGER,
    CHECK ((probe_token IS NULL) = (probe_until IS NULL)),
    CHECK (probe_at IS NOT NULL OR probe_token IS NULL)
) STRICT, WITHOUT ROWID;
