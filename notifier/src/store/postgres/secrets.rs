//! Signing keys, sealed.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use runtime::Vault;
use runtime::database::StoreResult;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::subscriptions::find;
use super::{PostgresStore, audits, bump_version};
use crate::domain::vault_keys::Disagreement;
use crate::domain::{Signing, SubscriptionId};
use crate::store::secrets::{
    KEYS_IN_USE, MAX_SECRETS, PUBLIC_COLUMNS, PublicRow, SealedRow, missing, signing,
};
use crate::store::{MissingKey, Resealed, Rotation, SecretPlace, SecretStore};

#[async_trait]
impl SecretStore for PostgresStore {
    async fn signing(
        &self,
        subscriptions: &[SubscriptionId],
        now: DateTime<Utc>,
    ) -> StoreResult<HashMap<SubscriptionId, Signing>> {
        let ids: Vec<_> = subscriptions.iter().map(|id| id.0).collect();
        let mut query = QueryBuilder::<Postgres>::new(PUBLIC_COLUMNS);
        query.push(" WHERE subscription_id = ANY(").push_bind(ids);
        query.push(") ORDER BY subscription_id, ordinal DESC");
        let rows: Vec<PublicRow<DateTime<Utc>>> = query.build_query_as().fetch_all(&self.pool).await?;
        signing(rows, now)
    }

    async fn rotate_secret(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        rotation: &Rotation<'_>,
    ) -> StoreResult<Option<SigningKey>> {
        let mut transaction = self.pool.begin().await?;
        bump_version(&mut transaction).await?;
        if find(&mut transaction, id, owner).await?.is_none() {
            transaction.rollback().await?;
            return Ok(None);
        }
        let key = rotate(&mut transaction, id, rotation, &self.vault).await?;
        audits::insert(&mut transaction, id, rotation.audit).await?;
        transaction.commit().await?;
        Ok(Some(key))
    }

    async fn missing_keys(&self) -> StoreResult<Vec<MissingKey>> {
        let counts = sqlx::query_as(KEYS_IN_USE).fetch_all(&self.pool).await?;
        Ok(missing(counts, &self.vault))
    }

    async fn hold_keys(
        &self,
        process: Uuid,
        now: DateTime<Utc>,
        alive_since: DateTime<Utc>,
    ) -> StoreResult<Vec<Disagreement>> {
        self.hold(process, now, alive_since).await
    }

    async fn still_holds_keys(&self, process: Uuid, now: DateTime<Utc>) -> StoreResult<bool> {
        self.still_holds(process, now).await
    }

    async fn release_keys(&self, process: Uuid) -> StoreResult<()> {
        self.release(process).await
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
    at: DateTime<Utc>,
) -> StoreResult<()> {
    let ordinal: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(ordinal), 0) + 1 FROM subscription_secrets WHERE subscription_id = $1",
    )
    .bind(subscription.0)
    .fetch_one(&mut *connection)
    .await?;
    let sealed = SecretPlace { subscription, ordinal }.seal(key, vault);
    sqlx::query(
        "INSERT INTO subscription_secrets (subscription_id, ordinal, key_id, secret, public_key, created_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(subscription.0)
    .bind(ordinal)
    .bind(sealed.key_id)
    .bind(sealed.bytes)
    .bind(key.public_key().map(|key| key.to_string()))
    .bind(at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes a new key; those before it end, and the ones that have ended or are too many go.
async fn rotate(
    connection: &mut PgConnection,
    subscription: SubscriptionId,
    rotation: &Rotation<'_>,
    vault: &Vault,
) -> StoreResult<SigningKey> {
    let newest: Option<bool> = sqlx::query_scalar(
        "SELECT public_key IS NOT NULL FROM subscription_secrets WHERE subscription_id = $1
         ORDER BY ordinal DESC LIMIT 1",
    )
    .bind(subscription.0)
    .fetch_optional(&mut *connection)
    .await?;
    let key = rotation.key(newest.unwrap_or_default());
    // Postgres' LEAST passes over NULL.
    sqlx::query(
        "UPDATE subscription_secrets SET expires_at = LEAST(expires_at, $2) WHERE subscription_id = $1",
    )
    .bind(subscription.0)
    .bind(rotation.overlap_until)
    .execute(&mut *connection)
    .await?;
    insert(connection, subscription, &key, vault, rotation.audit.at).await?;
    sqlx::query(
        "DELETE FROM subscription_secrets WHERE subscription_id = $1 AND (expires_at <= $2 OR ordinal <=
             (SELECT max(ordinal) FROM subscription_secrets WHERE subscription_id = $1) - $3)",
    )
    .bind(subscription.0)
    .bind(rotation.audit.at)
    .bind(MAX_SECRETS)
    .execute(connection)
    .await?;
    Ok(key)
}
