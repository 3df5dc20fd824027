//! Signing keys, sealed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use runtime::Vault;
use runtime::database::StoreResult;
use sqlx::SqliteConnection;

use super::SqliteStore;
use crate::domain::SubscriptionId;
use crate::store::secrets::{KEYS_IN_USE, MAX_SECRETS, SealedRow, missing};
use crate::store::{MissingKey, Resealed, SecretPlace, SecretStore};

#[async_trait]
impl SecretStore for SqliteStore {
    async fn missing_keys(&self) -> StoreResult<Vec<MissingKey>> {
        let counts = sqlx::query_as(KEYS_IN_USE).fetch_all(&self.db.reader).await?;
        Ok(missing(counts, &self.vault))
    }

    async fn reseal(&self, after: SecretPlace, limit: u32) -> StoreResult<Resealed> {
        let mut done = Resealed { resealed: 0, last: None };
        let Some(first_key) = self.vault.first_key() else { return Ok(done) };
        let mut transaction = self.begin().await?;
        let rows: Vec<SealedRow> = sqlx::query_as(
            "SELECT subscription_id, ordinal, key_id, secret FROM subscription_secrets
             WHERE key_id IS NOT ?1 AND (subscription_id, ordinal) > (?2, ?3)
             ORDER BY subscription_id, ordinal LIMIT ?4",
        )
        .bind(first_key)
        .bind(after.subscription.0)
        .bind(after.ordinal)
        .bind(limit)
        .fetch_all(&mut *transaction)
        .await?;
        for row in rows {
            let place = row.place();
            done.last = Some(place);
            let Some(sealed) = row.reseal(&self.vault) else { continue };
            sqlx::query(
                "UPDATE subscription_secrets SET key_id = ?3, secret = ?4
                 WHERE subscription_id = ?1 AND ordinal = ?2",
            )
            .bind(place.subscription.0)
            .bind(place.ordinal)
            .bind(sealed.key_id)
            .bind(sealed.bytes)
            .execute(&mut *transaction)
            .await?;
            done.resealed += 1;
        }
        transaction.commit().await?;
        Ok(done)
    }
}

/// Keeps `key` as the newest of a subscription.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    subscription: SubscriptionId,
    key: &SigningKey,
    vault: &Vault,
) -> StoreResult<()> {
    let ordinal: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(ordinal), 0) + 1 FROM subscription_secrets WHERE subscription_id = ?1",
    )
    .bind(subscription.0)
    .fetch_one(&mut *connection)
    .await?;
    let sealed = SecretPlace { subscription, ordinal }.seal(key, vault);
    sqlx::query(
        "INSERT INTO subscription_secrets (subscription_id, ordinal, key_id, secret) VALUES (?1, ?2, ?3, ?4)",
    )
    .bind(subscription.0)
    .bind(ordinal)
    .bind(sealed.key_id)
    .bind(sealed.bytes)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes `key` the newest; the others end at `overlap_until` or before, and those that have ended or
/// are too many go.
pub(super) async fn rotate(
    connection: &mut SqliteConnection,
    subscription: SubscriptionId,
    key: &SigningKey,
    vault: &Vault,
    overlap_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE subscription_secrets SET expires_at = min(coalesce(expires_at, ?2), ?2) WHERE subscription_id = ?1",
    )
    .bind(subscription.0)
    .bind(overlap_until.timestamp_micros())
    .execute(&mut *connection)
    .await?;
    insert(connection, subscription, key, vault).await?;
    sqlx::query(
        "DELETE FROM subscription_secrets WHERE subscription_id = ?1 AND (expires_at <= ?2 OR ordinal <=
             (SELECT max(ordinal) FROM subscription_secrets WHERE subscription_id = ?1) - ?3)",
    )
    .bind(subscription.0)
    .bind(now.timestamp_micros())
    .bind(MAX_SECRETS)
    .execute(connection)
    .await?;
    Ok(())
}
