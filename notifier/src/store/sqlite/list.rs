//! The notification log in pages, newest first.
//!
//! Ids begin with the time of the event, so their order is the list's, and every index that leads to
//! notifications ends in it. Each such range of an index answers a page, and the newest of all of
//! them are the list's page.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::list_page::ListPage;
use crate::domain::Span;
use crate::domain::pattern::{Family, Types};
use crate::domain::span::Arrivals;
use crate::store::NotificationFilter;
use crate::store::log::{self, FIRST_LOOK, MAX_TYPES, goes_by_type, sources_of};
use crate::store::notification_row::{ArrivalsRow, NotificationRow};

type Row = NotificationRow<i64>;

/// The page of notifications that `filter` asks for, as they stand at `now`.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
    page: Page,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut look = FIRST_LOOK;
    let types = types(connection, filter).await?;
    let mut spans = log::spans(filter, page, &arrivals(connection, filter).await?);
    spans.reverse();
    while let Some(mut span) = spans.pop() {
        if let Some(types) = &types {
            let first = span;
            span = of_types(connection, types, first, look).await?;
            spans.extend(first.below(span.from));
            look = look.saturating_mul(4);
        }
        let list = ListPage { filter, types: types.as_deref(), span, now };
        rows.extend(in_span(connection, list, page).await?);
        if rows.len() > usize::from(page.limit) {
            break;
        }
    }
    rows.truncate(usize::from(page.limit) + 1);
    Ok(rows)
}

/// A page of what a span holds.
async fn in_span(connection: &mut SqliteConnection, list: ListPage<'_>, page: Page) -> StoreResult<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for source in sources_of(list.filter) {
        for mut query in list.ranges(source, connection).await? {
            query.push(" ORDER BY n.id DESC LIMIT ").push_bind(page.fetch());
            let found: Vec<Row> = query.build_query_as().fetch_all(&mut *connection).await?;
            rows.extend(found);
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.id));
    rows.truncate(usize::from(page.limit) + 1);
    Ok(rows)
}

/// When something came in at an odd time, for lists that ask when things came in.
pub(super) async fn arrivals(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
) -> StoreResult<Vec<Arrivals>> {
    if filter.created_from.is_none() && filter.created_to.is_none() {
        return Ok(Vec::new());
    }
    let rows: Vec<ArrivalsRow<i64>> =
        sqlx::query_as("SELECT day, first_at, last_at FROM arrivals").fetch_all(connection).await?;
    rows.into_iter().map(ArrivalsRow::arrivals).collect()
}

/// The types that a list goes by; `None` where it does not, or where they are too many.
async fn types(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
) -> StoreResult<Option<Vec<String>>> {
    let pattern = filter.event_type.as_ref().filter(|_| goes_by_type(filter));
    match pattern.map(|pattern| pattern.types()) {
        None | Some(Types::But(_)) => Ok(None),
        Some(Types::One(kind)) => Ok(Some(vec![kind.to_owned()])),
        Some(Types::Family(family)) => {
            let types = of_family(connection, &family).await?;
            Ok((types.len() <= MAX_TYPES).then_some(types))
        }
    }
}

/// From one type to the next, a probe of the index each, however many events they have.
async fn of_family(connection: &mut SqliteConnection, family: &Family) -> StoreResult<Vec<String>> {
    Ok(sqlx::query_scalar(
        "WITH RECURSIVE types (type) AS (
             SELECT (SELECT min(type) FROM events WHERE type >= ?1 AND type < ?2)
             UNION ALL
             SELECT (SELECT min(e.type) FROM events e WHERE e.type > types.type AND e.type < ?2)
             FROM types WHERE types.type IS NOT NULL
         )
         SELECT type FROM types WHERE type IS NOT NULL LIMIT ?3",
    )
    .bind(&family.from)
    .bind(&family.to)
    .bind(i64::try_from(MAX_TYPES).unwrap_or(i64::MAX).saturating_add(1))
    .fetch_all(connection)
    .await?)
}

/// The end of `span` in which so many events of one of the types lie; the whole of it when there are
/// fewer of each.
async fn of_types(
    connection: &mut SqliteConnection,
    types: &[String],
    span: Span,
    count: i64,
) -> StoreResult<Span> {
    let whole = span.whole();
    let mut newest: Option<Uuid> = None;
    for kind in types {
        let key: Option<Uuid> = sqlx::query_scalar(
            "SELECT key FROM events WHERE type = ?1 AND key >= ?2 AND key <= ?3
             ORDER BY key DESC LIMIT 1 OFFSET ?4",
        )
        .bind(kind)
        .bind(whole.from)
        .bind(whole.to)
        .bind(count)
        .fetch_optional(&mut *connection)
        .await?;
        newest = newest.max(key);
    }
    Ok(log::newest_of(span, newest))
}
