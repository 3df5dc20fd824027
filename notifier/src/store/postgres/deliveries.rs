//! Events in, deliveries out.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Directory, Lease, NewEvent, SubscriptionId};
use crate::store::plan::{self, Planned};
use crate::store::rows::ClaimedRow;
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
        let made = insert_notifications(&mut transaction, &planned, now).await?;
        transaction.commit().await?;
        let made = planned.iter().filter(|one| made.contains(&one.id.0));
        Ok(Ingested {
            events: fresh.len(),
            notifications: made.clone().count(),
            deliveries: made.clone().filter_map(Planned::delivery).collect(),
            waiting: made.filter(|one| one.waits()).count(),
        })
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
        let rows: Vec<ClaimedRow> = sqlx::query_as(CLAIM)
            .bind(granted.iter().map(|(want, _)| want.subscription.0).collect::<Vec<_>>())
            .bind(granted.iter().map(|(want, _)| i64::from(want.quota)).collect::<Vec<_>>())
            .bind(granted.iter().map(|(_, lease)| lease.until()).collect::<Vec<_>>())
            .bind(now)
            .bind(token)
            .fetch_all(&self.pool)
            .await?;
        let deliver = |row: ClaimedRow| {
            let endpoint = directory.get(SubscriptionId(row.subscription_id))?.endpoint.clone();
            let lease = Lease::grant(token, now, endpoint.timeout);
            Some(row.delivery(endpoint, lease))
        };
        rows.into_iter().filter_map(deliver).collect()
    }

    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>> {
        let ids: Vec<Uuid> = subscriptions.iter().map(|id| id.0).collect();
        let waiting: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
            "SELECT wanted.id, d.due_at FROM UNNEST($1::uuid[]) AS wanted (id) CROSS JOIN LATERAL (
                 SELECT due_at FROM notifications
                 WHERE subscription_id = wanted.id AND state = 'pending' ORDER BY due_at LIMIT 1
             ) d",
        )
        .bind(ids)
        .fetch_all(&self.pool)
        .await?;
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

/// One index probe per wanted subscription; rows that another process is claiming are passed over.
/// What was found is an array to the update, since joins with it would be planned for a tenth of
/// the backlog and read whole tables.
const CLAIM: &str = "
    WITH wanted AS MATERIALIZED (
        SELECT w.subscription_id, w.quota, w.lease_until
        FROM UNNEST($1::uuid[], $2::bigint[], $3::timestamptz[]) AS w (subscription_id, quota, lease_until)
        JOIN subscriptions s ON s.id = w.subscription_id
        WHERE s.state = 'active' AND s.deleted_at IS NULL
    ), claimed AS (
        UPDATE notifications n SET lease_token = $5, due_at = wanted.lease_until, updated_at = $4
        FROM wanted
        WHERE wanted.subscription_id = n.subscription_id AND n.id = ANY (ARRAY(
            SELECT d.id FROM wanted CROSS JOIN LATERAL (
                SELECT n.id FROM notifications n
                WHERE n.subscription_id = wanted.subscription_id AND n.state = 'pending' AND n.due_at <= $4
                ORDER BY n.due_at LIMIT wanted.quota FOR UPDATE SKIP LOCKED
            ) d
        ))
        RETURNING n.id, n.subscription_id, n.attempts, n.climb, n.event_key
    )
    SELECT c.id, c.subscription_id, c.attempts, c.climb, e.id AS event_id, e.body, e.traceparent
    FROM claimed c JOIN events e ON e.key = c.event_key";

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

/// The ids of the notifications that were made.
async fn insert_notifications(
    connection: &mut PgConnection,
    planned: &[Planned<'_>],
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
    if planned.is_empty() {
        return Ok(HashSet::new());
    }
    let merchants: Vec<Option<String>> = planned.iter().map(|one| one.merchant.clone()).collect();
    let tokens: Vec<Option<Uuid>> = planned.iter().map(|one| one.lease.map(|lease| lease.token())).collect();
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO notifications (id, event_key, subscription_id, merchant, due_at, lease_token, state,
             created_at, updated_at)
         SELECT new.*, 'pending', $7, $7 FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::text[],
             $5::timestamptz[], $6::uuid[]) AS new
         ON CONFLICT DO NOTHING RETURNING id",
    )
    .bind(planned.iter().map(|one| one.id.0).collect::<Vec<_>>())
    .bind(planned.iter().map(|one| one.event.key.0).collect::<Vec<_>>())
    .bind(planned.iter().map(|one| one.endpoint.subscription.0).collect::<Vec<_>>())
    .bind(merchants)
    .bind(planned.iter().map(|one| one.due_at(now)).collect::<Vec<_>>())
    .bind(tokens)
    .bind(now)
    .fetch_all(connection)
    .await?;
    Ok(ids.into_iter().collect())
}
