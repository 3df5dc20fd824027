//! What a bulk action comes to next.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::list_page::{push_classes, push_failing, push_lease, push_states};
use crate::domain::Span;
use crate::domain::bulk::Bulk;
use crate::domain::notification::StateName;
use crate::store::bulk::{Found, LOOK, ranges};
use crate::store::log::{Source, Table, push_types, shown_in};
use crate::store::notification_row::ArrivalsRow;
use crate::store::rows::narrow;

type Query = QueryBuilder<Sqlite>;

/// At most `limit` notifications that match, among the next [`LOOK`].
pub(super) async fn find(
    connection: &mut SqliteConnection,
    bulk: &Bulk,
    cursor: Option<Uuid>,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<Found> {
    let rows: Vec<ArrivalsRow<i64>> =
        sqlx::query_as("SELECT day, first_at, last_at FROM arrivals").fetch_all(&mut *connection).await?;
    let arrivals = rows.into_iter().map(ArrivalsRow::arrivals).collect::<StoreResult<Vec<_>>>()?;
    let mut ids = Vec::new();
    for span in bulk.spans(cursor, &arrivals) {
        let end = horizon(connection, bulk, span).await?;
        let look = Span { to: end.unwrap_or(span.to), ..span };
        ids.extend(matching(connection, bulk, look, limit, now).await?);
        if ids.len() >= limit as usize {
            ids.truncate(limit as usize);
            return Ok(Found { cursor: ids.last().copied(), ids });
        }
        if end.is_some() {
            return Ok(Found { ids, cursor: end });
        }
    }
    Ok(Found { ids, cursor: None })
}

/// The last notification of a look, if `span` holds that many.
async fn horizon(connection: &mut SqliteConnection, bulk: &Bulk, span: Span) -> StoreResult<Option<Uuid>> {
    let mut ids: Vec<Uuid> = Vec::new();
    for source in ranges(&bulk.filter) {
        let mut query = QueryBuilder::new("SELECT n.id FROM ");
        query.push(source.table().name()).push(" n WHERE TRUE");
        push_range(&mut query, bulk, source, span);
        query.push(" ORDER BY n.id LIMIT ").push_bind(LOOK);
        let found: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut *connection).await?;
        ids.extend(found);
    }
    ids.sort_unstable();
    Ok(usize::try_from(LOOK - 1).ok().and_then(|last| ids.get(last).copied()))
}

/// The first of those in `span` that match; of a deleted subscription none.
async fn matching(
    connection: &mut SqliteConnection,
    bulk: &Bulk,
    span: Span,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut ids: Vec<Uuid> = Vec::new();
    for source in ranges(&bulk.filter) {
        let mut query = QueryBuilder::new("SELECT n.id FROM ");
        // A cross join is made in the order it is written in.
        query.push(source.table().name()).push(" n CROSS JOIN events e CROSS JOIN subscriptions s");
        query.push(" WHERE e.key = n.event_key AND s.id = n.subscription_id AND s.deleted_at IS NULL");
        push_range(&mut query, bulk, source, span);
        push_conditions(&mut query, bulk, source, now);
        query.push(" ORDER BY n.id LIMIT ").push_bind(i64::from(limit));
        let found: Vec<Uuid> = query.build_query_scalar().fetch_all(&mut *connection).await?;
        ids.extend(found);
    }
    ids.sort_unstable();
    ids.truncate(limit as usize);
    Ok(ids)
}

fn push_range(query: &mut Query, bulk: &Bulk, source: Source, span: Span) {
    narrow(query, " AND n.subscription_id = ", bulk.filter.subscription.map(|id| id.0));
    query.push(" AND n.id >= ").push_bind(span.from).push(" AND n.id <= ").push_bind(span.to);
    if let Source::Finished(states) = source {
        push_states(query, source, states);
    }
}

fn push_conditions(query: &mut Query, bulk: &Bulk, source: Source, now: DateTime<Utc>) {
    let filter = &bulk.filter;
    query.push(" AND n.created_at <= ").push_bind(bulk.created_at.timestamp_micros());
    narrow(query, " AND n.created_at >= ", filter.created_from.map(|time| time.timestamp_micros()));
    narrow(query, " AND n.created_at < ", filter.created_to.map(|time| time.timestamp_micros()));
    if let Some(pattern) = &filter.event_type {
        push_types(query, pattern);
    }
    if !filter.failure_classes.is_empty() {
        push_classes(query, " AND (n.failure_class", &filter.failure_classes);
        if source.table() == Table::Waiting {
            query.push(" OR (n.failure_class IS NULL AND s.state = 'active'");
            push_lease(query, StateName::Pending, now);
            push_failing(query, " AND s.id", &filter.failure_classes);
            query.push(")");
        }
        query.push(")");
    }
    query.push(shown_in(source));
    if let Source::Shown(state) = source {
        push_lease(query, state, now);
    }
}
