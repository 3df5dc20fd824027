//! The notification log in pages, newest first.
//!
//! Ids begin with the time of the event, so their order is the list's, and every index that leads to
//! notifications ends in it. Each table answers a page; the newest of the two are the list's page.

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use runtime::http::Page;
use sqlx::PgConnection;
use uuid::Uuid;

use super::list_page::ListPage;
use crate::domain::pattern::{Family, Types};
use crate::domain::span::Arrivals;
use crate::domain::{Day, Span};
use crate::store::NotificationFilter;
use crate::store::log::{self, FIRST_LOOK, MAX_TYPES, goes_by_type, sources_of};
use crate::store::notification_row::{ArrivalsRow, NotificationRow};

type Row = NotificationRow<DateTime<Utc>>;

/// The page of notifications that `filter` asks for, as they stand at `now`.
pub(super) async fn rows(
    pool: &PgPool,
    filter: &NotificationFilter,
    page: Page,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Row>> {
    if sources_of(filter).is_empty() {
        return Ok(Vec::new());
    }
    let mut connection = pool.acquire().await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut look = FIRST_LOOK;
    let mut spans = parts(log::spans(filter, page, &arrivals(&mut connection, filter).await?), now);
    while let Some(mut span) = spans.pop() {
        let types = types(&mut connection, filter, span).await?;
        if let Some(types) = &types {
            let first = span;
            span = of_types(&mut connection, types, first, look).await?;
            spans.extend(first.below(span.from));
            look = look.saturating_mul(4);
        }
        let wanted = page.fetch() - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let list = ListPage { filter, types: types.as_deref(), span, wanted, now };
        // Planned anew each time: a plan for any values would read all events for a page of them.
        let mut query = list.query();
        let found: Vec<Row> = query.build_query_as().persistent(false).fetch_all(&mut *connection).await?;
        rows.extend(found);
        if rows.len() > usize::from(page.limit) {
            break;
        }
    }
    connection.release();
    Ok(rows)
}

/// When something came in at an odd time, for lists that ask when things came in.
pub(super) async fn arrivals(
    connection: &mut PgConnection,
    filter: &NotificationFilter,
) -> StoreResult<Vec<Arrivals>> {
    if filter.created_from.is_none() && filter.created_to.is_none() {
        return Ok(Vec::new());
    }
    let rows: Vec<ArrivalsRow<DateTime<Utc>>> =
        sqlx::query_as("SELECT day, first_at, last_at FROM arrivals").fetch_all(connection).await?;
    rows.into_iter().map(ArrivalsRow::arrivals).collect()
}

/// The spans cut into the last days, the week before, and the rest, newest last: most pages are full
/// before the older partitions need be opened, of which there are many.
fn parts(spans: Vec<Span>, now: DateTime<Utc>) -> Vec<Span> {
    let today = Day::of(now);
    let mut parts = Vec::new();
    let mut rest = spans;
    for edge in [today.plus(-1), today.plus(-8)] {
        let newer = Span { from: edge.first_id(), to: Uuid::max() };
        parts.extend(rest.iter().filter_map(|span| span.and(newer)));
        rest = rest.into_iter().filter_map(|span| span.below(edge.first_id())).collect();
    }
    parts.extend(rest);
    parts.reverse();
    parts
}

/// The types that a list goes by, as they are on the days of `span`; `None` where it does not, or
/// where they are too many.
async fn types(
    connection: &mut PgConnection,
    filter: &NotificationFilter,
    span: Span,
) -> StoreResult<Option<Vec<String>>> {
    let pattern = filter.event_type.as_ref().filter(|_| goes_by_type(filter));
    match pattern.map(|pattern| pattern.types()) {
        None | Some(Types::But(_)) => Ok(None),
        Some(Types::One(kind)) => Ok(Some(vec![kind.to_owned()])),
        Some(Types::Family(family)) => {
            let types = of_family(connection, &family, span.days()).await?;
            Ok((types.len() <= MAX_TYPES).then_some(types))
        }
    }
}

/// From one type to the next, a probe of the index each, however many events they have.
async fn of_family(connection: &mut PgConnection, family: &Family, days: Span) -> StoreResult<Vec<String>> {
    Ok(sqlx::query_scalar(
        "WITH RECURSIVE types AS (
             SELECT (SELECT min(type) FROM events
                 WHERE type >= $1 AND type < $2 AND key >= $3 AND key <= $4) AS type
             UNION ALL
             SELECT (SELECT min(type) FROM events
                 WHERE type > types.type AND type < $2 AND key >= $3 AND key <= $4)
             FROM types WHERE types.type IS NOT NULL
         )
         SELECT type FROM types WHERE type IS NOT NULL LIMIT $5",
    )
    .bind(&family.from)
    .bind(&family.to)
    .bind(days.from)
    .bind(days.to)
    .bind(i64::try_from(MAX_TYPES).unwrap_or(i64::MAX).saturating_add(1))
    .persistent(false)
    .fetch_all(connection)
    .await?)
}

/// The end of `span` in which so many events of one of the types lie; the whole of it when there are
/// fewer of each.
async fn of_types(
    connection: &mut PgConnection,
    types: &[String],
    span: Span,
    count: i64,
) -> StoreResult<Span> {
    let whole = span.whole();
    let key: Option<Uuid> = sqlx::query_scalar(
        "SELECT e.key FROM UNNEST($1::text[]) AS asked (type) CROSS JOIN LATERAL (
             SELECT key FROM events WHERE type = asked.type AND key >= $2 AND key <= $3
             ORDER BY key DESC OFFSET $4 LIMIT 1
         ) e ORDER BY e.key DESC LIMIT 1",
    )
    .bind(types)
    .bind(whole.from)
    .bind(whole.to)
    .bind(count)
    .persistent(false)
    .fetch_optional(connection)
    .await?;
    Ok(log::newest_of(span, key))
}
