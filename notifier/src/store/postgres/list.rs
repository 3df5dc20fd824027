//! The notification log in pages, newest first.
//!
//! Ids begin with the time of the event, so their order is the list's, and every index that leads to
//! notifications ends in it. Each table answers a page; the newest of the two are the list's page.

use chrono::{DateTime, Utc};
use messaging::EventKey;
use runtime::database::StoreResult;
use runtime::http::Page;
use sqlx::{PgConnection, PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use super::of_event;
use crate::domain::notification::StateName;
use crate::domain::span::Arrivals;
use crate::domain::{Day, Span};
use crate::store::NotificationFilter;
use crate::store::log::{self, FIRST_LOOK, Lead, Table, final_states, goes_by_type, shown_as};
use crate::store::notification_row::{ArrivalsRow, NotificationRow, finished_columns, waiting_columns};
use crate::store::rows::narrow;

type Row = NotificationRow<DateTime<Utc>>;

/// The page of notifications that `filter` asks for, as they stand at `now`.
pub(super) async fn rows(
    pool: &PgPool,
    filter: &NotificationFilter,
    page: Page,
    now: DateTime<Utc>,
) -> StoreResult<Vec<Row>> {
    let mut connection = pool.acquire().await?;
    let mut rows: Vec<Row> = Vec::new();
    let mut look = FIRST_LOOK;
    let mut spans = parts(log::spans(filter, page, &arrivals(&mut connection, filter).await?), now);
    while let Some(mut span) = spans.pop() {
        if goes_by_type(filter) {
            let first = span;
            span = of_type(&mut connection, filter, first, look).await?;
            spans.extend(first.below(span.from));
            look = look.saturating_mul(4);
        }
        let wanted = page.fetch() - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        let found: Vec<Row> =
            query(filter, span, wanted, now).build_query_as().fetch_all(&mut *connection).await?;
        rows.extend(found);
        if rows.len() > usize::from(page.limit) {
            break;
        }
    }
    Ok(rows)
}

/// When something came in at an odd time, for lists that ask when things came in.
async fn arrivals(connection: &mut PgConnection, filter: &NotificationFilter) -> StoreResult<Vec<Arrivals>> {
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

/// The end of `span` in which so many events of the type lie; the whole of it when there are fewer.
async fn of_type(
    connection: &mut PgConnection,
    filter: &NotificationFilter,
    span: Span,
    count: i64,
) -> StoreResult<Span> {
    let whole = span.whole();
    let key: Option<Uuid> = sqlx::query_scalar(
        "SELECT key FROM events WHERE type = $1 AND key >= $2 AND key <= $3 ORDER BY key DESC OFFSET $4 LIMIT 1",
    )
    .bind(&filter.event_type)
    .bind(whole.from)
    .bind(whole.to)
    .bind(count)
    .fetch_optional(connection)
    .await?;
    Ok(log::newest_of(span, key))
}

/// At most so many of what `span` holds, newest first.
fn query(filter: &NotificationFilter, span: Span, wanted: i64, now: DateTime<Utc>) -> QueryBuilder<Postgres> {
    let mut list = List { filter, span, wanted, now, query: QueryBuilder::new("SELECT * FROM (") };
    for (index, table) in Table::holding(filter.state).iter().enumerate() {
        list.query.push(if index == 0 { "SELECT " } else { " UNION ALL SELECT " });
        list.push_page(*table);
    }
    list.query.push(") listed");
    list.push_end("id");
    list.query
}

struct List<'a> {
    filter: &'a NotificationFilter,
    span: Span,
    wanted: i64,
    now: DateTime<Utc>,
    query: QueryBuilder<Postgres>,
}

impl List<'_> {
    /// The page of one table, with what the log shows of each.
    fn push_page(&mut self, table: Table) {
        self.query.push(match table {
            Table::Waiting => waiting_columns!(),
            Table::Finished => finished_columns!(),
        });
        self.query.push(" FROM (SELECT n.* FROM ");
        match Lead::into(table, self.filter) {
            Lead::Subscriptions => self.push_by_subscription(table),
            Lead::Events => self.push_by_event(table),
            Lead::Order => self.push_in_order(table),
        }
        self.push_end("n.id");
        self.query.push(") n JOIN events e ON e.key = n.event_key");
        self.push_keys();
        self.query.push(" JOIN subscriptions s ON s.id = n.subscription_id");
    }

    /// Says which days the events are of, so that only those are planned for.
    fn push_keys(&mut self) {
        let keys = self.span.whole();
        self.query.push(" AND e.key >= ").push_bind(keys.from).push(" AND e.key <= ").push_bind(keys.to);
    }

    fn push_end(&mut self, id: &str) {
        self.query.push(format_args!(" ORDER BY {id} DESC LIMIT ")).push_bind(self.wanted);
    }

    /// The newest of each subscription concerned.
    fn push_by_subscription(&mut self, table: Table) {
        self.query.push("subscriptions s");
        if table == Table::Finished {
            let states = final_states(self.filter.state).map(|state| state.as_str().to_owned());
            self.query.push(" CROSS JOIN UNNEST(").push_bind(states.collect::<Vec<_>>()).push(") f (state)");
        }
        self.query.push(" CROSS JOIN LATERAL (SELECT n.* FROM ");
        self.push_table(table);
        self.query.push(" WHERE n.subscription_id = s.id");
        if table == Table::Finished {
            self.query.push(" AND n.state = f.state");
        }
        self.push_conditions(table);
        self.push_end("n.id");
        self.query.push(") n WHERE TRUE");
        self.push_subscription(table);
    }

    fn push_by_event(&mut self, table: Table) {
        self.query.push("events e JOIN ").push(table.name()).push(" n ON ").push(of_event!());
        self.query.push(" JOIN subscriptions s ON s.id = n.subscription_id WHERE TRUE");
        self.push_keys();
        self.push_subscription(table);
        self.push_state(table);
        self.push_conditions(table);
    }

    fn push_in_order(&mut self, table: Table) {
        self.push_table(table);
        self.query.push(" WHERE TRUE");
        self.push_state(table);
        self.push_conditions(table);
    }

    /// The table, with the events where the filter asks for something of theirs.
    fn push_table(&mut self, table: Table) {
        self.query.push(table.name()).push(" n");
        let filter = self.filter;
        if filter.event_type.is_some() {
            self.query.push(" JOIN events e ON e.key = n.event_key");
            self.push_keys();
        }
    }

    fn push_subscription(&mut self, table: Table) {
        narrow(&mut self.query, " AND s.merchant = ", self.filter.owner.clone());
        narrow(&mut self.query, " AND s.id = ", self.filter.subscription.map(|id| id.0));
        if let (Table::Waiting, Some(state)) = (table, self.filter.state) {
            self.query.push(shown_as(state));
        }
    }

    fn push_state(&mut self, table: Table) {
        if table == Table::Finished {
            narrow(&mut self.query, " AND n.state = ", self.filter.state.map(StateName::as_str));
        }
    }

    fn push_conditions(&mut self, table: Table) {
        let (query, filter) = (&mut self.query, self.filter);
        query.push(" AND n.id >= ").push_bind(self.span.from).push(" AND n.id <= ").push_bind(self.span.to);
        narrow(query, " AND n.created_at >= ", filter.created_from);
        narrow(query, " AND n.created_at < ", filter.created_to);
        narrow(query, " AND e.type = ", filter.event_type.clone());
        narrow(query, " AND e.subject = ", filter.subject.clone());
        if let Some(id) = &filter.event_id {
            match EventKey::of_id(id) {
                Some(key) => query.push(" AND e.key = ").push_bind(key.0),
                None => query.push(" AND e.id <> e.key::text AND e.id = ").push_bind(id.clone()),
            };
        }
        if let (Table::Waiting, Some(state)) = (table, filter.state) {
            push_lease(query, state, self.now);
        }
    }
}

/// The condition on a waiting notification `n`, beside that of `shown_as` on its subscription.
pub(super) fn push_lease(query: &mut QueryBuilder<Postgres>, state: StateName, now: DateTime<Utc>) {
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
