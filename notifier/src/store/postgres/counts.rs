//! How many notifications each subscription has in each state, read from indexes.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::PostgresStore;
use super::list_page::push_lease;
use crate::domain::notification::StateName;
use crate::domain::undelivered::{MAX_BODY, MAX_SUMMED};
use crate::domain::{Span, States, SubscriptionCounts, SubscriptionId, Undelivered};
use crate::store::counts::{CountStore, CountsFilter, CountsRow, UndeliveredRow, look, note};
use crate::store::rows::narrow;

type Query = QueryBuilder<Postgres>;

#[async_trait]
impl CountStore for PostgresStore {
    async fn counts(
        &self,
        filter: &CountsFilter,
        page: Page,
        cap: u32,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<SubscriptionCounts>> {
        let mut query = Query::new("SELECT s.*, w.idle, d.due, d.delivering");
        for state in States::FINAL.iter() {
            push_finished(&mut query, state, cap);
        }
        push_page(&mut query, filter, page);
        push_idle(&mut query, cap, now);
        push_delivering(&mut query, cap, now);
        query.push(" ORDER BY s.id DESC");
        let mut transaction = self.pool.begin().await?;
        // Else what Postgres thinks is little is read whole from another index, and sorted.
        for order in ["SET LOCAL enable_sort = off", "SET LOCAL enable_incremental_sort = off"] {
            sqlx::query(order).execute(&mut *transaction).await?;
        }
        // Planned anew each time, with these settings and for this cap.
        let query = query.build_query_as().persistent(false);
        let rows: Vec<CountsRow> = query.fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        rows.into_iter().map(|row| row.counts(cap)).collect()
    }

    async fn undelivered(&self, id: SubscriptionId) -> StoreResult<Undelivered> {
        let (mut undelivered, mut keys) = (Undelivered::default(), Vec::new());
        let mut connection = self.pool.acquire().await?;
        for (table, columns, state) in [
            ("waiting", "n.subscription_id, n.id", None),
            ("notifications", "n.subscription_id, n.state, n.id", Some("exhausted")),
        ] {
            let mut query = Query::new("SELECT n.event_key, n.created_at FROM ");
            query.push(table).push(" n WHERE ");
            for (index, (is, end)) in [(">=", Span::ALL.from), ("<=", Span::ALL.to)].into_iter().enumerate() {
                query.push(if index == 0 { "" } else { " AND " });
                query.push(format_args!("({columns}) {is} (")).push_bind(id.0).push(", ");
                if let Some(state) = state {
                    query.push_bind(state).push(", ");
                }
                query.push_bind(end).push(")");
            }
            query.push(format_args!(" ORDER BY {columns} LIMIT ")).push_bind(look(MAX_SUMMED));
            let query = query.build_query_as().persistent(false);
            let rows: Vec<UndeliveredRow<DateTime<Utc>>> = query.fetch_all(&mut *connection).await?;
            keys.extend(note(&mut undelivered, &rows)?);
        }
        add_amounts(&mut connection, &mut undelivered, keys).await?;
        connection.release();
        Ok(undelivered)
    }
}

/// Adds what the events with these keys are about.
async fn add_amounts(
    connection: &mut PgConnection,
    undelivered: &mut Undelivered,
    keys: Vec<Uuid>,
) -> StoreResult<()> {
    let mut bodies = sqlx::query_scalar(
        "SELECT CASE WHEN octet_length(body) <= $2 THEN body END FROM events WHERE key = ANY ($1)",
    )
    .bind(keys)
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

/// The range of the index that begins with `columns` in which these have those `values`, up to the cap.
/// Said as a comparison of rows in the order of the index, so that Postgres reads that index of every
/// day and nothing else; see `ListPage::push_range`.
fn push_range(query: &mut Query, columns: &str, values: &str) {
    query.push(format_args!(" WHERE ({columns}, n.id) >= ({values}, ")).push_bind(Span::ALL.from);
    query.push(format_args!(") AND ({columns}, n.id) <= ({values}, ")).push_bind(Span::ALL.to).push(")");
}

/// What is final, one column for each state.
fn push_finished(query: &mut Query, state: StateName, cap: u32) {
    let name = state.as_str();
    query.push(", (SELECT count(*) FROM (SELECT FROM notifications n");
    push_range(query, "n.subscription_id, n.state", &format!("s.id, '{name}'"));
    query.push(" ORDER BY n.subscription_id, n.state, n.id LIMIT ").push_bind(look(cap));
    query.push(format_args!(") f) AS {name}"));
}

/// What waits with no attempt under way: the few under a live lease are passed over.
fn push_idle(query: &mut Query, cap: u32, now: DateTime<Utc>) {
    query.push(" CROSS JOIN LATERAL (SELECT count(*) AS idle FROM (SELECT FROM waiting n");
    push_range(query, "n.subscription_id", "s.id");
    push_lease(query, StateName::Pending, now);
    query.push(" ORDER BY n.subscription_id, n.id LIMIT ").push_bind(look(cap)).push(") i) w");
}

/// What is under way, among what claims take first; a range of an index, said as in [`push_range`].
fn push_delivering(query: &mut Query, cap: u32, now: DateTime<Utc>) {
    query
        .push(" CROSS JOIN LATERAL (SELECT count(*) AS due, count(*) FILTER (WHERE h.leased_until > ")
        .push_bind(now)
        .push(
            ") AS delivering FROM (VALUES (false), (true)) AS kind (again) CROSS JOIN LATERAL (
                 SELECT n.leased_until FROM waiting n
                 WHERE (n.subscription_id, n.again, n.due_at) >= (s.id, kind.again, '-infinity')
                   AND (n.subscription_id, n.again, n.due_at) <= (s.id, kind.again, ",
        )
        .push_bind(now)
        .push(") ORDER BY n.subscription_id, n.again, n.due_at LIMIT ")
        .push_bind(look(cap))
        .push(") h) d");
}
