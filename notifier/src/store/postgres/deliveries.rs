//! Events in, deliveries out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Directory, Lease, Message, NewEvent, SubscriptionId};
use crate::store::plan::{self, Planned};
use crate::store::rows::{ClaimedRow, MessageRow};
use crate::store::{Admission, DeliveryStore, Ingested, Recorded, Want};

#[async_trait]
impl DeliveryStore for PostgresStore {
    async fn ingest(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        let mut transaction = self.pool.begin().await?;
        // Shared, so that ingesting processes don't wait for each other, only for changes.
        let version: i64 = sqlx::query_scalar("SELECT version FROM subscriptions_version FOR SHARE")
            .fetch_one(&mut *transaction)
            .await?;
        let directory = self.directory_at(version, &mut transaction).await?;
        let ordered = plan::in_order(events);
        let fresh = insert_events(&mut transaction, &ordered, now).await?;
        let fresh_events = ordered.into_iter().filter(|event| fresh.contains(&event.key.0));
        let planned = plan::plan(fresh_events, &directory, admission, token, now);
        insert_notifications(&mut transaction, &planned, now).await?;
        transaction.commit().await?;
        Ok(plan::ingested(fresh.len(), &planned))
    }

    async fn claim_due(&self, wants: &[Want], token: Uuid, now: DateTime<Utc>) -> StoreResult<Vec<Delivery>> {
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
            .fetch_all(&self.pool)
            .await?;
        let messages = messages(&self.pool, &claimed).await?;
        let deliver = |row: ClaimedRow| {
            let endpoint = directory.get(SubscriptionId(row.subscription_id))?.endpoint.clone();
            let lease = Lease::grant(token, now, endpoint.timeout);
            Some(row.delivery(&messages, endpoint, lease))
        };
        claimed.into_iter().filter_map(deliver).collect()
    }

    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>> {
        let ids: Vec<Uuid> = subscriptions.iter().map(|id| id.0).collect();
        let waiting: Vec<(Uuid, DateTime<Utc>)> =
            sqlx::query_as(NEXT_DUE).bind(ids).fetch_all(&self.pool).await?;
        Ok(waiting.into_iter().map(|(id, due_at)| (SubscriptionId(id), due_at)).collect())
    }

    async fn record(&self, results: &[AttemptResult], now: DateTime<Utc>) -> StoreResult<Vec<Recorded>> {
        super::record::record(&self.pool, results, now).await
    }

    async fn directory(&self) -> StoreResult<Arc<Directory>> {
        let mut connection = self.pool.acquire().await?;
        let version: i64 = sqlx::query_scalar("SELECT version FROM subscriptions_version")
            .fetch_one(&mut *connection)
            .await?;
        self.directory_at(version, &mut connection).await
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }
}

/// One index probe per wanted subscription. It passes over what is under a live lease (which is no
/// more than what the subscription has in flight) and over rows that another process is claiming.
/// No indexed column changes, so the rows' indexes stay as they are. What was found is an array of
/// places to the update, since a join with it would be planned for a tenth of the backlog.
const CLAIM: &str = "
    WITH wanted AS MATERIALIZED (
        SELECT w.subscription_id, w.quota, w.lease_until
        FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[]) AS w (subscription_id, quota, lease_until)
        JOIN subscriptions s ON s.id = w.subscription_id
        WHERE s.state = 'active' AND s.deleted_at IS NULL
    )
    UPDATE waiting n SET lease_token = $5, leased_until = wanted.lease_until, updated_at = $4
    FROM wanted
    WHERE wanted.subscription_id = n.subscription_id AND n.ctid = ANY (ARRAY(
        SELECT d.ctid FROM wanted CROSS JOIN LATERAL (
            SELECT n.ctid FROM waiting n
            WHERE n.subscription_id = wanted.subscription_id AND n.due_at <= $4
              AND (n.leased_until IS NULL OR n.leased_until <= $4)
            ORDER BY n.due_at LIMIT wanted.quota FOR UPDATE SKIP LOCKED
        ) d
    ))
    RETURNING n.id, n.event_key, n.subscription_id, n.attempts, n.climb";

/// The first that is free, and the leases of those before it: two short walks along one index. A
/// lease behind the first free one needs no look, for that one is due already then.
const NEXT_DUE: &str = "
    SELECT wanted.id, LEAST(free.due_at, leased.until) FROM UNNEST($1::uuid[]) AS wanted (id)
    LEFT JOIN LATERAL (
        SELECT n.due_at FROM waiting n
        WHERE n.subscription_id = wanted.id AND n.lease_token IS NULL ORDER BY n.due_at LIMIT 1
    ) free ON TRUE
    CROSS JOIN LATERAL (
        SELECT min(n.leased_until) AS until FROM waiting n
        WHERE n.subscription_id = wanted.id AND n.lease_token IS NOT NULL
          AND n.due_at < coalesce(free.due_at, 'infinity')
    ) leased
    WHERE LEAST(free.due_at, leased.until) IS NOT NULL";

/// The messages of what was claimed, by their events' keys. A statement of its own, so that it is
/// planned for these keys.
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

/// The keys of the events that were not known.
async fn insert_events(
    connection: &mut PgConnection,
    events: &[&NewEvent],
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
    let texts = |of: fn(&NewEvent) -> &str| events.iter().map(|event| of(event).to_owned()).collect();
    let options = |of: fn(&NewEvent) -> Option<&String>| events.iter().map(|e| of(e).cloned()).collect();
    let (ids, sources, kinds): (Vec<String>, Vec<String>, Vec<String>) =
        (texts(|e| &e.id), texts(|e| &e.source), texts(|e| &e.kind));
    let (subjects, merchants, traceparents): (Vec<Option<String>>, Vec<_>, Vec<_>) = (
        options(|e| e.subject.as_ref()),
        options(|e| e.merchant.as_ref()),
        options(|e| e.traceparent.as_ref()),
    );
    let bodies: Vec<String> =
        events.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect();
    let keys: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at)
         SELECT new.*, $10 FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
             $6::text[], $7::text[], $8::text[], $9::text[]) AS new
         ON CONFLICT (key) DO NOTHING RETURNING key",
    )
    .bind(events.iter().map(|event| event.key.0).collect::<Vec<_>>())
    .bind(ids)
    .bind(sources)
    .bind(kinds)
    .bind(events.iter().map(|event| event.time).collect::<Vec<_>>())
    .bind(subjects)
    .bind(merchants)
    .bind(traceparents)
    .bind(bodies)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(keys.into_iter().collect())
}

/// Every one is new, since its event is.
async fn insert_notifications(
    connection: &mut PgConnection,
    planned: &[Planned<'_>],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if planned.is_empty() {
        return Ok(());
    }
    let leases = || planned.iter().map(|one| one.lease);
    sqlx::query(
        "INSERT INTO waiting (id, event_key, subscription_id, lease_token, leased_until, due_at, created_at,
             updated_at)
         SELECT new.*, $6, $6, $6
         FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::timestamptz[]) AS new",
    )
    .bind(planned.iter().map(|one| one.id.0).collect::<Vec<_>>())
    .bind(planned.iter().map(|one| one.event.key.0).collect::<Vec<_>>())
    .bind(planned.iter().map(|one| one.endpoint.subscription.0).collect::<Vec<_>>())
    .bind(leases().map(|lease| lease.map(|lease| lease.token())).collect::<Vec<_>>())
    .bind(leases().map(|lease| lease.map(|lease| lease.until())).collect::<Vec<_>>())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
