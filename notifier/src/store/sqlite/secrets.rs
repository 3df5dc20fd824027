//! Signing keys, sealed.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use runtime::Vault;
use runtime::database::StoreResult;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::subscriptions::find;
use super::{SqliteStore, audits, bump_version};
use crate::domain::vault_keys::Disagreement;
use crate::domain::{Signing, SubscriptionId};
use crate::store::secrets::{
    KEYS_IN_USE, MAX_SECRETS, PUBLIC_COLUMNS, PublicRow, SealedRow, missing, signing,
};
use crate::store::{MissingKey, Resealed, Rotation, SecretPlace, SecretStore};

#[async_trait]
impl SecretStore for SqliteStore {
    async fn signing(
        &self,
        subscriptions: &[SubscriptionId],
        now: DateTime<Utc>,
    ) -> StoreResult<HashMap<SubscriptionId, Signing>> {
        let mut query = QueryBuilder::<Sqlite>::new(PUBLIC_COLUMNS);
        query.push(" WHERE subscription_id IN (");
        let mut ids = query.separated(", ");
        for id in subscriptions {
            ids.push_bind(id.0);
        }
        query.push(") ORDER BY subscription_id, ordinal DESC");
        let rows: Vec<PublicRow<i64>> = query.build_query_as().fetch_all(&self.db.reader).await?;
        signing(rows, now)
    }

    async fn rotate_secret(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        rotation: &Rotation<'_>,
    ) -> StoreResult<Option<SigningKey>> {
        let mut transaction = self.begin().await?;
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
        let counts = sqlx::query_as(KEYS_IN_USE).fetch_all(&self.db.reader).await?;
        Ok(missing(counts, &self.vault))
    }

    /// A database file is one process's, whose keys agree with themselves.
    async fn hold_keys(&self, _: Uuid, _: DateTime<Utc>, _: DateTime<Utc>) -> StoreResult<Vec<Disagreement>> {
        Ok(Vec::new())
    }

    async fn still_holds_keys(&self, _: Uuid, _: DateTime<Utc>) -> StoreResult<bool> {
        Ok(true)
    }

    async fn release_keys(&self, _: Uuid) -> StoreResult<()> {
        Ok(())
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
    at: DateTime<Utc>,
) -> StoreResult<()> {
    let ordinal: i64 = sqlx::query_scalar(
        "SELECT coalesce(max(ordinal), 0) + 1 FROM subscription_secrets WHERE subscription_id = ?1",
    )
    .bind(subscription.0)
    .fetch_one(&mut *connection)
    .await?;
    let sealed = SecretPlace { subscription, ordinal }.seal(key, vault);
    sqlx::query(
        "INSERT INTO subscription_secrets (subscription_id, ordinal, key_id, secret, public_key, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )
    .bind(subscription.0)
    .bind(ordinal)
    .bind(sealed.key_id)
    .bind(sealed.bytes)
    .bind(key.public_key().map(|key| key.to_string()))
    .bind(at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes a new key; those before it end, and the ones that have ended or are too many go.
async fn rotate(
    connection: &mut SqliteConnection,
    subscription: SubscriptionId,
    rotation: &Rotation<'_>,
    vault: &Vault,
) -> StoreResult<SigningKey> {
    let newest: Option<bool> = sqlx::query_scalar(
        "SELECT public_key IS NOT NULL FROM subscription_secrets WHERE subscription_id = ?1
         ORDER BY ordinal DESC LIMIT 1",
    )
    .bind(subscription.0)
    .fetch_optional(&mut *connection)
    .await?;
    let key = rotation.key(newest.unwrap_or_default());
    sqlx::query(
        "UPDATE subscription_secrets SET expires_at = min(coalesce(expires_at, ?2), ?2) WHERE subscription_id = ?1",
    )
    .bind(subscription.0)
    .bind(rotation.overlap_until.timestamp_micros())
    .execute(&mut *connection)
    .await?;
    insert(connection, subscription, &key, vault, rotation.audit.at).await?;
    sqlx::query(
        "DELETE FROM subscription_secrets WHERE subscription_id = ?1 AND (expires_at <= ?2 OR ordinal <=
             (SELECT max(ordinal) FROM subscription_secrets WHERE subscription_id = ?1) - ?3)",
    )
    .bind(subscription.0)
    .bind(rotation.audit.at.timestamp_micros())
    .bind(MAX_SECRETS)
    .execute(connection)
    .await?;
    Ok(key)
}
