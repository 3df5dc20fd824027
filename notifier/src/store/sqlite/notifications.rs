//! The notification log and what operators do with it.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use crate::domain::notification::{Refused, StateName};
use crate::domain::{Audit, Notification, NotificationId};
use crate::store::log::{may_resend, time_column};
use crate::store::rows::{AttemptRow, AuditRow, EventRow, NotificationRow, narrow, select_notification};
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
        let after: Option<Time> = match page.after {
            None => None,
            Some(id) => match self.created_at(id).await? {
                Some(created_at) => Some(created_at),
                None => return Ok(Vec::new()),
            },
        };
        let mut query = list(filter, now);
        let at = time_column(filter);
        if let Some((created_at, id)) = after.zip(page.after) {
            // The first condition finds the place by index also where the second spans two tables.
            query.push(format_args!(" AND {at} <= ")).push_bind(created_at);
            query.push(format_args!(" AND ({at}, n.id) < (")).push_bind(created_at);
            query.push(", ").push_bind(id).push(")");
        }
        query.push(format_args!(" ORDER BY {at} DESC, n.id DESC LIMIT ")).push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(|row| row.notification(now)).collect()
    }

    async fn notification(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<NotificationDetail>> {
        let mut connection = self.db.reader.acquire().await?;
        let Some(row) = find(&mut connection, id, owner).await? else { return Ok(None) };
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
        Ok(Some(NotificationDetail {
            notification: row.notification(now)?,
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
        self.change(id, owner, audit, Change { may: may_resend, statement: RESEND }).await
    }

    async fn cancel(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        self.change(id, owner, audit, Change { may: |n, _| n.state.cancel(), statement: CANCEL }).await
    }
}

/// A decision about a notification as it stands, and the statement that carries it out.
struct Change {
    may: fn(&Notification, bool) -> Result<(), Refused>,
    statement: &'static str,
}

const RESEND: &str = "UPDATE notifications SET state = 'pending', due_at = ?2, climb = 0, lease_token = NULL,
    updated_at = ?2 WHERE id = ?1";
const CANCEL: &str =
    "UPDATE notifications SET state = 'cancelled', lease_token = NULL, updated_at = ?2 WHERE id = ?1";

impl SqliteStore {
    async fn created_at(&self, id: Uuid) -> StoreResult<Option<Time>> {
        let row = sqlx::query_scalar("SELECT created_at FROM notifications WHERE id = ?1").bind(id);
        Ok(row.fetch_optional(&self.db.reader).await?)
    }

    async fn change(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
        change: Change,
    ) -> StoreResult<Option<Result<Notification, Refused>>> {
        let mut transaction = self.begin().await?;
        let Some(row) = find(&mut transaction, id, owner).await? else { return Ok(None) };
        let deleted = row.deleted;
        if let Err(refused) = (change.may)(&row.notification(audit.at)?, deleted) {
            return Ok(Some(Err(refused)));
        }
        sqlx::query(change.statement)
            .bind(id.0)
            .bind(audit.at.timestamp_micros())
            .execute(&mut *transaction)
            .await?;
        insert_audit(&mut transaction, id, audit).await?;
        let changed = find(&mut transaction, id, owner).await?;
        transaction.commit().await?;
        changed.map(|row| row.notification(audit.at)).transpose().map(|changed| changed.map(Ok))
    }
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

async fn find(
    connection: &mut SqliteConnection,
    id: NotificationId,
    owner: Option<&str>,
) -> StoreResult<Option<Row>> {
    Ok(sqlx::query_as(concat!(
        select_notification!(),
        " WHERE n.id = ?1 AND (?2 IS NULL OR n.merchant = ?2)"
    ))
    .bind(id.0)
    .bind(owner)
    .fetch_optional(connection)
    .await?)
}

fn list(filter: &NotificationFilter, now: DateTime<Utc>) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(concat!(select_notification!(), " WHERE TRUE"));
    narrow(&mut query, " AND n.merchant = ", filter.owner.clone());
    narrow(&mut query, " AND n.subscription_id = ", filter.subscription.map(|id| id.0));
    narrow(&mut query, " AND e.type = ", filter.event_type.clone());
    narrow(&mut query, " AND e.subject = ", filter.subject.clone());
    narrow(&mut query, " AND e.id = ", filter.event_id.clone());
    let (from, to) = match time_column(filter) {
        "n.created_at" => (" AND n.created_at >= ", " AND n.created_at < "),
        _ => (" AND e.received_at >= ", " AND e.received_at < "),
    };
    narrow(&mut query, from, filter.created_from.map(|time| time.timestamp_micros()));
    narrow(&mut query, to, filter.created_to.map(|time| time.timestamp_micros()));
    if let Some(state) = filter.state {
        push_state(&mut query, state, now);
    }
    query
}

/// The shown states in terms of what is stored; see `StoredState::shown`.
pub(super) fn push_state(query: &mut QueryBuilder<Sqlite>, state: StateName, now: DateTime<Utc>) {
    let shown = match state {
        StateName::Delivered => " AND n.state = 'delivered'",
        StateName::Exhausted => " AND n.state = 'exhausted'",
        StateName::Cancelled => " AND n.state = 'cancelled'",
        StateName::Pending => " AND n.state = 'pending' AND s.state = 'active'",
        StateName::Held => " AND n.state = 'pending' AND s.state <> 'active'",
        StateName::Delivering => " AND n.state = 'pending'",
    };
    query.push(shown);
    match state {
        StateName::Delivering => {
            query.push(" AND n.lease_token IS NOT NULL AND n.due_at > ").push_bind(now.timestamp_micros());
        }
        StateName::Pending | StateName::Held => {
            query
                .push(" AND (n.lease_token IS NULL OR n.due_at <= ")
                .push_bind(now.timestamp_micros())
                .push(")");
        }
        StateName::Delivered | StateName::Exhausted | StateName::Cancelled => {}
    }
}
