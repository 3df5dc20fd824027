//! The statement that answers a page of the log.

use chrono::{DateTime, Utc};
use messaging::EventKey;
use sqlx::{Postgres, QueryBuilder};

use super::of_event;
use crate::domain::notification::StateName;
use crate::domain::{FailureClass, Span, States};
use crate::store::NotificationFilter;
use crate::store::log::{Lead, Source, Table, push_types, shown_in, sources_of};
use crate::store::notification_row::{finished_columns, waiting_columns};
use crate::store::rows::narrow;

/// At most `wanted` of what `span` holds, newest first.
pub(super) struct ListPage<'a> {
    pub(super) filter: &'a NotificationFilter,
    /// The types of events to go by, where the list does.
    pub(super) types: Option<&'a [String]>,
    pub(super) span: Span,
    pub(super) wanted: i64,
    pub(super) now: DateTime<Utc>,
}

type Query = QueryBuilder<Postgres>;

impl ListPage<'_> {
    pub(super) fn query(&self) -> Query {
        let mut query = QueryBuilder::new("SELECT * FROM (");
        for (index, source) in sources_of(self.filter).into_iter().enumerate() {
            query.push(if index == 0 { "(SELECT " } else { ") UNION ALL (SELECT " });
            self.push_source(&mut query, source);
        }
        query.push(")) listed");
        self.push_end(&mut query, "id");
        query
    }

    /// The page of one source, with what the log shows of each.
    fn push_source(&self, query: &mut Query, source: Source) {
        query.push(match source.table() {
            Table::Waiting => waiting_columns!(),
            Table::Finished => finished_columns!(),
        });
        query.push(" FROM (SELECT n.* FROM ");
        match Lead::into(source, self.filter, self.types.is_some()) {
            Lead::Subscriptions => self.push_by_subscription(query, source),
            Lead::Events => self.push_by_event(query, source),
            Lead::Failures => self.push_by_failure(query, source),
            Lead::States => self.push_by_state(query, source),
            Lead::Order => {
                self.push_table(query, source);
                query.push(" WHERE TRUE");
                push_state(query, source);
                self.push_conditions(query, source);
            }
        }
        self.push_end(query, "n.id");
        query.push(") n JOIN events e ON e.key = n.event_key");
        self.push_keys(query);
        query.push(" JOIN subscriptions s ON s.id = n.subscription_id");
    }

    /// Says which days the events are of, so that only those are planned for.
    fn push_keys(&self, query: &mut Query) {
        let keys = self.span.whole();
        query.push(" AND e.key >= ").push_bind(keys.from).push(" AND e.key <= ").push_bind(keys.to);
    }

    fn push_end(&self, query: &mut Query, id: &str) {
        query.push(format_args!(" ORDER BY {id} DESC LIMIT ")).push_bind(self.wanted);
    }

    /// The newest of each subscription concerned.
    fn push_by_subscription(&self, query: &mut Query, source: Source) {
        query.push("subscriptions s");
        if let Source::Finished(states) = source {
            query.push(" CROSS JOIN UNNEST(").push_bind(names(states)).push(") f (state)");
        }
        query.push(" CROSS JOIN LATERAL (SELECT n.* FROM ");
        self.push_table(query, source);
        let order = match source {
            // Those are found among what is due.
            Source::Shown(StateName::Delivering) => {
                query.push(" WHERE n.subscription_id = s.id");
                "n.id"
            }
            Source::Finished(_) => {
                self.push_range(query, "n.subscription_id, n.state", "s.id, f.state");
                "n.subscription_id DESC, n.state DESC, n.id"
            }
            _ => {
                self.push_range(query, "n.subscription_id", "s.id");
                "n.subscription_id DESC, n.id"
            }
        };
        self.push_classes(query, source);
        self.push_conditions(query, source);
        self.push_end(query, order);
        query.push(") n WHERE TRUE");
        self.push_subscription(query, source);
    }

    /// The range of the index that begins with `columns` in which these have those `values`. Said as a
    /// comparison of rows, and asked for in the order of the index: told that a column equals something
    /// and that the order is that of ids, Postgres may walk down all ids and look for it there.
    fn push_range(&self, query: &mut Query, columns: &str, values: &str) {
        query.push(format_args!(" WHERE ({columns}, n.id) >= ({values}, ")).push_bind(self.span.from);
        query.push(format_args!(") AND ({columns}, n.id) <= ({values}, ")).push_bind(self.span.to).push(")");
    }

    /// Those of each event. The fence (`OFFSET 0`) keeps Postgres from joining in another order, in which
    /// it would read all notifications to find those of a few events.
    fn push_by_event(&self, query: &mut Query, source: Source) {
        query.push("events e CROSS JOIN LATERAL (SELECT n.* FROM ").push(source.table().name());
        query.push(" n WHERE ").push(of_event!());
        self.push_own(query, source);
        push_state(query, source);
        self.push_classes(query, source);
        query.push(" OFFSET 0) n JOIN subscriptions s ON s.id = n.subscription_id WHERE TRUE");
        self.push_keys(query);
        if let Some(types) = self.types {
            query.push(" AND e.type = ANY (").push_bind(types.to_vec()).push(")");
        }
        self.push_event(query);
        self.push_subscription(query, source);
    }

    /// The newest of each class.
    fn push_by_failure(&self, query: &mut Query, source: Source) {
        query
            .push("UNNEST(")
            .push_bind(classes(&self.filter.failure_classes))
            .push(") f (class) CROSS JOIN LATERAL (SELECT n.* FROM ");
        self.push_table(query, source);
        query.push(" JOIN subscriptions s ON s.id = n.subscription_id");
        self.push_range(query, "n.failure_class", "f.class");
        query.push(" AND n.failure_class IS NOT NULL").push(shown_in(source));
        push_state(query, source);
        self.push_conditions(query, source);
        self.push_end(query, "n.failure_class DESC, n.id");
        query.push(") n");
    }

    /// The newest of each state. That it is not delivered is said for the index that holds no others.
    fn push_by_state(&self, query: &mut Query, source: Source) {
        let states = if let Source::Finished(states) = source { names(states) } else { Vec::new() };
        query.push("UNNEST(").push_bind(states).push(") f (state) CROSS JOIN LATERAL (SELECT n.* FROM ");
        self.push_table(query, source);
        self.push_range(query, "n.state", "f.state");
        query.push(" AND n.state <> 'delivered'");
        self.push_conditions(query, source);
        self.push_end(query, "n.state DESC, n.id");
        query.push(") n");
    }

    /// The table, with the events where the filter asks for something of theirs.
    fn push_table(&self, query: &mut Query, source: Source) {
        query.push(source.table().name()).push(" n");
        if self.filter.event_type.is_some() {
            query.push(" JOIN events e ON e.key = n.event_key");
            self.push_keys(query);
        }
    }

    fn push_subscription(&self, query: &mut Query, source: Source) {
        narrow(query, " AND s.merchant = ", self.filter.owner.clone());
        narrow(query, " AND s.id = ", self.filter.subscription.map(|id| id.0));
        if source == Source::Untried {
            push_failing(query, " AND s.id", &self.filter.failure_classes);
        }
        query.push(shown_in(source));
    }

    fn push_classes(&self, query: &mut Query, source: Source) {
        if source == Source::Untried {
            query.push(" AND n.failure_class IS NULL");
        } else if !self.filter.failure_classes.is_empty() {
            let classes = classes(&self.filter.failure_classes);
            query.push(" AND n.failure_class = ANY (").push_bind(classes).push(")");
        }
    }

    fn push_conditions(&self, query: &mut Query, source: Source) {
        self.push_own(query, source);
        self.push_event(query);
    }

    /// What is asked of the notification itself.
    fn push_own(&self, query: &mut Query, source: Source) {
        query.push(" AND n.id >= ").push_bind(self.span.from).push(" AND n.id <= ").push_bind(self.span.to);
        narrow(query, " AND n.created_at >= ", self.filter.created_from);
        narrow(query, " AND n.created_at < ", self.filter.created_to);
        push_shown_lease(query, source, self.now);
    }

    /// What is asked of its event.
    fn push_event(&self, query: &mut Query) {
        let filter = self.filter;
        if let (Some(pattern), None) = (&filter.event_type, self.types) {
            push_types(query, pattern);
        }
        narrow(query, " AND e.subject = ", filter.subject.clone());
        if let Some(id) = &filter.event_id {
            // Those with a UUIDv7 lie in its millisecond, which the span is narrowed to; several sources may use it.
            if EventKey::of_id(id).is_none() {
                query.push(" AND e.id <> e.key::text");
            }
            query.push(" AND e.id = ").push_bind(id.clone());
        }
    }
}

/// The condition on the state of a finished notification `n`, where not all are meant.
pub(super) fn push_state(query: &mut Query, source: Source) {
    if let Source::Finished(states) = source
        && states != States::FINAL
    {
        query.push(" AND n.state = ANY (").push_bind(names(states)).push(")");
    }
}

fn names(states: States) -> Vec<String> {
    states.iter().map(|state| state.as_str().to_owned()).collect()
}

pub(super) fn classes(classes: &[FailureClass]) -> Vec<String> {
    classes.iter().copied().map(FailureClass::as_str).map(str::to_owned).collect()
}

/// The condition that the subscription whose id follows `lead` is tried by one attempt at a time, and why its last
/// attempt failed.
pub(super) fn push_failing(query: &mut Query, lead: &str, failure_classes: &[FailureClass]) {
    query.push(lead).push(
        " = ANY (ARRAY(SELECT h.subscription_id FROM subscription_health h
         WHERE h.probe_at IS NOT NULL AND h.failure_class = ANY (",
    );
    query.push_bind(classes(failure_classes)).push(")))");
}

/// The condition of [`push_lease`] for what `source` shows.
fn push_shown_lease(query: &mut Query, source: Source, now: DateTime<Utc>) {
    match source {
        Source::Shown(state) => push_lease(query, state, now),
        Source::Untried => push_lease(query, StateName::Pending, now),
        Source::Waiting | Source::Living | Source::Finished(_) => {}
    }
}

/// The condition on a waiting notification `n`, beside that of `shown_as` on its subscription.
pub(super) fn push_lease(query: &mut Query, state: StateName, now: DateTime<Utc>) {
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
