//! How many notifications each subscription has in each state, read from indexes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{QueryBuilder, Sqlite};

use super::SqliteStore;
use super::list_page::push_lease;
use crate::domain::notification::StateName;
use crate::domain::{States, SubscriptionCounts};
use crate::store::counts::{CountStore, CountsFilter, CountsRow, look};
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
