//! The notification log and what operators do with it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::PgConnection;

use super::{PostgresStore, health, list};
use crate::domain::notification::Refused;
use crate::domain::{Audit, Notification, NotificationId, Span, SubscriptionId};
use crate::store::health::HealthMap;
use crate::store::log::{may_cancel, may_resend};
use crate::store::notification_row::{NotificationRow, finished_columns, waiting_columns};
use crate::store::rows::{AttemptRow, AuditRow, EventRow};
use crate::store::{NotificationDetail, NotificationFilter, NotificationStore};

type Time = DateTime<Utc>;
type Row = NotificationRow<Time>;

#[async_trait]
impl NotificationStore for PostgresStore {
    async fn notifications(
        &self,
        filter: &NotificationFilter,
        page: Page,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Notification>> {
        let rows = list::rows(&self.pool, filter, page, now).await?;
        let mut connection = self.pool.acquire().await?;
        let shown = shown(&mut connection, rows, now).await?;
        connection.release();
        Ok(shown)
    }

    async fn notification(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<NotificationDetail>> {
        let mut connection = self.pool.acquire().await?;
        let Some(row) = find(&mut connection, id, owner).await? else {
            connection.release();
            return Ok(None);
        };
        let event: EventRow<Time> = sqlx::query_as("SELECT * FROM events WHERE key = $1")
            .bind(row.event_key)
            .fetch_one(&mut *connection)
            .await?;
        let attempts: Vec<AttemptRow<Time>> =
            sqlx::query_as("SELECT * FROM attempts WHERE notification_id = $1 ORDER BY number")
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
        let audits: Vec<AuditRow<Time>> =
            sqlx::query_as("SELECT * FROM audits WHERE notification_id = $1 ORDER BY id")
                .bind(id.0)
                .fetch_all(&mut *connection)
                .await?;
        let shown = shown(&mut connection, vec![row], now).await?.pop();
        connection.release();
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
        self.change(
            id,
            owner,
            audit,
            Change { may: may_resend, waiting: RESEND_WAITING, finished: RESEND_FINISHED },
        )
        .await
    }

    async fn cancel(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        self.change(id, owner, audit, Change { may: may_cancel, waiting: CANCEL, finished: KEEP }).await
    }
}

/// The notifications of `rows` as they stand at `now`.
async fn shown(
    connection: &mut PgConnection,
    rows: Vec<Row>,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Notification>> {
    let waiting: Vec<SubscriptionId> =
        rows.iter().filter(|row| row.waits()).map(NotificationRow::subscription).collect();
    let health = health::read(connection, waiting.into_iter()).await?;
    rows.into_iter().map(|row| row.notification(now, &health)).collect()
}

/// A decision about a notification as it stands, and the statements that carry it out where it lies.
struct Change {
    may: fn(&Notification, bool) -> Result<(), Refused>,
    waiting: &'static str,
    finished: &'static str,
}

const RESEND_WAITING: &str =
    "UPDATE waiting SET due_at = $2, again = false, climb = 0, lease_token = NULL, leased_until = NULL,
    updated_at = $2 WHERE id = $1";
const RESEND_FINISHED: &str = "
    WITH back AS (DELETE FROM notifications WHERE id = $1 RETURNING *)
    INSERT INTO waiting (id, event_key, subscription_id, attempts, failure_class, due_at, created_at, updated_at)
    SELECT id, event_key, subscription_id, attempts, failure_class, $2, created_at, $2 FROM back";
const CANCEL: &str = "
    WITH ended AS (DELETE FROM waiting WHERE id = $1 RETURNING *)
    INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, 'cancelled', attempts, failure_class, created_at, $2 FROM ended";
/// What is final is not cancelled.
const KEEP: &str = "SELECT $1::uuid, $2::timestamptz";

/// How often a notification that is moved again and again meanwhile is looked for.
const LOOKS: usize = 10;

impl PostgresStore {
    async fn change(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
        change: Change,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        let mut transaction = self.pool.begin().await?;
        let changed = change_within(&mut transaction, id, owner, audit, change).await;
        transaction.conclude(changed).await
    }
}

/// Writes nothing when the change is refused.
async fn change_within(
    connection: &mut PgConnection,
    id: NotificationId,
    owner: Option<&str>,
    audit: &Audit,
    change: Change,
) -> StoreResult<Option<Result<Notification, Refused>>> {
    let Some(row) = find_locked(connection, id, owner).await? else {
        return Ok(None);
    };
    let (waits, deleted) = (row.waits(), row.subscription_deleted());
    if let Err(refused) = (change.may)(&row.notification(audit.at, &HealthMap::new())?, deleted) {
        return Ok(Some(Err(refused)));
    }
    let statement = if waits { change.waiting } else { change.finished };
    sqlx::query(statement).bind(id.0).bind(audit.at).execute(&mut *connection).await?;
    insert_audit(connection, id, audit).await?;
    let changed = find(connection, id, owner).await?;
    let changed = shown(connection, changed.into_iter().collect(), audit.at).await?.pop();
    Ok(changed.map(Ok))
}

/// Locks the notification in the table it lies in. One statement looks into both, so it is nowhere
/// only if it is not there; if it is moved before it is locked, it is looked for again.
async fn find_locked(
    connection: &mut PgConnection,
    id: NotificationId,
    owner: Option<&str>,
) -> StoreResult<Option<Row>> {
    for _ in 0..LOOKS {
        let Some(seen) = find(connection, id, owner).await? else { return Ok(None) };
        let lock = if seen.waits() {
            "SELECT id FROM waiting WHERE id = $1 FOR UPDATE"
        } else {
            "SELECT id FROM notifications WHERE id = $1 FOR UPDATE"
        };
        let locked = sqlx::query(lock).bind(id.0).fetch_optional(&mut *connection).await?;
        if locked.is_some() {
            return find(connection, id, owner).await;
        }
    }
    let restless = std::io::Error::new(std::io::ErrorKind::WouldBlock, "the notification never rests");
    Err(sqlx::Error::Io(restless).into())
}

async fn insert_audit(connection: &mut PgConnection, id: NotificationId, audit: &Audit) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO audits (id, notification_id, action, actor, reason, at) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(audit.id)
    .bind(id.0)
    .bind(audit.action.as_str())
    .bind(&audit.actor)
    .bind(&audit.reason)
    .bind(audit.at)
    .execute(connection)
    .await?;
    Ok(())
}

/// In whichever table it lies. Its event is of the same time, which spares looking into all days.
async fn find(
    connection: &mut PgConnection,
    id: NotificationId,
    owner: Option<&str>,
) -> StoreResult<Option<Row>> {
    let keys = Span::around(id.0);
    Ok(sqlx::query_as(concat!(
        "SELECT ",
        waiting_columns!(),
        " FROM waiting n JOIN events e ON e.key = n.event_key AND e.key >= $3 AND e.key <= $4
         JOIN subscriptions s ON s.id = n.subscription_id
         WHERE n.id = $1 AND ($2::text IS NULL OR s.merchant = $2)
         UNION ALL SELECT ",
        finished_columns!(),
        " FROM notifications n JOIN events e ON e.key = n.event_key AND e.key >= $3 AND e.key <= $4
         JOIN subscriptions s ON s.id = n.subscription_id
         WHERE n.id = $1 AND ($2::text IS NULL OR s.merchant = $2)"
    ))
    .bind(id.0)
    .bind(owner)
    .bind(keys.from)
    .bind(keys.to)
    .fetch_optional(connection)
    .await?)
}
