//! The notification log in pages, newest first.
//!
//! Ids begin with the time of the event, so their order is the list's, and every index that leads to
//! notifications ends in it. Each table answers a page; the newest of the two are the list's page.

use chrono::{DateTime, Utc};
use messaging::EventKey;
use runtime::http::Page;
use sqlx::{Postgres, QueryBuilder};

use crate::domain::notification::StateName;
use crate::store::NotificationFilter;
use crate::store::log::{Lead, Table, final_states, shown_as};
use crate::store::notification_row::{finished_columns, waiting_columns};
use crate::store::rows::narrow;

/// The notifications of an event: their ids keep the time of its key, so they are a narrow range.
const OF_EVENT: &str = "n.id >= (left(e.key::text, 13) || '-0000-0000-000000000000')::uuid
    AND n.id <= (left(e.key::text, 13) || '-ffff-ffff-ffffffffffff')::uuid AND n.event_key = e.key";

/// The page of notifications that `filter` asks for, as they stand at `now`.
pub(super) fn query(filter: &NotificationFilter, page: Page, now: DateTime<Utc>) -> QueryBuilder<Postgres> {
    let mut list = List { filter, page, now, query: QueryBuilder::new("SELECT * FROM (") };
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
    page: Page,
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
        self.query.push(
            ") n JOIN events e ON e.key = n.event_key JOIN subscriptions s ON s.id = n.subscription_id",
        );
    }

    fn push_end(&mut self, id: &str) {
        self.query.push(format_args!(" ORDER BY {id} DESC LIMIT ")).push_bind(self.page.fetch());
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
        self.query.push("events e JOIN ").push(table.name()).push(" n ON ").push(OF_EVENT);
        self.query.push(" JOIN subscriptions s ON s.id = n.subscription_id WHERE TRUE");
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
        if filter.event_type.is_some() || filter.event_id.is_some() || filter.subject.is_some() {
            self.query.push(" JOIN events e ON e.key = n.event_key");
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
        narrow(query, " AND n.id < ", self.page.after);
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
