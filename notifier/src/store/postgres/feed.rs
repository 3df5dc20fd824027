//! A merchant's own events in the order in which they were kept: by the number of the transaction that kept them, up
//! to the oldest one that still keeps some. What was kept before that is final, so no event appears behind a cursor.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{PostgresStore, of_event};
use crate::domain::Span;
use crate::domain::feed::{FeedPage, FeedPosition, FeedQuery};
use crate::store::FeedStore;
use crate::store::feed::{DeliveredRow, FeedRow, events, keys, push_any_type};

type Query = QueryBuilder<Postgres>;

#[async_trait]
impl FeedStore for PostgresStore {
    async fn feed(&self, query: &FeedQuery) -> StoreResult<FeedPage> {
        let mut transaction = self.pool.begin().await?;
        // Else what Postgres thinks is little is read whole, and sorted.
        let settings = "SELECT set_config('enable_sort', 'off', TRUE), set_config('enable_incremental_sort', 'off', TRUE),
             set_config('enable_bitmapscan', 'off', TRUE)";
        sqlx::query(settings).execute(&mut *transaction).await?;
        let (horizon, end) = look(&mut transaction, query).await?;
        let rows = page(&mut transaction, query, end.unwrap_or(horizon)).await?;
        let delivered = delivered(&mut transaction, query, keys(&rows)).await?;
        transaction.commit().await?;
        Ok(FeedPage::of(events(rows, delivered)?, query, end, horizon))
    }
}

/// The oldest transaction that may still keep events, or the next one. Whatever keeps events locks their table before
/// it has a number, and unlocks it after it has become visible. So of those that began before this statement's
/// snapshot each is seen here, or visible to the next statement. Transactions that don't keep events, of other databases
/// too, hold nothing up. Locks know the lower 32 bits of a number.
const HORIZON: &str = "
    WITH snapshot AS MATERIALIZED (
        SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next
    ), locks AS MATERIALIZED (
        SELECT locktype, database, relation, mode, transactionid, virtualtransaction FROM pg_locks
        WHERE granted AND locktype IN ('relation', 'transactionid')
    ), keeping AS (
        SELECT (next - number.transactionid::text::bigint) & 4294967295 AS behind
        FROM snapshot, locks held JOIN locks number USING (virtualtransaction)
        WHERE held.locktype = 'relation' AND held.mode = 'RowExclusiveLock' AND held.relation = 'events'::regclass
          AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND number.locktype = 'transactionid' AND number.mode = 'ExclusiveLock'
    )
    SELECT epoch + next - coalesce((SELECT max(behind) FROM keeping WHERE behind < 2147483648), 0)
    FROM snapshot, feed";

/// After what the feed ends now, and where a look ends before.
async fn look(
    connection: &mut PgConnection,
    query: &FeedQuery,
) -> StoreResult<(FeedPosition, Option<FeedPosition>)> {
    let horizon: i64 = sqlx::query_scalar(HORIZON).fetch_one(&mut *connection).await?;
    let horizon = FeedPosition::before_batch(horizon);
    let mut looking = Query::new("SELECT e.feed_position, e.key FROM events e");
    push_range(&mut looking, query, horizon);
    looking.push(" OFFSET ").push_bind(query.look() - 1).push(" LIMIT 1");
    let end: Option<(i64, Uuid)> =
        looking.build_query_as().persistent(false).fetch_optional(connection).await?;
    Ok((horizon, end.map(|(batch, key)| FeedPosition { batch, key })))
}

/// The events up to `end`.
async fn page(
    connection: &mut PgConnection,
    query: &FeedQuery,
    end: FeedPosition,
) -> StoreResult<Vec<FeedRow<DateTime<Utc>>>> {
    let mut page = Query::new("SELECT * FROM (SELECT * FROM events e");
    push_range(&mut page, query, end);
    page.push(" LIMIT ").push_bind(query.look()).push(") e WHERE TRUE");
    push_any_type(&mut page, query);
    page.push(" LIMIT ").push_bind(query.fetch());
    Ok(page.build_query_as().persistent(false).fetch_all(connection).await?)
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

/// What became of the events `keys`. The range of all of them says which days are looked at.
async fn delivered(
    connection: &mut PgConnection,
    query: &FeedQuery,
    keys: Vec<Uuid>,
) -> StoreResult<Vec<DeliveredRow>> {
    let (Some(first), Some(last)) = (keys.iter().min(), keys.iter().max()) else { return Ok(Vec::new()) };
    let days = Span { from: *first, to: *last }.whole();
    Ok(sqlx::query_as(concat!(
        "SELECT e.key, count(*) AS subscriptions, count(*) FILTER (WHERE n.is_delivered) AS acknowledged
         FROM UNNEST($1::uuid[]) e (key) CROSS JOIN LATERAL (
             SELECT n.subscription_id, FALSE AS is_delivered FROM waiting n WHERE ",
        of_event!(),
        " UNION ALL
             SELECT n.subscription_id, n.state = 'delivered' FROM notifications n
             WHERE n.id >= $3 AND n.id <= $4 AND ",
        of_event!(),
        "    OFFSET 0
         ) n JOIN subscriptions s ON s.id = n.subscription_id AND s.merchant = $2 GROUP BY e.key"
    ))
    .bind(&keys)
    .bind(&query.merchant)
    .bind(days.from)
    .bind(days.to)
    .fetch_all(connection)
    .await?)
}
