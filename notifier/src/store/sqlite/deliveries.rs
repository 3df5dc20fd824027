//! Events in, deliveries out.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{StoreResult, hex, hex_list, list};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{SqliteStore, health};
use crate::domain::attempt::AttemptResult;
use crate::domain::{Delivery, Directory, DisableAfter, Lease, Message, NewEvent, SubscriptionId};
use crate::store::rows::{ClaimedRow, MessageRow, in_turn};
use crate::store::{Admission, DeliveryStore, Ingested, Recorded, Unused, Want};

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
        let times = (self.retention.first_kept_id(now), now);
        let ingested =
            super::ingest::ingest(&mut transaction, &directory, events, admission, token, times).await?;
        transaction.commit().await?;
        Ok(ingested)
    }

    async fn ingest_together(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        let mut transaction = self.begin().await?;
        let directory = self.directory_of(&mut transaction).await?;
        let times = (self.retention.first_kept_id(now), now);
        let ingested =
            super::ingest::ingest(&mut transaction, &directory, events, admission, token, times).await?;
        if ingested.refused.is_empty() {
            transaction.commit().await?;
            return Ok(ingested);
        }
        transaction.rollback().await?;
        Ok(Ingested { refused: ingested.refused, ..Ingested::default() })
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
        let mut transaction = self.begin().await?;
        let directory = self.directory_of(&mut transaction).await?;
        let mut deliveries = Vec::new();
        for want in wants {
            let Some(entry) = directory.get(want.subscription).filter(|entry| entry.active) else { continue };
            let lease = Lease::grant(token, now, entry.endpoint.timeout);
            let claimed = claim_or_probe(&mut transaction, *want, lease, (now, ended)).await?;
            let messages = messages(&mut transaction, &claimed).await?;
            for row in in_turn(claimed, want.retries_first) {
                deliveries.push(row.delivery(&messages, entry.endpoint.clone(), lease)?);
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
            let due = next_due(&mut connection, *id).await?;
            if let Some(due) = due.and_then(DateTime::from_timestamp_micros) {
                let probing = health::probing(&mut connection, *id).await?;
                waiting.push((*id, probing.map_or(due, |probing| due.max(probing.next_at()))));
            }
        }
        connection.release();
        Ok(waiting)
    }

    async fn record(
        &self,
        results: &[AttemptResult],
        disable_after: DisableAfter,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Recorded>> {
        super::record::record(self, results, disable_after, now).await
    }

    async fn give_back(&self, unused: &[Unused], now: DateTime<Utc>) -> StoreResult<()> {
        let row =
            |one: &Unused| json!([hex(one.notification.0), hex(one.lease.token()), hex(one.subscription.0)]);
        let unused = list(unused.iter().map(row));
        let mut transaction = self.begin().await?;
        // A probe that is given back is over.
        sqlx::query(
            "UPDATE subscription_health SET probe_token = NULL, probe_until = NULL
             WHERE (subscription_id, probe_token) IN (
                 SELECT unhex(unused.value ->> 2), unhex(unused.value ->> 1)
                 FROM json_each(?1) AS unused JOIN waiting
                 ON waiting.id = unhex(unused.value ->> 0) AND lease_token = unhex(unused.value ->> 1))",
        )
        .bind(&unused)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "UPDATE waiting SET lease_token = NULL, leased_until = NULL, updated_at = ?2
             FROM json_each(?1) AS unused
             WHERE waiting.id = unhex(unused.value ->> 0) AND lease_token = unhex(unused.value ->> 1)",
        )
        .bind(&unused)
        .bind(now.timestamp_micros())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn directory(&self) -> StoreResult<Arc<Directory>> {
        let mut connection = self.db.reader.acquire().await?;
        let directory = self.directory_of(&mut connection).await?;
        connection.release();
        Ok(directory)
    }

    async fn check(&self) -> StoreResult<()> {
        sqlx::query("SELECT 1").execute(&self.db.reader).await?;
        self.db.takes_writes().await
    }
}

/// One kind's due work, oldest first, each with its turn: what has none before the other kind has as
/// many. Passes over what is under a live lease, which is no more than what the subscription has in
/// flight.
macro_rules! in_turn {
    ($again:literal, $turn:literal) => {
        concat!(
            "SELECT id, 2 * row_number() OVER (ORDER BY due_at) + ",
            $turn,
            " AS turn FROM (
                 SELECT id, due_at FROM waiting
                 WHERE subscription_id = ?4 AND again = ",
            $again,
            " AND due_at <= ?3 AND (leased_until IS NULL OR leased_until <= ?7)
                 ORDER BY due_at LIMIT ?5)"
        )
    };
}

/// Claims what is wanted; of a subscription that is unreachable or that its receiver paused one, as a probe,
/// when it is time for that.
async fn claim_or_probe(
    connection: &mut SqliteConnection,
    want: Want,
    lease: Lease,
    (now, ended): (DateTime<Utc>, DateTime<Utc>),
) -> StoreResult<Vec<ClaimedRow>> {
    match health::probing(connection, want.subscription).await? {
        None => claim(connection, want, lease, (now, ended)).await,
        Some(probing) if probing.next_at() > now => Ok(Vec::new()),
        Some(_) => {
            let claimed = claim(connection, Want { quota: 1, ..want }, lease, (now, ended)).await?;
            if !claimed.is_empty() {
                health::begin_probe(connection, want.subscription, lease).await?;
            }
            Ok(claimed)
        }
    }
}

async fn claim(
    connection: &mut SqliteConnection,
    want: Want,
    lease: Lease,
    (now, ended): (DateTime<Utc>, DateTime<Utc>),
) -> StoreResult<Vec<ClaimedRow>> {
    Ok(sqlx::query_as(concat!(
        "UPDATE waiting SET lease_token = ?1, leased_until = ?2, updated_at = ?3
         WHERE id IN (SELECT id FROM (",
        in_turn!("0", "?6"),
        " UNION ALL ",
        in_turn!("1", "1 - ?6"),
        ") ORDER BY turn LIMIT ?5)
         RETURNING id, event_key, subscription_id, attempts, climb, again",
    ))
    .bind(lease.token())
    .bind(lease.until().timestamp_micros())
    .bind(now.timestamp_micros())
    .bind(want.subscription.0)
    .bind(i64::from(want.quota))
    .bind(i64::from(want.retries_first))
    .bind(ended.timestamp_micros())
    .fetch_all(connection)
    .await?)
}

/// The messages of what was claimed, by their events' keys.
async fn messages(
    connection: &mut SqliteConnection,
    claimed: &[ClaimedRow],
) -> StoreResult<HashMap<Uuid, Message>> {
    let rows: Vec<MessageRow> = sqlx::query_as(
        "SELECT key, id, body, traceparent FROM events WHERE key IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(hex_list(claimed.iter().map(|row| row.event_key)))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(MessageRow::message).collect())
}

/// Of first attempts and of retries, the first that is free, and the leases of those before it: two
/// short walks each along one index. A lease behind the first free one needs no look, for that one is
/// due already then.
async fn next_due(connection: &mut SqliteConnection, id: SubscriptionId) -> StoreResult<Option<i64>> {
    let mut next = None;
    for again in [false, true] {
        let free: Option<i64> = sqlx::query_scalar(
            "SELECT due_at FROM waiting WHERE subscription_id = ?1 AND again = ?2 AND lease_token IS NULL
             ORDER BY due_at LIMIT 1",
        )
        .bind(id.0)
        .bind(again)
        .fetch_optional(&mut *connection)
        .await?;
        let leased: Option<i64> = sqlx::query_scalar(
            "SELECT min(leased_until) FROM waiting
             WHERE subscription_id = ?1 AND again = ?2 AND lease_token IS NOT NULL AND due_at < ?3",
        )
        .bind(id.0)
        .bind(again)
        .bind(free.unwrap_or(i64::MAX))
        .fetch_one(&mut *connection)
        .await?;
        next = [next, free, leased].into_iter().flatten().min();
    }
    Ok(next)
}
