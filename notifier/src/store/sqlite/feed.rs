//! A merchant's own events in the order in which they were kept. There is one writer, which numbers its batches.

use async_trait::async_trait;
use runtime::database::{StoreResult, hex, list};
use serde_json::json;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::SqliteStore;
use super::list_page::OF_EVENT;
use crate::domain::EventPattern;
use crate::domain::feed::{FeedPage, FeedPosition, FeedQuery};
use crate::store::FeedStore;
use crate::store::feed::{DeliveredRow, FeedRow, events, keys};
use crate::store::log::push_types;

type Query = QueryBuilder<Sqlite>;

#[async_trait]
impl FeedStore for SqliteStore {
    async fn feed(&self, query: &FeedQuery) -> StoreResult<FeedPage> {
        let mut connection = self.db.reader.acquire().await?;
        let (horizon, end) = look(&mut connection, query).await?;
        let rows: Vec<FeedRow<i64>> =
            page(query, end.unwrap_or(horizon)).build_query_as().fetch_all(&mut *connection).await?;
        let delivered = delivered(&mut connection, query, &keys(&rows)).await?;
        connection.release();
        Ok(FeedPage::of(events(rows, delivered)?, query, end, horizon))
    }
}

/// After what the feed ends now, and where a look ends before.
async fn look(
    connection: &mut SqliteConnection,
    query: &FeedQuery,
) -> StoreResult<(FeedPosition, Option<FeedPosition>)> {
    let last: i64 =
        sqlx::query_scalar("SELECT feed_position FROM retention").fetch_one(&mut *connection).await?;
    let horizon = FeedPosition::before_batch(last.saturating_add(1));
    let end: Option<(i64, Uuid)> =
        look_for(query, horizon).build_query_as().fetch_optional(&mut *connection).await?;
    Ok((horizon, end.map(|(batch, key)| FeedPosition { batch, key })))
}

fn look_for(query: &FeedQuery, horizon: FeedPosition) -> Query {
    let mut looking = Query::new("SELECT e.feed_position, e.key FROM events e INDEXED BY events_feed");
    push_range(&mut looking, query, horizon);
    looking.push(" LIMIT 1 OFFSET ").push_bind(query.look() - 1);
    looking
}

/// The events up to `end`.
fn page(query: &FeedQuery, end: FeedPosition) -> Query {
    let mut page = Query::new("SELECT * FROM (SELECT * FROM events e INDEXED BY events_feed");
    push_range(&mut page, query, end);
    page.push(" LIMIT ").push_bind(query.look()).push(") e WHERE TRUE");
    push_any_type(&mut page, query);
    page.push(" LIMIT ").push_bind(query.fetch());
    page
}

/// The range of the index of a merchant's events, in its order.
fn push_range(into: &mut Query, query: &FeedQuery, end: FeedPosition) {
    into.push(" WHERE e.merchant = ").push_bind(query.merchant.clone());
    for (is, FeedPosition { batch, key }) in [(">", query.after), ("<=", end)] {
        into.push(format_args!(" AND (e.feed_position, e.key) {is} (")).push_bind(batch);
        into.push(", ").push_bind(key).push(")");
    }
    into.push(" ORDER BY e.feed_position, e.key");
}

/// The condition that an event `e` is of one of the types that are asked for.
fn push_any_type(into: &mut Query, query: &FeedQuery) {
    if query.types.is_empty() {
        return push_types(into, &EventPattern::all());
    }
    into.push(" AND (FALSE");
    for pattern in &query.types {
        into.push(" OR (TRUE");
        push_types(into, pattern);
        into.push(")");
    }
    into.push(")");
}

/// What became of the events `keys`.
async fn delivered(
    connection: &mut SqliteConnection,
    query: &FeedQuery,
    keys: &[Uuid],
) -> StoreResult<Vec<DeliveredRow>> {
    let mut counting = Query::new("WITH e AS MATERIALIZED (SELECT unhex(value) AS key FROM json_each(");
    counting.push_bind(list(keys.iter().map(|key| json!(hex(*key))))).push(
        ")) SELECT n.key, count(*) AS subscriptions, sum(n.is_delivered) AS acknowledged FROM (
             SELECT e.key, n.subscription_id, 0 AS is_delivered FROM e CROSS JOIN waiting n WHERE ",
    );
    counting.push(OF_EVENT).push(
        " UNION ALL
             SELECT e.key, n.subscription_id, n.state = 'delivered' FROM e CROSS JOIN notifications n WHERE ",
    );
    counting
        .push(OF_EVENT)
        .push(") n CROSS JOIN subscriptions s WHERE s.id = n.subscription_id AND s.merchant = ");
    counting.push_bind(query.merchant.clone()).push(" GROUP BY n.key");
    Ok(counting.build_query_as().fetch_all(connection).await?)
}

#[cfg(test)]
mod tests {
    use runtime::testing::temporary_sqlite;
    use sqlx::AssertSqlSafe;

    use super::*;

    #[tokio::test]
    async fn a_page_of_the_feed_is_a_range_of_the_index_of_a_merchants_events() {
        let (db, _folder) = temporary_sqlite().await;
        let store = SqliteStore::migrate(db).await.expect("migrated");
        let end = FeedPosition::before_batch(7);
        for types in [vec![], vec!["order.*".parse().expect("a family"), "a".parse().expect("a type")]] {
            let query = FeedQuery { merchant: "shop".into(), types, after: FeedPosition::START, limit: 50 };
            for statement in [look_for(&query, end), page(&query, end)] {
                let explain = format!("EXPLAIN QUERY PLAN {}", statement.sql().as_str());
                let plan: Vec<(i64, i64, i64, String)> =
                    sqlx::query_as(AssertSqlSafe(explain)).fetch_all(&store.db.reader).await.expect("a plan");
                let range =
                    "events_feed (merchant=? AND (feed_position,key)>(?,?) AND (feed_position,key)<(?,?))";
                assert!(plan.iter().any(|(.., step)| step.contains(range)), "{plan:?}");
                assert!(plan.iter().all(|(.., step)| !step.contains("B-TREE")), "{plan:?}");
            }
        }
    }
}
