//! What a bulk action comes to next.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::list_page::{self, push_failing, push_lease, push_state};
use crate::domain::Span;
use crate::domain::bulk::Bulk;
use crate::domain::notification::StateName;
use crate::store::bulk::{Found, ID, LOOK, columns, ranges};
use crate::store::log::{Source, Table, push_types, shown_in};
use crate::store::notification_row::ArrivalsRow;
use crate::store::rows::narrow;

type Query = QueryBuilder<Postgres>;

/// At most `limit` notifications that match, among the next [`LOOK`].
pub(super) async fn find(
    connection: &mut PgConnection,
    bulk: &Bulk,
    cursor: Option<Uuid>,
    limit: u32,
    now: DateTime<Utc>,
) -> StoreResult<Found> {
    let rows: Vec<ArrivalsRow<DateTime<Utc>>> =
        sqlx::query_as("SELECT day, first_at, last_at FROM arrivals").fetch_all(&mut *connection).await?;
    let arrivals = rows.into_iter().map(ArrivalsRow::arrivals).collect::<StoreResult<Vec<_>>>()?;
    let mut ids = Vec::new();
    for span in bulk.spans(cursor, &arrivals) {
        let end = horizon(connection, bulk, span).await?;
        let look = Span { to: end.unwrap_or(span.to), ..span };
        let wanted = i64::from(limit) - i64::try_from(ids.len()).unwrap_or(i64::MAX);
        ids.extend(matching(connection, bulk, look, wanted, now).await?);
        if ids.len() >= limit as usize {
            return Ok(Found { cursor: ids.last().copied(), ids });
        }
        if end.is_some() {
            return Ok(Found { ids, cursor: end });
        }
    }
    Ok(Found { ids, cursor: None })
}

/// The last notification of a look, if `span` holds that many.
async fn horizon(connection: &mut PgConnection, bulk: &Bulk, span: Span) -> StoreResult<Option<Uuid>> {
    let mut query = each_range(bulk, |query, source| {
        push_range(query, bulk, source, span, " WHERE ");
        push_order(query, bulk, source, LOOK);
    });
    query.push(" OFFSET ").push_bind(LOOK - 1).push(" LIMIT 1");
    Ok(query.build_query_scalar().persistent(false).fetch_optional(connection).await?)
}

/// The first of those in `span` that match; of a deleted subscription none.
async fn matching(
    connection: &mut PgConnection,
    bulk: &Bulk,
    span: Span,
    limit: i64,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Uuid>> {
    let mut query = each_range(bulk, |query, source| {
        query.push(" JOIN subscriptions s ON s.id = n.subscription_id");
        if bulk.filter.event_type.is_some() {
            let keys = span.whole();
            query.push(" JOIN events e ON e.key = n.event_key AND e.key >= ").push_bind(keys.from);
            query.push(" AND e.key <= ").push_bind(keys.to);
        }
        push_range(query, bulk, source, span, " WHERE s.deleted_at IS NULL AND ");
        push_conditions(query, bulk, source, now);
        push_order(query, bulk, source, limit);
    });
    query.push(" LIMIT ").push_bind(limit);
    Ok(query.build_query_scalar().persistent(false).fetch_all(connection).await?)
}

/// A statement that reads all ranges of `bulk` in the order of ids.
fn each_range(bulk: &Bulk, push: impl Fn(&mut Query, Source)) -> Query {
    let mut query = QueryBuilder::new("SELECT id FROM (");
    for (index, source) in ranges(&bulk.filter).into_iter().enumerate() {
        query.push(if index == 0 { "(" } else { ") UNION ALL (" });
        query.push("SELECT n.id FROM ").push(source.table().name()).push(" n");
        push(&mut query, source);
    }
    query.push(")) found ORDER BY id");
    query
}

/// A range of an index, said as in lists; see `list_page`.
fn push_range(query: &mut Query, bulk: &Bulk, source: Source, span: Span, lead: &str) {
    let columns = columns(&bulk.filter, source);
    query.push(lead);
    for (is, id) in [(">=", span.from), ("<=", span.to)] {
        query.push(format_args!("({columns}) {is} ("));
        if let Some(subscription) = bulk.filter.subscription {
            query.push_bind(subscription.0).push(", ");
        }
        if let (Source::Finished(states), true) = (source, columns != ID) {
            query.push_bind(states.to_string()).push(", ");
        }
        query.push_bind(id).push(") AND ");
    }
    // Said for the index that holds nothing delivered.
    query.push(if columns == "n.state, n.id" { "n.state <> 'delivered' AND " } else { "" });
    query.push("n.id >= ").push_bind(span.from).push(" AND n.id <= ").push_bind(span.to);
}

fn push_order(query: &mut Query, bulk: &Bulk, source: Source, limit: i64) {
    query.push(format_args!(" ORDER BY {} LIMIT ", columns(&bulk.filter, source))).push_bind(limit);
}

fn push_conditions(query: &mut Query, bulk: &Bulk, source: Source, now: DateTime<Utc>) {
    let filter = &bulk.filter;
    query.push(" AND n.created_at <= ").push_bind(bulk.created_at);
    narrow(query, " AND n.created_at >= ", filter.created_from);
    narrow(query, " AND n.created_at < ", filter.created_to);
    if let Some(pattern) = &filter.event_type {
        push_types(query, pattern);
    }
    if !filter.failure_classes.is_empty() {
        let classes = &filter.failure_classes;
        query.push(" AND (n.failure_class = ANY (").push_bind(list_page::classes(classes)).push(")");
        if source.table() == Table::Waiting {
            query.push(" OR (n.failure_class IS NULL AND s.state = 'active'");
            push_lease(query, StateName::Pending, now);
            push_failing(query, " AND s.id", classes);
            query.push(")");
        }
        query.push(")");
    }
    if columns(filter, source) == ID {
        push_state(query, source);
    }
    query.push(shown_in(source));
    if let Source::Shown(state) = source {
        push_lease(query, state, now);
    }
}
