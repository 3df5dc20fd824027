//! Events in, deliveries out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult, takes_writes};
use uuid::Uuid;

use super::{PostgresStore, place_under_lease};
use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Directory, DisableAfter, Lease, Message, NewEvent, SubscriptionId};
use crate::store::rows::{ClaimedRow, MessageRow, in_turn};
use crate::store::{Admission, DeliveryStore, Ingested, Recorded, Unused, Want};

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn ingest(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        super::ingest::ingest(self, events, admission, token, now).await
    }

    async fn ingest_together(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        super::ingest_together::ingest(self, events, admission, token, now).await
    }

    async fn claim_due(
        &self,
        wants: &[Want],
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
    ) -> StoreResult<Vec<Delivery>> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        // Read before the claim and used for its leases, so that a lease fits the very timeout its
        // delivery will have, whatever is changed meanwhile.
        let directory = self.directory().await?;
        let granted: Vec<_> = wants
            .iter()
            .filter_map(|want| {
                let endpoint = directory.get(want.subscription)?.endpoint.clone();
                Some((want, Lease::grant(token, now, endpoint.timeout)))
            })
            .collect();
        let claimed: Vec<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(granted.iter().map(|(want, _)| want.subscription.0).collect::<Vec<_>>())
            .bind(granted.iter().map(|(want, _)| i64::from(want.quota)).collect::<Vec<_>>())
            .bind(granted.iter().map(|(_, lease)| lease.until()).collect::<Vec<_>>())
            .bind(now)
            .bind(token)
            .bind(granted.iter().map(|(want, _)| i64::from(want.first_attempts())).collect::<Vec<_>>())
            .bind(granted.iter().map(|(want, _)| want.retries_first).collect::<Vec<_>>())
            .bind(ended)
            .fetch_all(&self.steady)
            .await?;
        let messages = messages(&self.pool, &claimed).await?;
        let mut of_each: HashMap<Uuid, Vec<ClaimedRow>> = HashMap::new();
        for row in claimed {
            of_each.entry(row.subscription_id).or_default().push(row);
        }
        let mut deliveries = Vec::new();
        for (want, lease) in granted {
            let Some(entry) = directory.get(want.subscription) else { continue };
            let rows = of_each.remove(&want.subscription.0).unwrap_or_default();
            for row in in_turn(rows, want.retries_first) {
                deliveries.push(row.delivery(&messages, entry.endpoint.clone(), lease)?);
            }
        }
        Ok(deliveries)
    }

    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>> {
        let ids: Vec<Uuid> = subscriptions.iter().map(|id| id.0).collect();
        let waiting: Vec<(Uuid, DateTime<Utc>)> =
            sqlx::query_as(NEXT_DUE).bind(ids).fetch_all(&self.steady).await?;
        Ok(waiting.into_iter().map(|(id, due_at)| (SubscriptionId(id), due_at)).collect())
    }

    async fn record(
        &self,
        results: &[AttemptResult],
        disable_after: DisableAfter,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Recorded>> {
        super::record::record(&self.steady, results, disable_after, now).await
    }

    async fn give_back(&self, unused: &[Unused], now: DateTime<Utc>) -> StoreResult<()> {
        let mut ordered = unused.to_vec();
        ordered.sort_by_key(|one| one.notification.0);
        sqlx::query(GIVE_BACK)
            .bind(ordered.iter().map(|one| one.notification.0).collect::<Vec<_>>())
            .bind(ordered.iter().map(|one| one.subscription.0).collect::<Vec<_>>())
            .bind(ordered.iter().map(|one| one.lease.token()).collect::<Vec<_>>())
            .bind(now)
            .execute(&self.steady)
            .await?;
        Ok(())
    }

    async fn directory(&self) -> StoreResult<Arc<Directory>> {
        Ok(self.read_directory().await?.1)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1").execute(&self.pool.for_checks()).await?;
        takes_writes(&self.steady.for_checks()).await
    }
}

/// Two index probes per wanted subscription: for its first attempts and for its retries, `share` of
/// the quota for the first ones while there are enough of both. They pass over what is under a live
/// lease (which is no more than what the subscription has in flight) and over rows that another
/// process is claiming. No indexed column changes, so the rows' indexes stay as they are. What was
/// found is updated by its place.
///
/// Of a subscription that is unreachable or that its receiver paused one is claimed, as a probe, when it
/// is time for that. Who looks
/// whether it is holds that subscription's health until the probe is written there; who finds it held
/// leaves the probe to the other. `OFFSET 0` as in [`place_under_lease`].
const CLAIM: &str = "
    WITH probed AS MATERIALIZED (
        SELECT h.subscription_id FROM subscription_health h
        WHERE h.subscription_id = ANY ($1) AND h.probe_at <= $4
          AND (h.probe_until IS NULL OR h.probe_until <= $8)
        FOR UPDATE SKIP LOCKED
    ), wanted AS MATERIALIZED (
        SELECT w.subscription_id, w.lease_until,
            CASE WHEN h.subscription_id IS NULL THEN w.quota ELSE 1 END AS quota,
            CASE WHEN h.subscription_id IS NULL THEN w.share WHEN w.retries_first THEN 0 ELSE 1 END AS share
        FROM UNNEST($1::uuid[], $2::bigint[], $6::bigint[], $7::boolean[], $3::timestamptz[])
            AS w (subscription_id, quota, share, retries_first, lease_until)
        LEFT JOIN LATERAL (
            SELECT subscription_id FROM subscription_health
            WHERE subscription_id = w.subscription_id AND probe_at IS NOT NULL OFFSET 0
        ) h ON TRUE
        WHERE (SELECT state = 'active' AND deleted_at IS NULL FROM subscriptions WHERE id = w.subscription_id)
          AND (h.subscription_id IS NULL OR h.subscription_id IN (SELECT subscription_id FROM probed))
    ), first AS MATERIALIZED (
        SELECT wanted.*, ARRAY(
            SELECT n.ctid FROM waiting n
            WHERE n.subscription_id = wanted.subscription_id AND NOT n.again AND n.due_at <= $4
              AND (n.leased_until IS NULL OR n.leased_until <= $8)
            ORDER BY n.due_at LIMIT wanted.quota FOR UPDATE SKIP LOCKED
        ) AS firsts FROM wanted
    ), found AS MATERIALIZED (
        SELECT first.*, ARRAY(
            SELECT n.ctid FROM waiting n
            WHERE n.subscription_id = first.subscription_id AND n.again AND n.due_at <= $4
              AND (n.leased_until IS NULL OR n.leased_until <= $8)
            ORDER BY n.due_at LIMIT first.quota - LEAST(first.share, cardinality(first.firsts))
            FOR UPDATE SKIP LOCKED
        ) AS retries FROM first
    ), claimed AS (
        UPDATE waiting n SET lease_token = $5, leased_until = place.lease_until, updated_at = $4
        FROM (
            SELECT UNNEST(firsts[:quota - cardinality(retries)] || retries) AS ctid, lease_until FROM found
        ) place
        WHERE n.ctid = place.ctid
        RETURNING n.id, n.event_key, n.subscription_id, n.attempts, n.climb, n.again, n.leased_until
    ), probing AS (
        UPDATE subscription_health h SET probe_token = $5, probe_until = (
            SELECT max(leased_until) FROM claimed WHERE subscription_id = h.subscription_id)
        WHERE h.subscription_id = ANY ($1) AND h.probe_at IS NOT NULL
          AND (h.subscription_id IN (SELECT subscription_id FROM claimed)) IS TRUE
    )
    SELECT id, event_key, subscription_id, attempts, climb, again FROM claimed";

/// Of first attempts and of retries, the first that is free, and the leases of those before it: two
/// short walks each along one index. A lease behind the first free one needs no look, for that one is
/// due already then. The bound tells the planner how short the second is; whoever has more in flight
/// looks again soon anyway. While a subscription is unreachable or paused by its receiver, nothing is due
/// before its next probe.
const NEXT_DUE: &str = "
    SELECT next.id, GREATEST(next.due_at, h.probe_at, h.probe_until) FROM (
    SELECT wanted.id, min(LEAST(free.due_at, leased.until)) AS due_at
    FROM UNNEST($1::uuid[]) AS wanted (id) CROSS JOIN (VALUES (false), (true)) AS kind (again)
    LEFT JOIN LATERAL (
        SELECT n.due_at FROM waiting n
        WHERE n.subscription_id = wanted.id AND n.again = kind.again AND n.lease_token IS NULL
        ORDER BY n.due_at LIMIT 1
    ) free ON TRUE
    CROSS JOIN LATERAL (
        SELECT min(first.leased_until) AS until FROM (
            SELECT n.leased_until FROM waiting n
            WHERE n.subscription_id = wanted.id AND n.again = kind.again
              AND n.due_at < coalesce(free.due_at, 'infinity')
            ORDER BY n.due_at LIMIT 1000
        ) first
    ) leased
    GROUP BY wanted.id HAVING min(LEAST(free.due_at, leased.until)) IS NOT NULL
    ) next LEFT JOIN LATERAL (
        SELECT probe_at, probe_until FROM subscription_health WHERE subscription_id = next.id OFFSET 0
    ) h ON TRUE";

/// Locked in the order of ids, as results are. A probe that is given back is over.
const GIVE_BACK: &str = concat!(
    "
    WITH found AS MATERIALIZED (
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[]) AS r (id, subscription, token)
        ",
    place_under_lease!(),
    "
    ), returned AS (
        UPDATE waiting n SET lease_token = NULL, leased_until = NULL, updated_at = $4
        FROM found r WHERE n.ctid = r.place AND n.lease_token = r.token
        RETURNING n.subscription_id, r.token
    )
    UPDATE subscription_health h SET probe_token = NULL, probe_until = NULL
    WHERE h.subscription_id = ANY ($2) AND h.probe_token IS NOT NULL
      AND ((h.subscription_id, h.probe_token) IN (SELECT subscription_id, token FROM returned)) IS TRUE"
);

/// The messages of what was claimed, by their events' keys. A statement of its own and planned each
/// time, so that it looks at the days of these keys alone.
async fn messages(pool: &PgPool, claimed: &[ClaimedRow]) -> StoreResult<HashMap<Uuid, Message>> {
    if claimed.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: HashSet<Uuid> = claimed.iter().map(|row| row.event_key).collect();
    let rows: Vec<MessageRow> =
        sqlx::query_as("SELECT key, id, body, traceparent FROM events WHERE key = ANY($1)")
            .bind(keys.into_iter().collect::<Vec<_>>())
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().map(MessageRow::message).collect())
}
