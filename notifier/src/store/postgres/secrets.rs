//! Signing keys, sealed.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use runtime::Vault;
use runtime::database::StoreResult;
use sqlx::PgConnection;

use super::PostgresStore;
use crate::domain::SubscriptionId;
use crate::store::secrets::{KEYS_IN_USE, MAX_SECRETS, SealedRow, missing};
use crate::store::{MissingKey, Resealed, SecretPlace, SecretStore};

#[async_trait]
impl SecretStore for PostgresStore {
    async fn missing_keys(&self) -> StoreResult<Vec<MissingKey>> {
        let counts = sqlx::query_as(KEYS_IN_USE).fetch_all(&self.pool).await?;
        Ok(missing(counts, &self.vault))
    }

    async fn reseal(&self, after: SecretPlace, limit: u32) -> StoreResult<Resealed> {
        let Some(first_key) = self.vault.first_key() else { return Ok(Resealed { resealed: 0, last: None }) };
        let rows: Vec<SealedRow> = sqlx::query_as(
            "SELECT subscription_id, ordinal, key_id, secret FROM subscription_secrets
             WHERE key_id IS DISTINCT FROM $1 AND (subscription_id, ordinal) > ($2, $3)
             ORDER BY subscription_id, ordinal LIMIT $4",
        )
        .bind(first_key)
        .bind(after.subscription.0)
        .bind(after.ordinal)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let last = rows.last().map(SealedRow::place);
        let (mut subscriptions, mut ordinals, mut old, mut new) = (vec![], vec![], vec![], vec![]);
        for row in rows {
            let (place, before) = (row.place(), row.secret.clone());
            let Some(sealed) = row.reseal(&self.vault) else { continue };
            subscriptions.push(place.subscription.0);
            ordinals.push(place.ordinal);
            old.push(before);
            new.push(sealed.bytes);
        }
        // Another process may have sealed the same secret meanwhile.
        let updated = sqlx::query(
            "UPDATE subscription_secrets s SET key_id = $5, secret = u.new
             FROM UNNEST($1::uuid[], $2::bigint[], $3::bytea[], $4::bytea[]) AS u (subscription_id, ordinal, old, new)
             WHERE s.subscription_id = u.subscription_id AND s.ordinal = u.ordinal AND s.secret = u.old",
        )
        .bind(subscriptions)
        .bind(ordinals)
        .bind(old)
        .bind(new)
        .bind(first_key)
        .execute(&self.pool)
        .await?;
        Ok(Resealed { resealed: usize::try_from(updated.rows_affected()).unwrap_or(usize::MAX), last })
    }
}

/// Keeps `key` as the newest of a subscription. Whoever changes subscriptions does so alone.
pub(super) async fn insert(
    connection: &mut PgConnection,
    subscription: SubscriptionId,
    key: &SigningKey,
    vault: &Vault,
) -> StoreResult<()> {
    let ordinal: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(ordinal), 0) + 1 FROM subscription_secrets WHERE subscription_id = $1",
    )
    .bind(subscription.0)
    .fetch_one(&mut *connection)
    .await?;
    let sealed = SecretPlace { subscription, ordinal }.seal(key, vault);
    sqlx::query(
        "INSERT INTO subscription_secrets (subscription_id, ordinal, key_id, secret) VALUES ($1, $2, $3, $4)",
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
    connection: &mut PgConnection,
    subscription: SubscriptionId,
    key: &SigningKey,
    vault: &Vault,
    overlap_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    // Postgres' LEAST passes over NULL.
    sqlx::query(
        "UPDATE subscription_secrets SET expires_at = LEAST(expires_at, $2) WHERE subscription_id = $1",
    )
    .bind(subscription.0)
    .bind(overlap_until)
    .execute(&mut *connection)
    .await?;
    insert(connection, subscription, key, vault).await?;
    sqlx::query(
        "DELETE FROM subscription_secrets WHERE subscription_id = $1 AND (expires_at <= $2 OR ordinal <=
             (SELECT max(ordinal) FROM subscription_secrets WHERE subscription_id = $1) - $3)",
    )
    .bind(subscription.0)
    .bind(now)
    .bind(MAX_SECRETS)
    .execute(connection)
    .await?;
    Ok(())
}
