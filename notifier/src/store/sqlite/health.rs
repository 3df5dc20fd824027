//! How endpoints do.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use async_trait::async_trait;
use runtime::database::StoreResult;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::SqliteStore;
use crate::domain::attempt::AttemptResult;
use crate::domain::health::Unwell;
use crate::domain::probing::Probing;
use crate::domain::{FailureClass, Health, Lease, SubscriptionId};
use crate::store::HealthStore;
use crate::store::health::{self, Change, HealthMap, HealthRow, count_unwell, health_columns};

#[async_trait]
impl HealthStore for SqliteStore {
    async fn health(&self, subscriptions: &[SubscriptionId]) -> StoreResult<HealthMap> {
        let mut connection = self.db.reader.acquire().await?;
        let health = read(&mut connection, subscriptions.iter().copied()).await?;
        connection.release();
        Ok(health)
    }

    async fn forget_health(&self, id: SubscriptionId) -> StoreResult<()> {
        let mut connection = self.db.writer.acquire().await?;
        forget(&mut connection, id).await?;
        connection.release();
        Ok(())
    }

    async fn unwell(&self) -> StoreResult<Unwell> {
        Ok(health::counted(sqlx::query_as(count_unwell!()).fetch_one(&self.db.reader).await?))
    }
}

/// What is held against those of `subscriptions` against which something is.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    subscriptions: impl Iterator<Item = SubscriptionId>,
) -> StoreResult<HealthMap> {
    let mut rows: Vec<HealthRow<i64>> = Vec::new();
    let each: BTreeSet<SubscriptionId> = subscriptions.collect();
    for id in each {
        let row = sqlx::query_as(concat!(
            "SELECT ",
            health_columns!(),
            " FROM subscription_health WHERE subscription_id = ?1"
        ));
        rows.extend(row.bind(id.0).fetch_optional(&mut *connection).await?);
    }
    health::read_all(rows)
}

/// Those of `subscriptions` that one attempt at a time is made for.
pub(super) async fn unreachable(
    connection: &mut SqliteConnection,
    subscriptions: BTreeSet<Uuid>,
) -> StoreResult<HashSet<Uuid>> {
    let health = read(connection, subscriptions.into_iter().map(SubscriptionId)).await?;
    let unreachable = health.into_iter().filter(|(_, health)| health.probing.is_some());
    Ok(unreachable.map(|(id, _)| id.0).collect())
}

/// How a subscription is probed, where it is unreachable.
pub(super) async fn probing(
    connection: &mut SqliteConnection,
    id: SubscriptionId,
) -> StoreResult<Option<Probing>> {
    Ok(read(connection, std::iter::once(id)).await?.remove(&id).and_then(|health| health.probing))
}

/// A probe begins under `lease`.
pub(super) async fn begin_probe(
    connection: &mut SqliteConnection,
    id: SubscriptionId,
    lease: Lease,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE subscription_health SET probe_token = ?2, probe_until = ?3 WHERE subscription_id = ?1",
    )
    .bind(id.0)
    .bind(lease.token())
    .bind(lease.until().timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what `counted` results make of their endpoints' health.
pub(super) async fn learn(
    connection: &mut SqliteConnection,
    counted: &[&AttemptResult],
) -> StoreResult<BTreeMap<SubscriptionId, Change>> {
    let concerned: BTreeSet<_> = counted.iter().map(|result| result.subscription).collect();
    let before = read(connection, concerned.into_iter()).await?;
    let changes = health::changes(&before, counted);
    for (id, change) in changes.iter().filter(|(_, change)| change.before != change.after) {
        match &change.after {
            Some(health) => write(connection, *id, health).await?,
            None => forget(connection, *id).await?,
        }
    }
    Ok(changes)
}

async fn write(connection: &mut SqliteConnection, id: SubscriptionId, health: &Health) -> StoreResult<()> {
    let probe = health.probing.and_then(|probing| probing.probe);
    sqlx::query(concat!(
        "INSERT OR REPLACE INTO subscription_health (",
        health_columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
    ))
    .bind(id.0)
    .bind(health.failing_since.timestamp_micros())
    .bind(health.failed_at.map(|at| at.timestamp_micros()))
    .bind(i64::from(health.unreached))
    .bind(health.probing.map(|probing| probing.not_before.timestamp_micros()))
    .bind(probe.map(|probe| probe.token))
    .bind(probe.map(|probe| probe.until.timestamp_micros()))
    .bind(health::pause_answers(health))
    .bind(health.failure_class.map(FailureClass::as_str))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn forget(connection: &mut SqliteConnection, id: SubscriptionId) -> StoreResult<()> {
    sqlx::query("DELETE FROM subscription_health WHERE subscription_id = ?1")
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}
