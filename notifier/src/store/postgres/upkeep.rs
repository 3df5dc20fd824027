//! What is done in the background to keep the tables in order.

use async_trait::async_trait;
use runtime::database::StoreResult;

use super::PostgresStore;
use crate::store::UpkeepStore;

#[async_trait]
impl UpkeepStore for PostgresStore {
    async fn move_cancelled(&self, limit: u32) -> StoreResult<u64> {
        let moved = sqlx::query(MOVE_CANCELLED).bind(i64::from(limit)).execute(&self.pool).await?;
        Ok(moved.rows_affected())
    }
}

/// One index probe per deleted subscription. What somebody else is at is left for the next time.
const MOVE_CANCELLED: &str = "
    WITH found AS (
        SELECT n.id, s.deleted_at FROM subscriptions s CROSS JOIN LATERAL (
            SELECT id FROM waiting WHERE subscription_id = s.id LIMIT $1 FOR UPDATE SKIP LOCKED
        ) n
        WHERE s.deleted_at IS NOT NULL LIMIT $1
    ), ended AS (
        DELETE FROM waiting n USING found WHERE n.id = found.id RETURNING n.*, found.deleted_at
    )
    INSERT INTO notifications (id, event_key, subscription_id, state, attempts, failure_class, created_at,
        updated_at)
    SELECT id, event_key, subscription_id, 'cancelled', attempts, failure_class, created_at, deleted_at
    FROM ended";
