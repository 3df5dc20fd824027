//! How endpoints do.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::PgConnection;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::attempt::AttemptResult;
use crate::domain::health::Unwell;
use crate::domain::{DisableAfter, FailureClass, Health, SubscriptionId};
use crate::store::HealthStore;
use crate::store::health::{self, Change, HealthMap, HealthRow, count_unwell, health_columns};

type Row = HealthRow<DateTime<Utc>>;

#[async_trait]
impl HealthStore for PostgresStore {
    async fn health(&self, subscriptions: &[SubscriptionId]) -> StoreResult<HealthMap> {
        let mut connection = self.pool.acquire().await?;
        let health = read(&mut connection, subscriptions.iter().copied()).await?;
        connection.release();
        Ok(health)
    }

    async fn forget_health(&self, id: SubscriptionId) -> StoreResult<()> {
        let mut connection = self.pool.acquire().await?;
        forget(&mut connection, &[id.0]).await?;
        connection.release();
        Ok(())
    }

    async fn unwell(&self) -> StoreResult<Unwell> {
        Ok(health::counted(sqlx::query_as(count_unwell!()).fetch_one(&self.pool).await?))
    }
}

/// What is held against those of `subscriptions` against which something is.
pub(super) async fn read(
    connection: &mut PgConnection,
    subscriptions: impl Iterator<Item = SubscriptionId>,
) -> StoreResult<HealthMap> {
    let ids: BTreeSet<Uuid> = subscriptions.map(|id| id.0).collect();
    if ids.is_empty() {
        return Ok(HealthMap::new());
    }
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "SELECT ",
        health_columns!(),
        " FROM subscription_health WHERE subscription_id = ANY ($1)"
    ))
    .bind(ids.into_iter().collect::<Vec<_>>())
    .fetch_all(connection)
    .await?;
    health::read_all(rows)
}

/// Whether one of `results` may be the failure that disables its subscription. Asked before anything
/// is locked, since who changes subscriptions locks their version first.
pub(super) async fn may_disable(
    connection: &mut PgConnection,
    results: &[&AttemptResult],
    disable_after: DisableAfter,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let failed: Vec<Uuid> = health::failed(results.iter().copied()).into_iter().map(|id| id.0).collect();
    let Some(limit) = disable_after.limit(now).filter(|_| !failed.is_empty()) else { return Ok(false) };
    if results.iter().any(|result| result.attempt.started_at <= limit) {
        return Ok(true); // The group alone can hold so long a time.
    }
    Ok(sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT FROM subscription_health WHERE subscription_id = ANY ($1) AND failing_since <= $2)",
    )
    .bind(failed)
    .bind(limit)
    .fetch_one(connection)
    .await?)
}

/// Writes what `counted` results make of their endpoints' health, where something is held against
/// them already (`ailing`) or is now. Where neither is, nothing is looked at.
pub(super) async fn learn(
    connection: &mut PgConnection,
    counted: &[&AttemptResult],
    ailing: BTreeSet<SubscriptionId>,
    now: DateTime<Utc>,
) -> StoreResult<BTreeMap<SubscriptionId, Change>> {
    let mut concerned = health::failed(counted.iter().copied());
    concerned.extend(ailing);
    if concerned.is_empty() {
        return Ok(BTreeMap::new());
    }
    let before = lock(connection, &concerned, now).await?;
    let theirs: Vec<&AttemptResult> =
        counted.iter().copied().filter(|result| concerned.contains(&result.subscription)).collect();
    let changes = health::changes(&before, &theirs);
    let ill: Vec<(Uuid, Health)> =
        changes.iter().filter_map(|(id, change)| Some((id.0, change.after?))).collect();
    let well: Vec<Uuid> =
        changes.iter().filter(|(_, change)| change.after.is_none()).map(|(id, _)| id.0).collect();
    if !ill.is_empty() {
        write(connection, &ill).await?;
    }
    if !well.is_empty() {
        forget(connection, &well).await?;
    }
    Ok(changes)
}

/// The rows of `ids`, made where there are none, so that they can be held: of two processes that
/// learn of the same endpoint one comes after the other. In the order of ids, so that no two wait
/// for each other.
async fn lock(
    connection: &mut PgConnection,
    ids: &BTreeSet<SubscriptionId>,
    now: DateTime<Utc>,
) -> StoreResult<HealthMap> {
    let rows: Vec<Row> = sqlx::query_as(concat!(
        "INSERT INTO subscription_health AS h (subscription_id, failing_since, unreached)
         SELECT id, $2, 0 FROM UNNEST($1::uuid[]) AS concerned (id) ORDER BY id
         ON CONFLICT (subscription_id) DO UPDATE SET unreached = h.unreached
         RETURNING ",
        health_columns!()
    ))
    .bind(ids.iter().map(|id| id.0).collect::<Vec<_>>())
    .bind(now)
    .fetch_all(connection)
    .await?;
    health::read_all(rows)
}

async fn write(connection: &mut PgConnection, ill: &[(Uuid, Health)]) -> StoreResult<()> {
    let probings = || ill.iter().map(|(_, health)| health.probing);
    let probes = || probings().map(|probing| probing.and_then(|probing| probing.probe));
    sqlx::query(
        "UPDATE subscription_health h
         SET failing_since = new.failing_since, failed_at = new.failed_at, unreached = new.unreached,
             probe_at = new.probe_at, probe_token = new.probe_token, probe_until = new.probe_until,
             pause_answers = new.pause_answers, failure_class = new.failure_class
         FROM UNNEST($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::bigint[], $5::timestamptz[],
             $6::uuid[], $7::timestamptz[], $8::bigint[], $9::text[])
             AS new (id, failing_since, failed_at, unreached, probe_at, probe_token, probe_until, pause_answers,
                 failure_class)
         WHERE h.subscription_id = new.id",
    )
    .bind(ill.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(ill.iter().map(|(_, health)| health.failing_since).collect::<Vec<_>>())
    .bind(ill.iter().map(|(_, health)| health.failed_at).collect::<Vec<_>>())
    .bind(ill.iter().map(|(_, health)| i64::from(health.unreached)).collect::<Vec<_>>())
    .bind(probings().map(|probing| probing.map(|probing| probing.not_before)).collect::<Vec<_>>())
    .bind(probes().map(|probe| probe.map(|probe| probe.token)).collect::<Vec<_>>())
    .bind(probes().map(|probe| probe.map(|probe| probe.until)).collect::<Vec<_>>())
    .bind(ill.iter().map(|(_, health)| health::pause_answers(health)).collect::<Vec<_>>())
    .bind(ill.iter().map(|(_, health)| health.failure_class.map(FailureClass::as_str)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Holds nothing against these any more.
pub(super) async fn forget(connection: &mut PgConnection, ids: &[Uuid]) -> StoreResult<()> {
    sqlx::query("DELETE FROM subscription_health WHERE subscription_id = ANY ($1)")
        .bind(ids)
        .execute(connection)
        .await?;
    Ok(())
}
