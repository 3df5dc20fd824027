//! What the tests of this crate share.

pub mod broker;
pub mod harness;

use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Event;
use pay_service::document::result_event;
use pay_service::domain::{Order, OrderDraft, Outcome, Recharge, Settled};
use pay_service::store::{NewRecharge, Store};
use runtime::Sources;
use uuid::Uuid;

pub fn at(time: &str) -> DateTime<Utc> {
    time.parse().expect("an RFC 3339 time")
}

pub fn draft(order_no: &str, channel: &str) -> OrderDraft {
    OrderDraft {
        merchant: "shop".into(),
        merchant_order_no: order_no.into(),
        account_no: "6222".into(),
        amount: 1000,
        currency: None,
        channel: Some(channel.into()),
        attach: None,
    }
}

pub fn order(order_no: &str, channel: &str) -> Order {
    Order::new(draft(order_no, channel)).expect("a valid order")
}

/// The order as a new recharge, with its event when it is final.
pub fn taken(sources: &Sources, order: Order) -> NewRecharge {
    let recharge = Recharge::take(sources.ids.next(), order, sources.clock.now());
    let event = result_event(sources.ids.next(), &recharge);
    NewRecharge { recharge, event }
}

/// The recharge with its result, and the event of it.
pub fn settled(sources: &Sources, recharge: &Recharge, outcome: Outcome) -> (Recharge, Event) {
    let Ok(Settled::Now(settled)) = recharge.clone().settle(outcome, sources.clock.now()) else {
        panic!("the recharge is pending");
    };
    let event = result_event(sources.ids.next(), &settled).expect("it is final");
    (settled, event)
}

/// All events that wait in the outbox, oldest first; they wait on.
pub async fn outbox(store: &dyn Store) -> Vec<Event> {
    let (outbox, token) = (store.outbox(), Uuid::from_u128(7));
    let later = at("2100-01-01T00:00:00Z");
    let rows = outbox.claim(token, later, later, Duration::from_secs(1), 10_000).await;
    let rows = rows.expect("the outbox answers");
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    outbox.release(token, &ids).await.expect("the outbox answers");
    rows.into_iter().map(|row| row.event).collect()
}
