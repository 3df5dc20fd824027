//! Subscriptions.

use async_trait::async_trait;
use messaging::webhook::SigningKey;
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::{SqliteStore, audits, bump_version, health, operator_events, secrets};
use crate::domain::subscription::Patch;
use crate::domain::{LimitReached, OperatorEvent, Subscription, SubscriptionAudit, SubscriptionId};
use crate::store::rows::{SubscriptionRow, definition_text, narrow, subscription_columns};
use crate::store::{CreateRefused, NameTaken, PatchRefused, SubscriptionFilter, SubscriptionStore};

type Row = SubscriptionRow<i64>;

#[async_trait]
impl SubscriptionStore for SqliteStore {
    async fn create(
        &self,
        subscription: &Subscription,
        key: &SigningKey,
        audit: &SubscriptionAudit,
        limit: u32,
    ) -> StoreResult<Result<(), CreateRefused>> {
        let mut transaction = self.begin().await?;
        bump_version(&mut transaction).await?;
        let inserted = sqlx::query(
            "INSERT INTO subscriptions (id, merchant, name, definition, state, disabled_reason, created_at,
                 updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )
        .bind(subscription.id.0)
        .bind(&subscription.merchant)
        .bind(&subscription.definition.draft().name)
        .bind(definition_text(&subscription.definition))
        .bind(subscription.state.as_str())
        .bind(subscription.state.disabled_reason())
        .bind(subscription.created_at.timestamp_micros())
        .bind(subscription.updated_at.timestamp_micros())
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Err(NameTaken.into()));
        }
        if count_up_to(&mut transaction, subscription.merchant.as_deref(), i64::from(limit) + 1).await?
            > i64::from(limit)
        {
            transaction.rollback().await?;
            return Ok(Err(LimitReached::Subscriptions(limit).into()));
        }
        secrets::insert(&mut transaction, subscription.id, key, &self.vault, audit.at).await?;
        audits::insert(&mut transaction, subscription.id, audit).await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }

    async fn subscription(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
    ) -> StoreResult<Option<Subscription>> {
        let mut connection = self.db.reader.acquire().await?;
        let found = find(&mut connection, id, owner).await?;
        connection.release();
        Ok(found)
    }

    async fn subscription_named(
        &self,
        merchant: Option<&str>,
        name: &str,
    ) -> StoreResult<Option<SubscriptionId>> {
        let id = sqlx::query_scalar(
            "SELECT id FROM subscriptions
             WHERE coalesce(merchant, '') = coalesce(?1, '') AND name = ?2 AND deleted_at IS NULL",
        )
        .bind(merchant)
        .bind(name)
        .fetch_optional(&self.db.reader)
        .await?;
        Ok(id.map(SubscriptionId))
    }

    async fn subscriptions(&self, filter: &SubscriptionFilter, page: Page) -> StoreResult<Vec<Subscription>> {
        let mut query = QueryBuilder::<Sqlite>::new(concat!(
            "SELECT ",
            subscription_columns!(),
            " FROM subscriptions WHERE deleted_at IS NULL"
        ));
        narrow(&mut query, " AND merchant = ", filter.merchant.as_deref());
        narrow(&mut query, " AND name = ", filter.name.as_deref());
        narrow(&mut query, " AND id < ", page.after);
        query.push(" ORDER BY id DESC LIMIT ").push_bind(page.fetch());
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(Row::subscription).collect()
    }

    async fn patch(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        patch: &Patch,
        audit: &SubscriptionAudit,
    ) -> StoreResult<Option<Result<Subscription, PatchRefused>>> {
        let mut transaction = self.begin().await?;
        bump_version(&mut transaction).await?;
        let Some(mut subscription) = find(&mut transaction, id, owner).await? else {
            transaction.rollback().await?;
            return Ok(None);
        };
        let before = subscription.clone();
        if let Err(invalid) = patch.apply(&mut subscription, audit.at) {
            transaction.rollback().await?;
            return Ok(Some(Err(invalid.into())));
        }
        let updated = sqlx::query(
            "UPDATE subscriptions SET name = ?2, definition = ?3, state = ?4, disabled_reason = ?5,
                 updated_at = ?6
             WHERE id = ?1 AND NOT EXISTS (
                 SELECT 1 FROM subscriptions other
                 WHERE coalesce(other.merchant, '') = coalesce(?7, '') AND other.name = ?2
                   AND other.deleted_at IS NULL AND other.id <> ?1)",
        )
        .bind(id.0)
        .bind(&subscription.definition.draft().name)
        .bind(definition_text(&subscription.definition))
        .bind(subscription.state.as_str())
        .bind(subscription.state.disabled_reason())
        .bind(audit.at.timestamp_micros())
        .bind(&subscription.merchant)
        .execute(&mut *transaction)
        .await?;
        if updated.rows_affected() == 0 {
            transaction.rollback().await?;
            return Ok(Some(Err(NameTaken.into())));
        }
        audits::insert(&mut transaction, id, audit).await?;
        if subscription.starts_over_from(&before) {
            health::forget(&mut transaction, id).await?;
        }
        let told = OperatorEvent::of_change(&before.state, &subscription);
        operator_events::tell(&mut transaction, told.as_slice(), audit.at).await?;
        transaction.commit().await?;
        Ok(Some(Ok(subscription)))
    }

    async fn delete(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        audit: &SubscriptionAudit,
    ) -> StoreResult<bool> {
        let mut transaction = self.begin().await?;
        bump_version(&mut transaction).await?;
        if find(&mut transaction, id, owner).await?.is_none() {
            transaction.rollback().await?;
            return Ok(false);
        }
        sqlx::query("UPDATE subscriptions SET deleted_at = ?2, updated_at = ?2 WHERE id = ?1")
            .bind(id.0)
            .bind(audit.at.timestamp_micros())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM subscription_secrets WHERE subscription_id = ?1")
            .bind(id.0)
            .execute(&mut *transaction)
            .await?;
        health::forget(&mut transaction, id).await?;
        audits::insert(&mut transaction, id, audit).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// How many subscriptions `merchant` has, counted up to `most`.
async fn count_up_to(
    connection: &mut SqliteConnection,
    merchant: Option<&str>,
    most: i64,
) -> StoreResult<i64> {
    Ok(sqlx::query_scalar(
        "SELECT count(*) FROM (
             SELECT 1 FROM subscriptions
             WHERE coalesce(merchant, '') = coalesce(?1, '') AND deleted_at IS NULL LIMIT ?2) own",
    )
    .bind(merchant)
    .bind(most)
    .fetch_one(connection)
    .await?)
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: SubscriptionId,
    owner: Option<&str>,
) -> StoreResult<Option<Subscription>> {
    let row: Option<Row> = sqlx::query_as(concat!(
        "SELECT ",
        subscription_columns!(),
        " FROM subscriptions WHERE id = ?1 AND deleted_at IS NULL AND (?2 IS NULL OR merchant = ?2)"
    ))
    .bind(id.0)
    .bind(owner)
    .fetch_optional(connection)
    .await?;
    row.map(Row::subscription).transpose()
}
