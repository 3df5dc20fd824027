//! A merchant's own events in the order in which they were kept: by the number of the transaction that kept them, up
//! to the oldest one that still keeps some. What was kept before that is final, so no event appears behind a cursor.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{PostgresStore, of_event};
use crate::domain::Span;
use crate::domain::feed::{FeedPage, FeedPosition, FeedQuery};
use crate::domain::pattern::{Family, Types};
use crate::store::FeedStore;
use crate::store::feed::{DeliveredRow, FeedRow, events, keys};

#[async_trait]
impl FeedStore for PostgresStore {
    async fn feed(&self, query: &FeedQuery) -> StoreResult<FeedPage> {
        let horizon: i64 = sqlx::query_scalar(HORIZON).fetch_one(&self.pool).await?;
        let horizon = FeedPosition::before_batch(horizon);
        let mut transaction = self.pool.begin().await?;
        sqlx::query(SETTINGS).execute(&mut *transaction).await?;
        let looked = look(&mut transaction, query, horizon).await?;
        transaction.commit().await?;
        let end = looked.iter().find(|row| row.place == query.look()).map(|row| row.event.position());
        let rows: Vec<_> = looked.into_iter().filter(|row| row.matches).map(|row| row.event).collect();
        let delivered = delivered(&self.pool, query, keys(&rows)).await?;
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

/// Planning for ninety days takes longer than reading a page of them, so the plan is kept, and can only be one that
/// merges ranges of indexes. Else what Postgres thinks is little would be read whole, and sorted.
const SETTINGS: &str = "SELECT set_config('plan_cache_mode', 'force_generic_plan', TRUE),
    set_config('enable_seqscan', 'off', TRUE), set_config('enable_bitmapscan', 'off', TRUE),
    set_config('enable_sort', 'off', TRUE), set_config('enable_incremental_sort', 'off', TRUE)";

/// The events that match among the first $6 of a range of the index of a merchant's events, and the last of these.
const LOOK: &str = "
    SELECT * FROM (
        SELECT e.*, row_number() OVER () AS place, type = ANY ($7)
            OR EXISTS (SELECT FROM UNNEST($8::text[], $9::text[]) AS family (first, beyond)
                WHERE e.type >= family.first AND e.type < family.beyond)
            OR ($10 AND NOT (e.type >= $11 AND e.type < $12)) AS matches
        FROM (
            SELECT * FROM events e
            WHERE e.merchant = $1 AND (e.feed_position, e.key) > ($2, $3) AND (e.feed_position, e.key) <= ($4, $5)
            ORDER BY e.feed_position, e.key LIMIT $6
        ) e
    ) e WHERE matches OR place = $6 LIMIT $13";

/// An event that was looked at.
#[derive(sqlx::FromRow)]
struct LookedAt {
    #[sqlx(flatten)]
    event: FeedRow<DateTime<Utc>>,
    /// The first is 1.
    place: i64,
    matches: bool,
}

async fn look(
    connection: &mut PgConnection,
    query: &FeedQuery,
    end: FeedPosition,
) -> StoreResult<Vec<LookedAt>> {
    let (mut exact, mut first, mut beyond, mut all) = (vec![], vec![], vec![], query.types.is_empty());
    for pattern in &query.types {
        match pattern.types() {
            Types::One(kind) => exact.push(kind.to_owned()),
            Types::Family(Family { from, to }) => {
                first.push(from);
                beyond.push(to);
            }
            Types::But(_) => all = true,
        }
    }
    let but = Family::of_operators();
    Ok(sqlx::query_as(LOOK)
        .bind(&query.merchant)
        .bind(query.after.batch)
        .bind(query.after.key)
        .bind(end.batch)
        .bind(end.key)
        .bind(query.look())
        .bind(exact)
        .bind(first)
        .bind(beyond)
        .bind(all)
        .bind(but.from)
        .bind(but.to)
        .bind(query.fetch() + 1)
        .fetch_all(connection)
        .await?)
}

/// What became of the events `keys`. The range of all of them says which days are looked at.
async fn delivered(pool: &PgPool, query: &FeedQuery, keys: Vec<Uuid>) -> StoreResult<Vec<DeliveredRow>> {
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
    .fetch_all(pool)
    .await?)
}
