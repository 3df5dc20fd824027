//! What was done to subscriptions.

use async_trait::async_trait;
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::SqliteStore;
use crate::domain::SubscriptionId;
use crate::domain::subscription_audit::SubscriptionAudit;
use crate::store::AuditStore;
use crate::store::audits::SubscriptionAuditRow;
use crate::store::rows::narrow;

type Row = SubscriptionAuditRow<i64>;

#[async_trait]
impl AuditStore for SqliteStore {
    async fn subscription_audits(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        page: Page,
    ) -> StoreResult<Option<Vec<SubscriptionAudit>>> {
        let there: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM subscriptions WHERE id = ?1 AND (?2 IS NULL OR merchant = ?2)")
                .bind(id.0)
                .bind(owner)
                .fetch_optional(&self.db.reader)
                .await?;
        if there.is_none() {
            return Ok(None);
        }
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT id, action, changed, actor, reason, at FROM subscription_audits WHERE subscription_id = ",
        );
        query.push_bind(id.0);
        narrow(&mut query, " AND id < ", page.after);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(Row::audit).collect::<StoreResult<_>>().map(Some)
    }
}

/// Keeps what was done to a subscription.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    subscription: SubscriptionId,
    audit: &SubscriptionAudit,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO subscription_audits (id, subscription_id, action, changed, actor, reason, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(audit.id)
    .bind(subscription.0)
    .bind(audit.action.as_str())
    .bind(audit.changed.join(","))
    .bind(&audit.actor)
    .bind(&audit.reason)
    .bind(audit.at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}
