//! How many notifications each subscription has in each state, read from indexes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use runtime::database::{StoreResult, hex, list};
use runtime::http::Page;
use serde_json::json;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::list_page::push_lease;
use crate::domain::notification::StateName;
use crate::domain::undelivered::{MAX_BODY, MAX_SUMMED};
use crate::domain::{States, SubscriptionCounts, SubscriptionId, Undelivered};
use crate::store::counts::{CountStore, CountsFilter, CountsRow, UndeliveredRow, look, note};
use crate::store::rows::narrow;

type Query = QueryBuilder<Sqlite>;

#[async_trait]
impl CountStore for SqliteStore {
    async fn counts(
        &self,
        filter: &CountsFilter,
        page: Page,
        cap: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<SubscriptionCounts>> {
        let mut query = Query::new("SELECT s.*");
        push_idle(&mut query, cap, now);
        push_delivering(&mut query, cap, now);
        for state in States::FINAL.iter() {
            push_finished(&mut query, state, cap);
        }
        push_page(&mut query, filter, page);
        query.push(" ORDER BY s.id DESC");
        let rows: Vec<CountsRow> = query.build_query_as().fetch_all(&self.db.reader).await?;
        rows.into_iter().map(|row| row.counts(cap)).collect()
    }

    async fn undelivered(&self, id: SubscriptionId) -> StoreResult<Undelivered> {
        let (mut undelivered, mut keys) = (Undelivered::default(), Vec::new());
        let mut connection = self.db.reader.acquire().await?;
        for query in [
            "SELECT event_key, created_at FROM waiting INDEXED BY waiting_subscription
             WHERE subscription_id = ?1 ORDER BY id LIMIT ?2",
            "SELECT event_key, created_at FROM notifications INDEXED BY notifications_subscription
             WHERE subscription_id = ?1 AND state = 'exhausted' ORDER BY id LIMIT ?2",
        ] {
            let query = sqlx::query_as(query).bind(id.0).bind(look(MAX_SUMMED));
            let rows: Vec<UndeliveredRow<i64>> = query.fetch_all(&mut *connection).await?;
            keys.extend(note(&mut undelivered, &rows)?);
        }
        add_amounts(&mut connection, &mut undelivered, &keys).await?;
        connection.release();
        Ok(undelivered)
    }
}

/// Adds what the events with these keys are about.
async fn add_amounts(
    connection: &mut SqliteConnection,
    undelivered: &mut Undelivered,
    keys: &[Uuid],
) -> StoreResult<()> {
    let mut bodies = sqlx::query_scalar(
        "SELECT CASE WHEN octet_length(body) <= ?2 THEN body END FROM events
         WHERE key IN (SELECT unhex(value) FROM json_each(?1))",
    )
    .bind(list(keys.iter().map(|key| json!(hex(*key)))))
    .bind(MAX_BODY)
    .fetch(connection);
    while let Some(body) = bodies.try_next().await? {
        let body: Option<String> = body;
        undelivered.add(body.as_deref());
    }
    Ok(())
}

/// The page of subscriptions `s`.
fn push_page(query: &mut Query, filter: &CountsFilter, page: Page) {
    query.push(" FROM (SELECT id, merchant, name, state, disabled_reason FROM subscriptions WHERE deleted_at IS NULL");
    narrow(query, " AND merchant = ", filter.owner.clone());
    narrow(query, " AND id = ", filter.subscription.map(|id| id.0));
    narrow(query, " AND id < ", page.after);
    query.push(" ORDER BY id DESC LIMIT ").push_bind(page.fetch()).push(") s");
}

/// What is final, one column for each state.
fn push_finished(query: &mut Query, state: StateName, cap: u32) {
    let name = state.as_str();
    query.push(
        ", (SELECT count(*) FROM (SELECT 1 FROM notifications n INDEXED BY notifications_subscription
         WHERE n.subscription_id = s.id AND n.state = ",
    );
    query.push(format_args!("'{name}' LIMIT ")).push_bind(look(cap)).push(format_args!(")) AS {name}"));
}

/// What waits with no attempt under way: the few under a live lease are passed over.
fn push_idle(query: &mut Query, cap: u32, now: DateTime<Utc>) {
    query.push(
        ", (SELECT count(*) FROM (SELECT 1 FROM waiting n INDEXED BY waiting_subscription
         WHERE n.subscription_id = s.id",
    );
    push_lease(query, StateName::Pending, now);
    query.push(" LIMIT ").push_bind(look(cap)).push(")) AS idle");
}

/// What is under way, among what claims take first.
fn push_delivering(query: &mut Query, cap: u32, now: DateTime<Utc>) {
    query.push(", (SELECT count(*) FROM (");
    push_due(query, cap, now);
    query.push(")) AS due, (SELECT count(*) FROM (");
    push_due(query, cap, now);
    query.push(") WHERE leased_until > ").push_bind(now.timestamp_micros()).push(") AS delivering");
}

/// The leases of the first attempts and of the retries that have been due the longest.
fn push_due(query: &mut Query, cap: u32, now: DateTime<Utc>) {
    for (again, between) in [(0, ""), (1, " UNION ALL ")] {
        query.push(between).push(format_args!(
            "SELECT leased_until FROM (SELECT n.leased_until FROM waiting n INDEXED BY waiting_due
             WHERE n.subscription_id = s.id AND n.again = {again} AND n.due_at <= "
        ));
        query.push_bind(now.timestamp_micros()).push(" ORDER BY n.due_at LIMIT ");
        query.push_bind(look(cap)).push(")");
    }
}
