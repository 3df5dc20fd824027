-- How endpoints do that do not do well; a success removes the row.
CREATE TABLE subscription_health (
    subscription_id uuid PRIMARY KEY,
    -- When the first attempt began that failed since the last success.
    failing_since timestamptz NOT NULL,
    -- When the last attempt ended that failed by the endpoint's own fault. Null, with nothing
    -- unreached: the row is there to be locked, and holds nothing against the endpoint.
    failed_at timestamptz,
    -- Attempts in a row that did not reach it.
    unreached bigint NOT NULL,
    -- Where it is unreachable: no probe begins before, and the lease of the one that has begun.
    probe_at timestamptz,
    probe_token uuid,
    probe_until timestamptz,
    CHECK ((probe_token IS NULL) = (probe_until IS NULL)),
    CHECK (probe_at IS NOT NULL OR probe_token IS NULL)
) WITH (fillfactor = 70);
