//! The notification log in pages, newest first.
//!
//! Ids begin with the time of the event, so their order is the list's, and every index that leads to
//! notifications ends in it. Each such range of an index answers a page, and the newest of all of
//! them are the list's page.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::domain::Span;
use crate::domain::notification::StateName;
use crate::domain::span::Arrivals;
use crate::store::NotificationFilter;
use crate::store::log::{self, FIRST_LOOK, Lead, Table, final_states, goes_by_type, shown_as};
use crate::store::notification_row::{ArrivalsRow, NotificationRow, finished_columns, waiting_columns};
use crate::store::rows::narrow;

type Row = NotificationRow<i64>;

/// The notifications of an event: their ids keep the time of its key, so they are a narrow range.
const OF_EVENT: &str = "n.id >= substr(e.key, 1, 6)
    AND n.id <= CAST(substr(e.key, 1, 6) || x'ffffffffffffffffffff' AS BLOB) AND n.event_key = e.key";

/// The page of notifications that `filter` asks for, as they stand at `now`.
pub(super) async fn rows(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
    page: Page,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut look = FIRST_LOOK;
    let mut spans = log::spans(filter, page, &arrivals(connection, filter).await?);
    spans.reverse();
    while let Some(mut span) = spans.pop() {
        if goes_by_type(filter) {
            let first = span;
            span = of_type(connection, filter, first, look).await?;
            spans.extend(first.below(span.from));
            look = look.saturating_mul(4);
        }
        rows.extend(in_span(connection, filter, span, page, now).await?);
        if rows.len() > usize::from(page.limit) {
            break;
        }
    }
    rows.truncate(usize::from(page.limit) + 1);
    Ok(rows)
}

/// A page of what `span` holds.
async fn in_span(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
    span: Span,
    page: Page,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for table in Table::holding(filter.state) {
        let list = List { table: *table, filter, span, now };
        for mut query in list.ranges(connection).await? {
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
async fn arrivals(
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

/// The end of `span` in which so many events of the type lie; the whole of it when there are fewer.
async fn of_type(
    connection: &mut SqliteConnection,
    filter: &NotificationFilter,
    span: Span,
    count: i64,
) -> StoreResult<Span> {
    let whole = span.whole();
    let key: Option<Uuid> = sqlx::query_scalar(
        "SELECT key FROM events WHERE type = ?1 AND key >= ?2 AND key <= ?3 ORDER BY key DESC LIMIT 1 OFFSET ?4",
    )
    .bind(&filter.event_type)
    .bind(whole.from)
    .bind(whole.to)
    .bind(count)
    .fetch_optional(connection)
    .await?;
    Ok(log::newest_of(span, key))
}

/// What a list asks of one table.
#[derive(Clone, Copy)]
struct List<'a> {
    table: Table,
    filter: &'a NotificationFilter,
    span: Span,
    now: DateTime<Utc>,
}

impl List<'_> {
    /// One query for each range of an index.
    async fn ranges(self, connection: &mut SqliteConnection) -> StoreResult<Vec<QueryBuilder<Sqlite>>> {
        match Lead::into(self.table, self.filter) {
            Lead::Subscriptions => {
                let mut subscriptions = QueryBuilder::new("SELECT s.id FROM subscriptions s WHERE TRUE");
                self.push_subscription(&mut subscriptions);
                let ids: Vec<Uuid> = subscriptions.build_query_scalar().fetch_all(connection).await?;
                Ok(ids.into_iter().flat_map(|id| self.of_subscription(id)).collect())
            }
            Lead::Events => {
                let mut query = self.select();
                query.push(" FROM events e CROSS JOIN ").push(self.table.name());
                query.push(" n JOIN subscriptions s ON s.id = n.subscription_id WHERE ").push(OF_EVENT);
                let keys = self.span.whole();
                query.push(" AND e.key >= ").push_bind(keys.from).push(" AND e.key <= ").push_bind(keys.to);
                self.push_subscription(&mut query);
                self.push_state(&mut query, self.filter.state);
                self.push_conditions(&mut query);
                Ok(vec![query])
            }
            Lead::Order => {
                let mut query = self.select();
                self.push_from(&mut query);
                self.push_state(&mut query, self.filter.state);
                self.push_conditions(&mut query);
                Ok(vec![query])
            }
        }
    }

    fn of_subscription(self, subscription: Uuid) -> Vec<QueryBuilder<Sqlite>> {
        let of = |state| {
            let mut query = self.select();
            self.push_from(&mut query);
            query.push(" AND n.subscription_id = ").push_bind(subscription);
            self.push_state(&mut query, state);
            self.push_conditions(&mut query);
            query
        };
        match self.table {
            Table::Waiting => vec![of(None)],
            Table::Finished => final_states(self.filter.state).map(|state| of(Some(state))).collect(),
        }
    }

    fn select(self) -> QueryBuilder<Sqlite> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(match self.table {
            Table::Waiting => waiting_columns!(),
            Table::Finished => finished_columns!(),
        });
        query
    }

    fn push_from(self, query: &mut QueryBuilder<Sqlite>) {
        query.push(" FROM ").push(self.table.name());
        // A cross join is made in the order it is written in.
        query.push(" n CROSS JOIN events e CROSS JOIN subscriptions s");
        query.push(" WHERE e.key = n.event_key AND s.id = n.subscription_id");
    }

    fn push_subscription(self, query: &mut QueryBuilder<Sqlite>) {
        narrow(query, " AND s.merchant = ", self.filter.owner.clone());
        narrow(query, " AND s.id = ", self.filter.subscription.map(|id| id.0));
        if let (Table::Waiting, Some(state)) = (self.table, self.filter.state) {
            query.push(shown_as(state));
        }
    }

    fn push_state(self, query: &mut QueryBuilder<Sqlite>, state: Option<StateName>) {
        // Written out, so that the index of what is not delivered is seen to serve it.
        match (self.table, state) {
            (Table::Finished, Some(StateName::Delivered)) => query.push(" AND n.state = 'delivered'"),
            (Table::Finished, Some(StateName::Exhausted)) => query.push(" AND n.state = 'exhausted'"),
            (Table::Finished, Some(StateName::Cancelled)) => query.push(" AND n.state = 'cancelled'"),
            _ => query,
        };
    }

    fn push_conditions(self, query: &mut QueryBuilder<Sqlite>) {
        let filter = self.filter;
        query.push(" AND n.id >= ").push_bind(self.span.from).push(" AND n.id <= ").push_bind(self.span.to);
        narrow(query, " AND n.created_at >= ", filter.created_from.map(|time| time.timestamp_micros()));
        narrow(query, " AND n.created_at < ", filter.created_to.map(|time| time.timestamp_micros()));
        narrow(query, " AND e.type = ", filter.event_type.clone());
        narrow(query, " AND e.subject = ", filter.subject.clone());
        narrow(query, " AND e.id = ", filter.event_id.clone());
        if let (Table::Waiting, Some(state)) = (self.table, filter.state) {
            push_lease(query, state, self.now);
        }
    }
}

/// The condition on a waiting notification `n`, beside that of `shown_as` on its subscription.
pub(super) fn push_lease(query: &mut QueryBuilder<Sqlite>, state: StateName, now: DateTime<Utc>) {
    let now = now.timestamp_micros();
    match state {
        // Whatever is under way was due.
        StateName::Delivering => {
            query.push(" AND n.due_at <= ").push_bind(now).push(" AND n.leased_until > ").push_bind(now);
        }
        StateName::Pending | StateName::Held => {
            query.push(" AND (n.leased_until IS NULL OR n.leased_until <= ").push_bind(now).push(")");
        }
        StateName::Delivered | StateName::Exhausted | StateName::Cancelled => {}
    }
}
