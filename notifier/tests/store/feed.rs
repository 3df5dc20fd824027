//! A merchant's own events in the order in which they were kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Event;
use notifier::domain::feed::{FeedEvent, FeedPosition, FeedQuery};
use notifier::domain::{EventPattern, NewEvent, Outcome};
use notifier::store::{AdmitNone, Store};
use runtime::Entropy;
use runtime::testing::SeededEntropy;
use serde_json::json;

use super::world::World;

const MERCHANTS: [&str; 3] = ["shop", "bank", "store"];
const KINDS: [&str; 4] = ["order.paid", "order.lost", "recharge.succeeded", "ringback.backlog.growing"];

fn of(merchant: &str, limit: u16) -> FeedQuery {
    FeedQuery { merchant: merchant.into(), types: Vec::new(), after: FeedPosition::START, limit }
}

fn ids(events: &[FeedEvent]) -> Vec<String> {
    events.iter().map(|of| of.event.id.clone()).collect()
}

/// All that follows `query.after`, page by page, and where to go on.
async fn walk(store: &dyn Store, mut query: FeedQuery) -> (Vec<FeedEvent>, FeedPosition) {
    let mut all = Vec::new();
    loop {
        let page = store.feed(&query).await.expect("a store");
        assert!(page.events.len() <= usize::from(query.limit));
        assert!(page.events.iter().all(|event| query.after < event.position && event.position <= page.next));
        all.extend(page.events);
        query.after = page.next;
        if !page.has_more {
            return (all, page.next);
        }
    }
}

fn event(id: &str, merchant: Option<&str>, kind: &str, time: DateTime<Utc>) -> NewEvent {
    let mut event =
        json!({ "specversion": "1.0", "id": id, "source": "/test", "type": kind, "time": time, "data": id });
    if let Some(merchant) = merchant {
        event["merchant"] = json!(merchant);
    }
    NewEvent::from(&Event::parse(event.to_string().as_bytes()).expect("an event"))
}

pub async fn the_feed_is_in_the_order_in_which_events_were_kept_whatever_their_times(world: World) {
    let empty = world.store.feed(&of("shop", 10)).await.expect("a store");
    assert!(empty.events.is_empty() && !empty.has_more);
    let hours = |hours: u64| Duration::from_hours(hours);
    world.ingest(&[event("first", Some("shop"), "order.paid", world.now())]).await;
    let first = world.store.feed(&FeedQuery { after: empty.next, ..of("shop", 10) }).await.expect("a store");
    assert_eq!(ids(&first.events), ["first"]);
    world.ingest(&[event("late", Some("shop"), "order.paid", world.now() - hours(30))]).await;
    world.ingest(&[event("early", Some("shop"), "order.paid", world.now() + hours(30))]).await;
    world.ingest(&[event("others", Some("bank"), "order.paid", world.now())]).await;
    world.ingest(&[event("nobodys", None, "order.paid", world.now())]).await;
    let again = [
        event("late", Some("shop"), "order.paid", world.now()),
        event("last", Some("shop"), "order.paid", world.now()),
    ];
    world.ingest(&again).await;
    let (rest, end) = walk(&*world.store, FeedQuery { after: first.next, ..of("shop", 2) }).await;
    assert_eq!(ids(&rest), ["late", "early", "last"]);
    let (all, _) = walk(&*world.store, of("shop", 3)).await;
    assert_eq!(ids(&all), ["first", "late", "early", "last"]);
    assert_eq!(ids(&walk(&*world.store, of("bank", 3)).await.0), ["others"]);
    assert!(walk(&*world.store, of("nobody", 3)).await.0.is_empty());
    let later = world.store.feed(&FeedQuery { after: end, ..of("shop", 3) }).await.expect("a store");
    assert!(later.events.is_empty() && later.next >= end);
}

pub async fn an_event_is_delivered_once_every_subscription_that_it_went_to_has_acknowledged_it(world: World) {
    let shop = world.subscribe_to("a", Some("shop"), &["order.*", "recharge.*"]).await;
    let other = world.subscribe_to("b", Some("shop"), &["order.*"]).await;
    let all = world.subscribe_to("all", None, &["*"]).await;
    world.ingest(&[event("both", Some("shop"), "order.paid", world.now())]).await;
    world.ingest(&[event("one", Some("shop"), "recharge.failed", world.now())]).await;
    world.ingest(&[event("none", Some("shop"), "nothing", world.now())]).await;
    let states = async || {
        let (events, _) = walk(&*world.store, of("shop", 10)).await;
        events.iter().map(|of| (of.subscriptions, of.acknowledged, of.is_delivered())).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [(2, 0, false), (1, 0, false), (0, 0, false)]);
    for delivery in world.claim(shop, 10).await {
        world.record(&delivery, Outcome::Delivered).await;
    }
    assert_eq!(states().await, [(2, 1, false), (1, 1, true), (0, 0, false)]);
    let [delivery] = &world.claim(other, 10).await[..] else { panic!("one") };
    world.record(delivery, Outcome::Delivered).await;
    assert_eq!(states().await, [(2, 2, true), (1, 1, true), (0, 0, false)]);
    // What the operator's subscriptions have is no matter of the merchant.
    assert_eq!(world.claim(all, 10).await.len(), 3);
    world.resend(delivery.notification).await.expect("allowed");
    assert_eq!(states().await[0], (2, 1, false));
    world.cancel(delivery.notification).await.expect("it waits");
    assert_eq!(states().await[0], (2, 1, false));
}

pub async fn every_filter_and_page_shows_what_a_model_says(world: World) {
    let mut dice = Dice(SeededEntropy::new(11));
    let mut model: Vec<NewEvent> = Vec::new();
    let mut number = 0;
    for _ in 0..60 {
        let mut batch = Vec::new();
        for _ in 0..=dice.below(12) {
            number += 1;
            let merchant = MERCHANTS.get(dice.below(MERCHANTS.len() + 1)).copied();
            let time = world.now() + Duration::from_millis(dice.below(3) as u64)
                - Duration::from_hours(dice.below(2) as u64 * 30);
            batch.push(event(&format!("e-{number}"), merchant, KINDS[dice.below(KINDS.len())], time));
        }
        world.ingest(&batch).await;
        // Of one batch in the order of keys.
        batch.sort_by_key(|event| event.key);
        model.extend(batch);
        world.clock.advance(Duration::from_millis(dice.below(5) as u64));
    }
    let patterns = |words: &[&str]| -> Vec<EventPattern> {
        words.iter().map(|word| word.parse().expect("a pattern")).collect()
    };
    let all_types = [
        vec![],
        patterns(&["*"]),
        patterns(&["order.paid"]),
        patterns(&["order.*", "ringback.*"]),
        patterns(&["recharge.succeeded", "nothing.*"]),
        patterns(&["*", "ringback.backlog.growing"]),
    ];
    for merchant in MERCHANTS {
        for types in &all_types {
            let star = patterns(&["*"]);
            let asked = if types.is_empty() { &star } else { types };
            let wanted: Vec<String> = model
                .iter()
                .filter(|event| event.merchant.as_deref() == Some(merchant))
                .filter(|event| asked.iter().any(|pattern| pattern.matches(&event.kind)))
                .map(|event| event.id.clone())
                .collect();
            for limit in [1, 7, 200] {
                let query = FeedQuery { types: types.clone(), ..of(merchant, limit) };
                let (found, _) = walk(&*world.store, query.clone()).await;
                assert_eq!(ids(&found), wanted, "{query:?}");
                let Some(middle) = found.get(found.len() / 2) else { continue };
                let after = FeedQuery { after: middle.position, ..query };
                assert_eq!(ids(&walk(&*world.store, after).await.0), wanted[found.len() / 2 + 1..]);
            }
        }
    }
}

/// Writers keep batches of several merchants at once; a reader follows one of them all the while.
pub async fn no_event_ever_appears_behind_a_cursor_while_events_come_in(world: World) {
    const WRITERS: usize = 6;
    const BATCHES: usize = 30;
    let done = Arc::new(AtomicBool::new(false));
    let (store, ended) = (world.store.clone(), done.clone());
    let reader = tokio::spawn(async move {
        let (mut seen, mut after) = (Vec::new(), FeedPosition::START);
        loop {
            let is_last = ended.load(Ordering::SeqCst);
            let (events, next) = walk(&*store, FeedQuery { after, ..of("shop", 5) }).await;
            seen.extend(events);
            after = next;
            if is_last {
                return seen;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, now, ids) = (world.store.clone(), world.now(), world.sources.ids.clone());
        writers.spawn(async move {
            for batch in 0..BATCHES {
                let events: Vec<NewEvent> = (0..3)
                    .map(|n| {
                        let merchant = if n == 2 { "bank" } else { "shop" };
                        event(&format!("{writer}-{batch}-{n}"), Some(merchant), "order.paid", now)
                    })
                    .collect();
                let kept = if batch % 3 == 0 {
                    store.ingest_together(&events, &mut AdmitNone, ids.next(), now).await
                } else {
                    store.ingest(&events, &mut AdmitNone, ids.next(), now).await
                };
                assert_eq!(kept.expect("a store").events, 3);
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.expect("no panic");
    }
    done.store(true, Ordering::SeqCst);
    let seen = reader.await.expect("no panic");
    let mut times = BTreeMap::new();
    for one in &seen {
        *times.entry(one.event.id.clone()).or_insert(0) += 1;
    }
    assert_eq!(times.len(), WRITERS * BATCHES * 2);
    assert!(times.values().all(|times| *times == 1));
    assert!(seen.is_sorted_by_key(|one| one.position));
}

/// More of other types than a page looks at lie before the one that is asked for.
pub async fn a_page_is_short_where_little_matches_and_leads_on(world: World) {
    for batch in 0..7 {
        let events: Vec<NewEvent> = (0..500)
            .map(|n| event(&format!("{batch}-{n}"), Some("shop"), "order.paid", world.now()))
            .collect();
        world.ingest(&events).await;
    }
    world.ingest(&[event("rare", Some("shop"), "order.rare", world.now())]).await;
    let types = vec!["order.rare".parse().expect("a type")];
    let query = FeedQuery { types, ..of("shop", 10) };
    let first = world.store.feed(&query).await.expect("a store");
    assert!(first.events.is_empty() && first.has_more);
    let next = world.store.feed(&FeedQuery { after: first.next, ..query }).await.expect("a store");
    assert_eq!((ids(&next.events), next.has_more), (vec!["rare".to_owned()], false));
}

struct Dice(SeededEntropy);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % end as u64).expect("small")
    }
}

pub async fn a_place_that_lies_after_everything_says_that_the_database_was_set_back(world: World) {
    world.ingest(&[event("a", Some("shop"), "order.paid", world.now())]).await;
    let page = world.store.feed(&of("shop", 10)).await.expect("a store");
    let end = world.store.feed(&FeedQuery { after: page.next, ..of("shop", 10) }).await.expect("a store");
    assert!(!page.is_set_back && !end.is_set_back);
    let ahead = FeedPosition { batch: i64::MAX, ..end.next };
    assert!(
        world.store.feed(&FeedQuery { after: ahead, ..of("shop", 10) }).await.expect("a store").is_set_back
    );
}
