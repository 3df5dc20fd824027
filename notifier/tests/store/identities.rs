//! Which event is which: source and id together say so, whatever the id's form and the event's time.

use std::time::Duration;

use messaging::Event;
use notifier::domain::{Day, EventRefusal, NewEvent, NotificationId, Outcome, Retention};
use notifier::store::{AdmitNone, NotificationFilter};
use serde_json::json;

use super::shelf::Shelf;
use super::world::{AdmitAll, World};

/// A `UUIDv7`, a `UUIDv7` written in another way, a `UUIDv4`, and text.
const IDS: [&str; 5] = [
    "019ad4a0-0000-7000-8000-000000000001",
    "019AD4A0-0000-7000-8000-000000000001",
    "019ad4a0000070008000000000000001",
    "5f0c1bd0-52a8-4b5c-9f0e-0d6a5a4b1c11",
    "order-7",
];
const TIMES: [&str; 3] = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", "2026-01-02T12:00:00Z"];

fn event(source: &str, id: &str, time: &str, data: &str) -> NewEvent {
    let event = json!({
        "specversion": "1.0", "id": id, "source": source, "type": "recharge.succeeded", "time": time,
        "data": data,
    });
    NewEvent::from(&Event::parse(event.to_string().as_bytes()).expect("an event"))
}

fn contradicts(place: usize) -> (usize, EventRefusal) {
    (place, EventRefusal::Contradicts(vec!["data"]))
}

async fn with_id(world: &World, id: &str) -> usize {
    let filter = NotificationFilter { event_id: Some(id.to_owned()), ..Default::default() };
    world.list(filter).await.len()
}

/// Law 4.
pub async fn events_of_two_sources_with_one_id_are_two_events(world: World) {
    let subscription = world.subscribe("a", None).await;
    for id in IDS {
        let [shop, warehouse, harbour] =
            ["/shop", "/warehouse", "/harbour"].map(|source| event(source, id, TIMES[0], source));
        assert_eq!(world.ingest(&[shop.clone(), warehouse.clone()]).await.events, 2, "{id}");
        for batch in [vec![warehouse.clone()], vec![warehouse, shop.clone(), shop]] {
            let again = world.ingest(&batch).await;
            assert_eq!((again.events, again.refused), (0, vec![]), "{id}");
        }
        assert_eq!(world.ingest(&[harbour]).await.events, 1, "{id}");
        assert_eq!(with_id(&world, id).await, 3, "{id}");
    }
    let sent = world.claim(subscription, 100).await;
    assert_eq!(sent.len(), 3 * IDS.len());
    let delivered: std::collections::HashSet<_> = sent.iter().map(|one| one.notification).collect();
    assert_eq!(delivered.len(), sent.len());
}

/// Law 4.
pub async fn an_event_that_is_stamped_again_is_delivered_once(world: World) {
    world.subscribe("a", None).await;
    for id in IDS {
        let stamped = TIMES.map(|time| event("/shop", id, time, "it"));
        let first = world.ingest(&stamped[..2]).await;
        assert_eq!((first.events, first.notifications, first.refused), (1, 1, vec![]), "{id}");
        let again = world.ingest(&stamped).await;
        assert_eq!((again.events, again.notifications, again.refused), (0, 0, vec![]), "{id}");
        assert_eq!(with_id(&world, id).await, 1, "{id}");
    }
}

pub async fn an_event_with_anothers_identity_and_other_content_is_refused_and_the_rest_is_kept(world: World) {
    world.subscribe("a", None).await;
    for id in IDS {
        let batch = [
            event("/shop", id, TIMES[0], "it"),
            event("/shop", id, TIMES[0], "other"),
            event("/shop", id, TIMES[2], "other"),
            event("/shop", &format!("{id}-2"), TIMES[0], "other"),
            event("/shop", id, TIMES[1], "it"),
        ];
        for events in [2, 0] {
            let ingested = world.ingest(&batch).await;
            assert_eq!((ingested.events, ingested.notifications), (events, events), "{id}");
            assert_eq!(ingested.refused, [contradicts(1), contradicts(2)], "{id}");
        }
        let stored = world.ingest(&batch[1..2]).await;
        assert_eq!((stored.events, stored.refused), (0, vec![contradicts(0)]), "{id}");
        assert_eq!(with_id(&world, id).await, 1, "{id}");
    }
    let [first, mut of_bank] = [(); 2].map(|()| event("/shop", "whose", TIMES[0], "it"));
    of_bank.merchant = Some("bank".into());
    let refused = world.ingest(&[first, of_bank]).await.refused;
    assert_eq!(refused, [(1, EventRefusal::Contradicts(vec!["merchant"]))]);
}

/// Nobody can have all keys by chance.
pub async fn an_event_all_of_whose_keys_are_taken_is_refused_and_stops_nothing(world: World) {
    world.subscribe("a", None).await;
    let victim = event("/shop", "order-7", TIMES[0], "it");
    let mut key = victim.key;
    let mut squatters = Vec::new();
    for n in 0..5 {
        squatters.push(event("/squatter", &key.to_string(), TIMES[0], &n.to_string()));
        key = key.next("/shop", "order-7");
    }
    assert_eq!(world.ingest(&squatters[..4]).await.events, 4);
    let other = event("/shop", "order-8", TIMES[0], "it");
    let batch = [victim.clone(), other];
    assert_eq!(world.ingest(&batch).await.events, 2, "the fifth key is free");
    assert_eq!(world.ingest(&batch).await.events, 0);
    let victim = event("/shop", "order-9", TIMES[0], "it");
    let mut key = victim.key;
    for _ in 0..5 {
        assert_eq!(world.ingest(&[event("/squatter", &key.to_string(), TIMES[0], "it")]).await.events, 1);
        key = key.next("/shop", "order-9");
    }
    let ingested = world.ingest(&[victim, event("/shop", "order-10", TIMES[0], "it")]).await;
    assert_eq!((ingested.events, ingested.refused), (1, vec![(0, EventRefusal::NoKeyLeft)]));
}

/// Law 4, with several processes at it.
pub async fn the_same_identities_at_the_same_time_under_many_times_make_each_event_once(world: World) {
    let subscription = world.subscribe("a", None).await;
    let tasks: Vec<_> = (0..8)
        .map(|process| {
            let time = format!("2026-01-01T00:00:00.{process:03}Z");
            let sources = if process % 2 == 0 { ["/shop", "/bank"] } else { ["/bank", "/shop"] };
            let batch = sources.map(|source| IDS.map(|id| event(source, id, &time, source))).concat();
            let (store, token, now) = (world.store.clone(), world.sources.ids.next(), world.now());
            tokio::spawn(async move { store.ingest(&batch, &mut AdmitAll, token, now).await })
        })
        .collect();
    let (mut events, mut deliveries) = (0, 0);
    for task in tasks {
        let ingested = task.await.expect("no panic").expect("no deadlock");
        assert_eq!(ingested.refused, []);
        events += ingested.events;
        deliveries += ingested.deliveries.len();
    }
    assert_eq!((events, deliveries), (2 * IDS.len(), 2 * IDS.len()));
    assert!(world.claim(subscription, 100).await.is_empty());
}

pub async fn an_identity_is_known_as_long_as_its_event_is_kept(world: World) {
    let subscription = world.subscribe("a", None).await;
    let day = Duration::from_hours(24);
    let first = event("/shop", "order-7", TIMES[0], "it");
    world.store.prepare(&[Day::of(world.now())]).await.expect("a store");
    assert_eq!(world.ingest(std::slice::from_ref(&first)).await.events, 1);
    world.record(&world.claim_one(subscription).await, Outcome::Delivered).await;
    let remove = async || {
        let before = Retention::default().end(world.now());
        while world.store.remove(before, 2).await.expect("a store").any_rows() {}
    };
    world.clock.advance(day * 90);
    remove().await;
    let stamped = event("/shop", "order-7", &world.now().to_rfc3339(), "it");
    let known = world.ingest(std::slice::from_ref(&stamped)).await;
    assert_eq!((known.events, known.refused), (0, vec![]));
    world.clock.advance(day * 2);
    remove().await;
    // The very message that was delivered is older than the log; what is stamped with a later time is new.
    assert_eq!(world.ingest(&[first]).await.refused, [(0, EventRefusal::Expired)]);
    assert_eq!(world.ingest(&[stamped.clone(), stamped]).await.events, 1);
}

/// As a version before identities left it.
pub async fn events_from_before_an_upgrade_are_recognised_after_it(shelf: Shelf) {
    let world = shelf.world(&[]).await;
    world.subscribe("a", None).await;
    let events = IDS.map(|id| event("/shop", id, TIMES[0], "it"));
    assert_eq!(world.ingest(&events).await.events, IDS.len());
    (shelf.run)("DROP TABLE identities").await;
    (shelf.run)("DELETE FROM _sqlx_migrations WHERE version = 5").await;
    let world = shelf.world(&[]).await;
    for time in TIMES {
        let again = world.ingest(&IDS.map(|id| event("/shop", id, time, "it"))).await;
        assert_eq!((again.events, again.refused), (0, vec![]), "{time}");
    }
    let other = world.ingest(&IDS.map(|id| event("/warehouse", id, TIMES[0], "it"))).await;
    assert_eq!(other.events, IDS.len());
}

pub async fn events_that_belong_together_are_all_kept_or_none(world: World) {
    let subscription = world.subscribe_to("a", None, &["*"]).await;
    let together = async |events: &[NewEvent]| {
        let token = world.sources.ids.next();
        let kept = world.store.ingest_together(events, &mut AdmitNone, token, world.now()).await;
        kept.expect("a store")
    };
    let known = world.event("known");
    assert_eq!(together(std::slice::from_ref(&known)).await.fresh, [0]);
    let other = NewEvent { subject: Some("other".into()), ..known.clone() };
    let [one, two] = [world.event("one"), world.event("two")];
    let refused = together(&[one.clone(), other, two.clone()]).await;
    assert_eq!(refused.refused, [(1, EventRefusal::Contradicts(vec!["subject"]))]);
    assert_eq!((refused.events, refused.notifications, refused.waiting, refused.fresh.len()), (0, 0, 0, 0));
    assert_eq!(
        world.list(NotificationFilter::default()).await,
        [NotificationId::of(known.key, subscription)]
    );
    let kept = together(&[one.clone(), known, two, one]).await;
    assert_eq!((kept.fresh, kept.notifications, kept.refused), (vec![0, 2], 2, vec![]));
}

/// The same identities under different ids' forms, in batches that overlap, by many at once.
pub async fn events_that_belong_together_and_come_by_many_at_once_are_each_kept_once(world: World) {
    world.subscribe_to("a", None, &["*"]).await;
    let event = |n: usize| {
        let text = format!(
            r#"{{"specversion":"1.0","id":"order-{n}","source":"/shop","type":"order.paid","time":"{}","data":{n}}}"#,
            world.now().to_rfc3339()
        );
        NewEvent::from(&Event::parse(text.as_bytes()).expect("an event"))
    };
    let mut tasks = tokio::task::JoinSet::new();
    for start in 0..8 {
        let (store, token, now) = (world.store.clone(), world.sources.ids.next(), world.now());
        let mut events: Vec<NewEvent> = (start..start + 20).map(event).collect();
        events.rotate_left(start * 2);
        tasks.spawn(async move { store.ingest_together(&events, &mut AdmitNone, token, now).await });
    }
    let mut fresh = 0;
    while let Some(kept) = tasks.join_next().await {
        let kept = kept.expect("no panic").expect("a store");
        assert_eq!(kept.refused, []);
        fresh += kept.fresh.len();
    }
    assert_eq!(fresh, 27);
    assert_eq!(world.list(NotificationFilter::default()).await.len(), 27);
}

/// Publishers that build their events from a map write its members in any order.
pub async fn an_event_whose_data_is_spelled_in_another_way_is_the_same_event(world: World) {
    let subscription = world.subscribe("a", None).await;
    let spelled = |id: &str, data: &str| {
        let event = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/shop","type":"recharge.succeeded","time":"{}","data":{data}}}"#,
            TIMES[0]
        );
        NewEvent::from(&Event::parse(event.as_bytes()).expect("an event"))
    };
    for id in IDS {
        let first = spelled(id, r#"{"amount":1.0,"lines":[{"a":1,"b":2}]}"#);
        let other_spelling = spelled(id, r#"{ "lines": [ {"b": 2, "a": 1} ], "amount": 1.0 }"#);
        let batch = world.ingest(&[first, other_spelling.clone()]).await;
        assert_eq!((batch.events, batch.refused), (1, vec![]), "{id}");
        let later = world.ingest(&[other_spelling]).await;
        assert_eq!((later.events, later.notifications, later.refused), (0, 0, vec![]), "{id}");
        let other = spelled(id, r#"{"amount":1,"lines":[{"a":1,"b":2}]}"#);
        assert_eq!(world.ingest(&[other]).await.refused, [contradicts(0)], "{id}");
    }
    assert_eq!(world.claim(subscription, 100).await.len(), IDS.len());
}
