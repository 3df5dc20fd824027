//! Events in, deliveries out.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Directory, Lease, NewEvent, SubscriptionId};
use crate::store::plan::{self, Planned};
use crate::store::rows::ClaimedRow;
use crate::store::{Admission, DeliveryStore, Ingested, Recorded, Want};

#[async_trait]
impl DeliveryStore for SqliteStore {
    async fn ingest(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        let mut transaction = self.begin().await?;
        let directory = self.directory_of(&mut transaction).await?;
        let mut fresh = Vec::new();
        for event in plan::in_order(events) {
            if insert_event(&mut transaction, event, now).await? {
                fresh.push(event);
            }
        }
        let planned = plan::plan(fresh.iter().copied(), &directory, admission, token, now);
        let mut made = HashSet::new();
        for one in &planned {
            if insert_notification(&mut transaction, one, now).await? {
                made.insert(one.id);
            }
        }
        transaction.commit().await?;
        let made = planned.iter().filter(|one| made.contains(&one.id));
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
        let mut transaction = self.begin().await?;
        let directory = self.directory_of(&mut transaction).await?;
        let mut deliveries = Vec::new();
        for want in wants {
            let Some(entry) = directory.get(want.subscription).filter(|entry| entry.active) else { continue };
            let lease = Lease::grant(token, now, entry.endpoint.timeout);
            for row in claim(&mut transaction, *want, lease, now).await? {
                deliveries.push(row.delivery(entry.endpoint.clone(), lease)?);
            }
        }
        transaction.commit().await?;
        Ok(deliveries)
    }

    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>> {
        let mut connection = self.db.reader.acquire().await?;
        let mut waiting = Vec::new();
        for id in subscriptions {
            let due: Option<i64> = sqlx::query_scalar(
                "SELECT min(due_at) FROM notifications WHERE subscription_id = ?1 AND state = 'pending'",
            )
            .bind(id.0)
            .fetch_one(&mut *connection)
            .await?;
            waiting.extend(due.and_then(DateTime::from_timestamp_micros).map(|due| (*id, due)));
        }
        Ok(waiting)
    }

    async fn record(&self, results: &[AttemptResult], now: DateTime<Utc>) -> StoreResult<Vec<Recorded>> {
        if results.is_empty() {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin().await?;
        let recorded = super::record::record(&mut transaction, results, now).await?;
        transaction.commit().await?;
        Ok(recorded)
    }

    async fn directory(&self) -> StoreResult<Arc<Directory>> {
        self.directory_of(&mut *self.db.reader.acquire().await?).await
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1").execute(&self.db.reader).await?;
        Ok(())
    }
}

/// Whether the event was not known.
async fn insert_event(
    connection: &mut SqliteConnection,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO events (key, id, source, type, time, subject, merchant, traceparent, body, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )
    .bind(event.key.0)
    .bind(&event.id)
    .bind(&event.source)
    .bind(&event.kind)
    .bind(event.time.timestamp_micros())
    .bind(&event.subject)
    .bind(&event.merchant)
    .bind(&event.traceparent)
    .bind(String::from_utf8_lossy(&event.body).into_owned())
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn insert_notification(
    connection: &mut SqliteConnection,
    one: &Planned<'_>,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let inserted = sqlx::query(
        "INSERT INTO notifications (id, event_key, subscription_id, merchant, state, due_at, lease_token,
             created_at, updated_at)
         VALUES (?1, ?2, ?3, ?4, 'pending', ?5, ?6, ?7, ?7) ON CONFLICT DO NOTHING",
    )
    .bind(one.id.0)
    .bind(one.event.key.0)
    .bind(one.endpoint.subscription.0)
    .bind(&one.merchant)
    .bind(one.due_at(now).timestamp_micros())
    .bind(one.lease.map(|lease| lease.token()))
    .bind(now.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

async fn claim(
    connection: &mut SqliteConnection,
    want: Want,
    lease: Lease,
    now: DateTime<Utc>,
) -> StoreResult<Vec<ClaimedRow>> {
    Ok(sqlx::query_as(
        "UPDATE notifications SET lease_token = ?1, due_at = ?2, updated_at = ?3
         WHERE id IN (
             SELECT id FROM notifications
             WHERE subscription_id = ?4 AND state = 'pending' AND due_at <= ?3
             ORDER BY due_at LIMIT ?5)
         RETURNING id, subscription_id, attempts, climb, (SELECT id FROM events WHERE key = event_key)
             AS event_id, (SELECT body FROM events WHERE key = event_key) AS body,
             (SELECT traceparent FROM events WHERE key = event_key) AS traceparent",
    )
    .bind(lease.token())
    .bind(lease.until().timestamp_micros())
    .bind(now.timestamp_micros())
    .bind(want.subscription.0)
    .bind(i64::from(want.quota))
    .fetch_all(connection)
    .await?)
}
