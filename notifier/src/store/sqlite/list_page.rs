//! The statements that answer a page of the log: one for each range of an index.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use crate::domain::notification::StateName;
use crate::domain::{FailureClass, Span, States};
use crate::store::NotificationFilter;
use crate::store::log::{Lead, Source, Table, push_types, shown_in};
use crate::store::notification_row::{finished_columns, waiting_columns};
use crate::store::rows::narrow;

/// The notifications of an event: their ids keep the time of its key, so they are a narrow range.
pub(super) const OF_EVENT: &str = "n.id >= substr(e.key, 1, 6)
    AND n.id <= CAST(substr(e.key, 1, 6) || x'ffffffffffffffffffff' AS BLOB) AND n.event_key = e.key";

/// What a list asks of a span.
#[derive(Clone, Copy)]
pub(super) struct ListPage<'a> {
    pub(super) filter: &'a NotificationFilter,
    /// The types of events to go by, where the list does.
    pub(super) types: Option<&'a [String]>,
    pub(super) span: Span,
    pub(super) now: DateTime<Utc>,
}

type Query = QueryBuilder<Sqlite>;

impl ListPage<'_> {
    /// One query for each range of an index in which something of `source` lies.
    pub(super) async fn ranges(
        self,
        source: Source,
        connection: &mut SqliteConnection,
    ) -> StoreResult<Vec<Query>> {
        Ok(match Lead::into(source, self.filter, self.types.is_some()) {
            Lead::Subscriptions => {
                let mut subscriptions = QueryBuilder::new("SELECT s.id FROM subscriptions s WHERE TRUE");
                self.push_subscription(&mut subscriptions, source);
                let ids: Vec<Uuid> = subscriptions.build_query_scalar().fetch_all(connection).await?;
                ids.into_iter().flat_map(|id| self.of_subscription(source, id)).collect()
            }
            Lead::Events => vec![self.by_event(source)],
            Lead::Failures => {
                let classes = self.filter.failure_classes.iter();
                classes.map(|class| self.of_failure(source, *class)).collect()
            }
            Lead::States => {
                states(source).iter().map(|state| self.of_states(source, States::of(&[state]))).collect()
            }
            Lead::Order => vec![self.of_states(source, states(source))],
        })
    }

    /// Each state of a subscription is a range.
    fn of_subscription(self, source: Source, subscription: Uuid) -> Vec<Query> {
        let of = |states| {
            let mut query = self.of_states(source, states);
            query.push(" AND n.subscription_id = ").push_bind(subscription);
            self.push_classes(&mut query, source);
            query
        };
        match source {
            Source::Finished(states) => states.iter().map(|state| of(States::of(&[state]))).collect(),
            _ => vec![of(States::ALL)],
        }
    }

    fn by_event(self, source: Source) -> Query {
        let mut query = select(source);
        query.push(" FROM events e CROSS JOIN ").push(source.table().name());
        query.push(" n JOIN subscriptions s ON s.id = n.subscription_id WHERE ").push(OF_EVENT);
        let keys = self.span.whole();
        query.push(" AND e.key >= ").push_bind(keys.from).push(" AND e.key <= ").push_bind(keys.to);
        if let Some(types) = self.types {
            let mut list = query.push(" AND e.type IN (").separated(", ");
            for kind in types {
                list.push_bind(kind.clone());
            }
            query.push(")");
        }
        self.push_subscription(&mut query, source);
        push_states(&mut query, source, states(source));
        self.push_classes(&mut query, source);
        self.push_conditions(&mut query, source);
        query
    }

    fn of_failure(self, source: Source, class: FailureClass) -> Query {
        let mut query = self.of_states(source, states(source));
        query.push(shown_in(source));
        query.push(" AND n.failure_class = ").push_bind(class.as_str());
        query
    }

    /// What is in these of the states, in the order of the list.
    fn of_states(self, source: Source, states: States) -> Query {
        let mut query = select(source);
        query.push(" FROM ").push(source.table().name());
        // A cross join is made in the order it is written in.
        query.push(" n CROSS JOIN events e CROSS JOIN subscriptions s");
        query.push(" WHERE e.key = n.event_key AND s.id = n.subscription_id");
        push_states(&mut query, source, states);
        self.push_conditions(&mut query, source);
        query
    }

    fn push_subscription(self, query: &mut Query, source: Source) {
        narrow(query, " AND s.merchant = ", self.filter.owner.clone());
        narrow(query, " AND s.id = ", self.filter.subscription.map(|id| id.0));
        if source == Source::Untried {
            push_failing(query, " AND s.id", &self.filter.failure_classes);
        }
        query.push(shown_in(source));
    }

    fn push_classes(self, query: &mut Query, source: Source) {
        if source == Source::Untried {
            query.push(" AND n.failure_class IS NULL");
        } else if !self.filter.failure_classes.is_empty() {
            push_classes(query, " AND n.failure_class", &self.filter.failure_classes);
        }
    }

    fn push_conditions(self, query: &mut Query, source: Source) {
        let filter = self.filter;
        query.push(" AND n.id >= ").push_bind(self.span.from).push(" AND n.id <= ").push_bind(self.span.to);
        narrow(query, " AND n.created_at >= ", filter.created_from.map(|time| time.timestamp_micros()));
        narrow(query, " AND n.created_at < ", filter.created_to.map(|time| time.timestamp_micros()));
        if let (Some(pattern), None) = (&filter.event_type, self.types) {
            push_types(query, pattern);
        }
        narrow(query, " AND e.subject = ", filter.subject.clone());
        narrow(query, " AND e.id = ", filter.event_id.clone());
        match source {
            Source::Shown(state) => push_lease(query, state, self.now),
            Source::Untried => push_lease(query, StateName::Pending, self.now),
            Source::Waiting | Source::Living | Source::Finished(_) => {}
        }
    }
}

/// The condition that what follows `lead` is one of `classes`.
pub(super) fn push_classes(query: &mut Query, lead: &str, classes: &[FailureClass]) {
    let mut list = query.push(lead).push(" IN (").separated(", ");
    for class in classes {
        list.push_bind(class.as_str());
    }
    query.push(")");
}

/// The condition that the subscription whose id follows `lead` is tried by one attempt at a time, and why its last
/// attempt failed.
pub(super) fn push_failing(query: &mut Query, lead: &str, classes: &[FailureClass]) {
    query
        .push(lead)
        .push(" IN (SELECT h.subscription_id FROM subscription_health h WHERE h.probe_at IS NOT NULL");
    push_classes(query, " AND h.failure_class", classes);
    query.push(")");
}

fn select(source: Source) -> Query {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(match source.table() {
        Table::Waiting => waiting_columns!(),
        Table::Finished => finished_columns!(),
    });
    query
}

/// The final states that are asked for.
fn states(source: Source) -> States {
    if let Source::Finished(states) = source { states } else { States::ALL }
}

/// Written out, so that the index of what is not delivered is seen to serve a single state.
pub(super) fn push_states(query: &mut Query, source: Source, states: States) {
    if source.table() == Table::Waiting || states == States::FINAL {
        return;
    }
    let names: Vec<String> = states.iter().map(|state| format!("'{}'", state.as_str())).collect();
    match &names[..] {
        [name] => query.push(" AND n.state = ").push(name),
        names => query.push(" AND n.state IN (").push(names.join(", ")).push(")"),
    };
}

/// The condition on a waiting notification `n`, beside that of `shown_as` on its subscription.
pub(super) fn push_lease(query: &mut Query, state: StateName, now: DateTime<Utc>) {
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
