-- When each secret was made: the first with its subscription, each other by a rotation. Null: by a process that
-- did not write it yet.
ALTER TABLE subscription_secrets ADD COLUMN created_at INTEGER;
UPDATE subscription_secrets SET created_at = made.at
FROM (
    SELECT subscription_id, at, row_number() OVER (PARTITION BY subscription_id ORDER BY id) AS ordinal
    FROM subscription_audits WHERE action IN ('create', 'rotate_secret')
) made
WHERE made.subscription_id = subscription_secrets.subscription_id AND made.ordinal = subscription_secrets.ordinal;

-- Why the last attempt failed: what waits behind an unreachable endpoint, and was not tried itself, is found by it.
ALTER TABLE subscription_health ADD COLUMN failure_class TEXT;
