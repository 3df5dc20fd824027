//! The engine on real stores, as several processes run it.

mod clock;
mod fairness;
mod held;
mod pauses;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use messaging::Event;
use messaging::consumer::HandleEvents;
use notifier::domain::health::UNREACHABLE_AFTER;
use notifier::domain::notification::StateName;
use notifier::domain::subscription::Draft;
use notifier::domain::{
    DisableAfter, NotificationId, Subscription, SubscriptionAction, SubscriptionAudit, SubscriptionId,
    SubscriptionState,
};
use notifier::engine::{Engine, EngineParts, Ingest, Schedule};
use notifier::store::{NotificationFilter, Store};
use prometheus::Registry;
use runtime::http::Page;
use runtime::testing::{ManualClock, SeededEntropy};
use runtime::trace::Spans;
use runtime::{Clock, Shutdown, Sources};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::support::receiver::{Act, Receiver, answer};
use crate::support::rig::{climbing, id};
use crate::support::{client, secret};

pub use clock::{a_clock_that_is_set_back_stops_nothing, while_the_clock_is_in_doubt_nothing_is_given_up};
pub use fairness::fresh_results_pass_a_backlog_of_retries_by_turns;
pub use held::what_was_held_goes_out_oldest_first_at_the_pace_of_its_subscription;
pub use pauses::{
    a_receiver_that_asks_for_a_pause_is_left_alone_by_every_process,
    what_waits_in_memory_goes_back_unattempted_when_a_receiver_asks_for_a_pause,
};

const EVENTS: usize = 300;
const REFUSED: usize = 100;

/// One notifier process without its API.
struct Process {
    ingest: Ingest,
    schedule: Schedule,
    sources: Sources,
    shutdown: Shutdown,
    running: JoinHandle<()>,
}

impl Process {
    fn start(store: Arc<dyn Store>, clock: &ManualClock, seed: u64) -> Self {
        let sources = Sources::new(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let shutdown = Shutdown::new();
        let parts = EngineParts {
            store,
            sender: Arc::new(client(clock)),
            sources: sources.clone(),
            shutdown: shutdown.clone(),
            spans: Spans::off(),
            max_in_flight: 64,
            disable_after: DisableAfter::default(),
        };
        let engine = Engine::new(parts, &Registry::new()).expect("an engine");
        let (ingest, schedule) = (engine.ingest(), engine.schedule());
        Self { ingest, schedule, sources, shutdown, running: tokio::spawn(engine.run()) }
    }

    fn events(&self, count: usize) -> Vec<Event> {
        let event = |_| {
            let now = self.sources.clock.now();
            Event::new(self.sources.ids.next(), "/test", "order.paid", now, &json!({})).expect("an event")
        };
        (0..count).map(event).collect()
    }

    async fn stop(self) {
        self.shutdown.stop_softly();
        tokio::time::timeout(Duration::from_secs(10), self.running)
            .await
            .expect("in time")
            .expect("no panic");
    }
}

async fn subscribe(store: &dyn Store, draft: Draft, clock: &ManualClock) -> SubscriptionId {
    subscribe_as(0, store, draft, clock).await
}

/// The `number`-th subscription of a test.
async fn subscribe_as(number: usize, store: &dyn Store, draft: Draft, clock: &ManualClock) -> SubscriptionId {
    let subscription = Subscription {
        id: id(number),
        merchant: None,
        definition: draft.check().expect("valid"),
        state: SubscriptionState::Active,
        created_at: clock.now(),
        updated_at: clock.now(),
    };
    let audit = SubscriptionAudit::new(id(number).0, SubscriptionAction::Create, "operator", clock.now());
    let made = store.create(&subscription, &secret(1).into(), &audit, 10).await.expect("a store");
    made.expect("the name is free");
    subscription.id
}

/// Waits until nothing of `subscription` is pending.
async fn quiet(store: &dyn Store, subscription: SubscriptionId) {
    let quiet = async {
        while !store.next_due(&[subscription]).await.expect("a store").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), quiet).await.expect("it becomes quiet");
}

/// Two processes take in the same events, half of them each and then the other half again; the
/// receiver refuses the first hundred requests. Every attempt is sent once and logged once.
pub async fn two_processes_share_the_work(stores: [Arc<dyn Store>; 2]) {
    let mut acts = vec![answer(500, "", ""); REFUSED];
    acts.push(answer(200, "", ""));
    let receiver = Receiver::start(acts).await;
    let clock = ManualClock::default();
    let store = stores[0].clone();
    let subscription = subscribe(store.as_ref(), climbing(&receiver.url(), &["1s", "1s"]), &clock).await;
    let [mut one, mut other] = [0, 1].map(|n: usize| Process::start(stores[n].clone(), &clock, n as u64 + 1));

    let (first, second) = (one.events(EVENTS / 2), other.events(EVENTS / 2));
    for (a, b) in [(first.clone(), second.clone()), (second.clone(), first.clone())] {
        let (a, b) = tokio::join!(one.ingest.handle(a), other.ingest.handle(b));
        a.and(b).expect("taken in");
    }
    receiver.wait_for(EVENTS).await;
    clock.advance(Duration::from_secs(8)); // Past the ladder's step, within every lease.
    let requests = receiver.wait_for(EVENTS + REFUSED).await;
    quiet(store.as_ref(), subscription).await;
    one.stop().await;
    other.stop().await;

    assert_eq!(receiver.requests().len(), EVENTS + REFUSED);
    let mut sent: BTreeMap<String, usize> = BTreeMap::new();
    for request in &requests {
        *sent.entry(request.header("webhook-id").expect("an id").to_owned()).or_default() += 1;
    }
    for event in first.iter().chain(&second) {
        let notification = NotificationId::of(event.key(), subscription);
        let detail =
            store.notification(notification, None, clock.now()).await.expect("a store").expect("known");
        let numbers: Vec<u32> = detail.attempts.iter().map(|attempt| attempt.number).collect();
        let expected: Vec<u32> = (1..).take(sent[&event.id]).collect();
        assert_eq!(numbers, expected, "{}", event.id);
    }
}

/// While receivers let the attempts hang, a store with a single connection still does all its work
/// (law 6).
pub async fn no_connection_is_held_while_receivers_are_waited_for(store: Arc<dyn Store>) {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let clock = ManualClock::default();
    let subscription = subscribe(store.as_ref(), climbing(&receiver.url(), &["1s", "1s"]), &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    for expected in 1..=5 {
        let events = process.events(1);
        let taken_in = tokio::time::timeout(Duration::from_secs(3), process.ingest.handle(events)).await;
        taken_in.expect("a connection is free").expect("taken in");
        receiver.wait_for(expected).await;
    }
    let check = tokio::time::timeout(Duration::from_secs(3), store.check()).await;
    check.expect("a connection is free").expect("the store answers");
    hold.add_permits(5);
    quiet(store.as_ref(), subscription).await;
    process.stop().await;
}

/// How many attempts in a row have not reached `subscription`'s endpoint, as soon as it is `wanted`.
async fn unreached(store: &dyn Store, subscription: SubscriptionId, wanted: impl Fn(u32) -> bool) -> u32 {
    let reached = async {
        loop {
            let health = store.health(&[subscription]).await.expect("a store");
            let unreached = health.get(&subscription).map_or(0, |health| health.unreached);
            if wanted(unreached) {
                return unreached;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reached).await.expect("as many as wanted")
}

/// The pause between two probes and a little: it counts from the end of an attempt, which took a while.
const A_PAUSE: Duration = Duration::from_secs(2);

/// Nobody listens at first, and a hundred notifications wait: they are probed one at a time and keep
/// their ladders, and all of them go out as soon as somebody does.
pub async fn a_receiver_that_is_gone_is_probed_and_what_waits_keeps_its_ladder(store: Arc<dyn Store>) {
    let address = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let clock = ManualClock::default();
    let draft = climbing(&format!("http://{address}/hook"), &["1s", "1s"]);
    let subscription = subscribe(store.as_ref(), draft, &clock).await;
    let mut process = Process::start(store.clone(), &clock, 1);
    let events = process.events(100);
    process.ingest.handle(events).await.expect("taken in");

    // Those that had begun when it was found out end as they do.
    let mut so_far =
        unreached(store.as_ref(), subscription, |unreached| unreached >= UNREACHABLE_AFTER).await;
    for _ in 0..5 {
        clock.advance(A_PAUSE);
        so_far = unreached(store.as_ref(), subscription, |unreached| unreached > so_far).await;
    }
    assert!(so_far < 40, "{so_far} attempts for a hundred notifications");
    let receiver = Receiver::bind(address, vec![answer(200, "", "ok")]).await.expect("the same port");
    clock.advance(A_PAUSE);
    receiver.wait_for(1).await;
    clock.advance(A_PAUSE);
    receiver.wait_for(100).await;
    quiet(store.as_ref(), subscription).await;
    process.stop().await;

    let page = Page { limit: 200, after: None };
    let all = store.notifications(&NotificationFilter::default(), page, clock.now()).await.expect("a store");
    assert!(all.iter().all(|one| one.state.name() == StateName::Delivered));
    let attempts: u32 = all.iter().map(|one| one.attempts).sum();
    assert!(attempts < 100 + 40, "{attempts}");
    assert!(store.health(&[subscription]).await.expect("a store").is_empty());
}
