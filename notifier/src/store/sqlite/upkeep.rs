//! What is done in the background to keep the tables in order.

use async_trait::async_trait;
use chrono::DateTime;
use runtime::database::StoreResult;
use uuid::Uuid;

use super::{SqliteStore, moves};
use crate::store::UpkeepStore;
use crate::store::rows::readable;

#[async_trait]
impl UpkeepStore for SqliteStore {
    async fn move_cancelled(&self, limit: u32) -> StoreResult<u64> {
        let mut transaction = self.begin().await?;
        let found: Vec<(Uuid, i64)> = sqlx::query_as(
            "SELECT n.id, s.deleted_at FROM subscriptions s CROSS JOIN waiting n ON n.subscription_id = s.id
             WHERE s.deleted_at IS NOT NULL LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        for (id, deleted_at) in &found {
            let at =
                readable(DateTime::from_timestamp_micros(*deleted_at), "subscription of notification", id)?;
            moves::cancel(&mut transaction, *id, at).await?;
        }
        transaction.commit().await?;
        Ok(found.len() as u64)
    }
}
