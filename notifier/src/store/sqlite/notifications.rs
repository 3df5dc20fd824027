//! The notification log and what operators do with it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{SqliteTransaction, StoreResult};
use runtime::http::Page;
use sqlx::SqliteConnection;

use super::moves::{self, Resend, move_back, start_over};
use super::{SqliteStore, health, list};
use crate::domain::notification::Refused;
use crate::domain::{Audit, Notification, NotificationId, SubscriptionId};
use crate::store::health::HealthMap;
use crate::store::log::may_resend;
use crate::store::notification_row::{NotificationRow, finished_columns, waiting_columns};
use crate::store::rows::{AttemptRow, AuditRow, EventRow};
use crate::store::{NotificationDetail, NotificationFilter, NotificationStore};

/// Microseconds since the epoch.
type Time = i64;
type Row = NotificationRow<Time>;

#[async_trait]
impl NotificationStore for SqliteStore {
    async fn notifications(
        &self,
        filter: &NotificationFilter,
        page: Page,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Notification>> {
        // One look at both tables: what moves from one to the other meanwhile is listed once.
        let mut transaction = self.db.reader.begin().await?;
        let rows = list::rows(&mut transaction, filter, page, now).await?;
        let shown = shown(&mut transaction, rows, now).await?;
        transaction.rollback().await?;
        Ok(shown)
    }

    async fn notification(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<NotificationDetail>> {
        let mut connection = self.db.reader.begin().await?;
        let Some(row) = find(&mut connection, id, owner).await? else {
            connection.rollback().await?;
            return Ok(None);
        };
        let event: EventRow<Time> = sqlx::query_as("SELECT * FROM events WHERE key = ?1")
            .bind(row.event_key)
            .fetch_one(&mut *connection)
            .await?;
        let attempts: Vec<AttemptRow<Time>> =
            sqlx::query_as("SELECT * FROM attempts WHERE notification_id = ?1 ORDER BY number")
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
        let audits: Vec<AuditRow<Time>> =
            sqlx::query_as("SELECT * FROM audits WHERE notification_id = ?1 ORDER BY id")
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
        let shown = shown(&mut connection, vec![row], now).await?.pop();
        connection.rollback().await?;
        let Some(notification) = shown else { return Ok(None) };
        Ok(Some(NotificationDetail {
            notification,
            event: event.event()?,
            attempts: attempts.into_iter().map(AttemptRow::attempt).collect::<StoreResult<_>>()?,
            audits: audits.into_iter().map(AuditRow::audit).collect::<StoreResult<_>>()?,
        }))
    }

    async fn resend(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        let mut transaction = self.begin().await?;
        let Some(row) = find(&mut transaction, id, owner).await? else {
            transaction.rollback().await?;
            return Ok(None);
        };
        let (waits, deleted) = (row.waits(), row.subscription_deleted());
        if let Err(refused) = may_resend(&row.notification(audit.at, &HealthMap::new())?, deleted) {
            transaction.rollback().await?;
            return Ok(Some(Err(refused)));
        }
        if waits {
            start_over(&mut transaction, id.0, Resend::Alone, audit.at).await?;
        } else {
            move_back(&mut transaction, id.0, Resend::Alone, audit.at).await?;
        }
        changed(transaction, id, owner, audit).await
    }

    async fn cancel(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        let mut transaction = self.begin().await?;
        let Some(row) = find(&mut transaction, id, owner).await? else {
            transaction.rollback().await?;
            return Ok(None);
        };
        if let Err(refused) = row.notification(audit.at, &HealthMap::new())?.state.cancel() {
            transaction.rollback().await?;
            return Ok(Some(Err(refused)));
        }
        moves::cancel(&mut transaction, id.0, audit.at).await?;
        changed(transaction, id, owner, audit).await
    }
}

/// The notifications of `rows` as they stand at `now`.
async fn shown(
    connection: &mut SqliteConnection,
    rows: Vec<Row>,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Notification>> {
    let waiting: Vec<SubscriptionId> =
        rows.iter().filter(|row| row.waits()).map(NotificationRow::subscription).collect();
    let health = health::read(connection, waiting.into_iter()).await?;
    rows.into_iter().map(|row| row.notification(now, &health)).collect()
}

/// Writes the audit of what was done; the notification as it is now.
async fn changed(
    mut transaction: SqliteTransaction,
    id: NotificationId,
    owner: Option<&str>,
    audit: &Audit,
) -> StoreResult<Option<Result<Notification, Refused>>> {
    insert_audit(&mut transaction, id, audit).await?;
    let changed = find(&mut transaction, id, owner).await?;
    let changed = shown(&mut transaction, changed.into_iter().collect(), audit.at).await?.pop();
    transaction.commit().await?;
    Ok(changed.map(Ok))
}

async fn insert_audit(
    connection: &mut SqliteConnection,
    id: NotificationId,
    audit: &Audit,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO audits (id, notification_id, action, actor, reason, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(audit.id)
    .bind(id.0)
    .bind(audit.action.as_str())
    .bind(&audit.actor)
    .bind(&audit.reason)
    .bind(audit.at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// In whichever table it lies.
async fn find(
    connection: &mut SqliteConnection,
    id: NotificationId,
    owner: Option<&str>,
) -> StoreResult<Option<Row>> {
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        waiting_columns!(),
        " FROM waiting n JOIN events e ON e.key = n.event_key JOIN subscriptions s ON s.id = n.subscription_id
         WHERE n.id = ?1 AND (?2 IS NULL OR s.merchant = ?2)
         UNION ALL SELECT ",
        finished_columns!(),
        " FROM notifications n JOIN events e ON e.key = n.event_key
         JOIN subscriptions s ON s.id = n.subscription_id
         WHERE n.id = ?1 AND (?2 IS NULL OR s.merchant = ?2)"
    ))
    .bind(id.0)
    .bind(owner)
    .fetch_optional(connection)
    .await?)
}
