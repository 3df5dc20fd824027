//! Which running notifiers hold which keys.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::vault::KeyIdentity;
use sqlx::types::Json;
use uuid::Uuid;

use super::PostgresStore;
use crate::domain::vault_keys::{Disagreement, mismatch};

/// A row of another process; each key is an id and a fingerprint.
type Row = (Uuid, Json<Vec<(String, String)>>, DateTime<Utc>);

impl PostgresStore {
    pub(super) async fn hold(
        &self,
        process: Uuid,
        now: DateTime<Utc>,
        alive_since: DateTime<Utc>,
    ) -> StoreResult<Vec<Disagreement>> {
        let mut transaction = self.pool.begin().await?;
        // Of two processes that start at once one sees the other.
        sqlx::query("LOCK TABLE key_holders IN SHARE ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
        let others: Vec<Row> = sqlx::query_as(
            "SELECT process, keys, seen_at FROM key_holders WHERE process <> $1 AND seen_at >= $2 ORDER BY process",
        )
        .bind(process)
        .bind(alive_since)
        .fetch_all(&mut *transaction)
        .await?;
        let own = self.vault.identities();
        let disagreement = |(process, Json(keys), seen_at): Row| {
            let keys: Vec<_> =
                keys.into_iter().map(|(id, fingerprint)| KeyIdentity { id, fingerprint }).collect();
            Some(Disagreement { process, seen_at, mismatch: mismatch(own, &keys)? })
        };
        let disagreements: Vec<_> = others.into_iter().filter_map(disagreement).collect();
        if !disagreements.is_empty() {
            transaction.rollback().await?;
            return Ok(disagreements);
        }
        let keys: Vec<_> = own.iter().map(|key| (key.id.clone(), key.fingerprint.clone())).collect();
        sqlx::query("DELETE FROM key_holders WHERE seen_at < $1 OR process = $2")
            .bind(alive_since)
            .bind(process)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO key_holders (process, keys, seen_at) VALUES ($1, $2, $3)")
            .bind(process)
            .bind(Json(keys))
            .bind(now)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(disagreements)
    }

    pub(super) async fn still_holds(&self, process: Uuid, now: DateTime<Utc>) -> StoreResult<bool> {
        let renewed = sqlx::query("UPDATE key_holders SET seen_at = $2 WHERE process = $1");
        let renewed = renewed.bind(process).bind(now).execute(&self.pool).await?;
        Ok(renewed.rows_affected() == 1)
    }

    pub(super) async fn release(&self, process: Uuid) -> StoreResult<()> {
        sqlx::query("DELETE FROM key_holders WHERE process = $1").bind(process).execute(&self.pool).await?;
        Ok(())
    }
}
