//! Does to a real store what is done to the model, and holds the one against the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::webhook::{Scheme, SigningKey};
use notifier::domain::subscription::{Draft, Patch};
use notifier::domain::{
    Delivery, DisableAfter, Exchange, NewEvent, NotificationId, Schedule, Subscription, SubscriptionAction,
    SubscriptionId, SubscriptionState,
};
use notifier::store::{Recorded, Store, Want};
use runtime::testing::property::Seen;
use runtime::testing::{ManualClock, SeededEntropy, manual_sources};
use runtime::{Clock, Sources};
use uuid::Uuid;

use super::command::{Command, Ending, SUBSCRIPTIONS};
use super::comparison::outcome;
use super::model::{Held, Model, Name, Publication};
use super::operators::Replaying;

/// A delivery of the store and what the model holds in its place.
type Pair = (Delivery, Held);

/// In milliseconds, for how long an endpoint may fail.
const DISABLE_AFTER: u64 = 2 * 3_600_000;

fn disable_after() -> DisableAfter {
    "2h".parse().expect("a time")
}

/// One case under way.
pub struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: ManualClock,
    pub(super) sources: Sources,
    pub(super) start: DateTime<Utc>,
    pub(super) model: Model,
    pub(super) subscriptions: Vec<SubscriptionId>,
    pub(super) events: Vec<NewEvent>,
    /// How each of them was published.
    pub(super) publications: Vec<Publication>,
    /// The ids that they have, by their numbers.
    pub(super) ids: Vec<String>,
    pub(super) names: BTreeMap<NotificationId, Name>,
    /// The store's token for each of the model's.
    pub(super) tokens: BTreeMap<u64, Uuid>,
    pub(super) in_hand: Vec<Pair>,
    pub(super) last_group: Vec<(Pair, Exchange)>,
    pub(super) replaying: Option<Replaying>,
    pub(super) seen: Seen,
}

impl Driver {
    /// A case on `store` whose ids are drawn from `seed`, with its subscriptions.
    pub async fn start(store: Arc<dyn Store>, seed: u64) -> Self {
        let (sources, clock) = manual_sources(seed);
        let start = clock.now();
        let mut driver = Self {
            store,
            clock,
            sources,
            start,
            model: Model::default(),
            subscriptions: Vec::new(),
            events: Vec::new(),
            publications: Vec::new(),
            ids: Vec::new(),
            names: BTreeMap::new(),
            tokens: BTreeMap::new(),
            in_hand: Vec::new(),
            last_group: Vec::new(),
            replaying: None,
            seen: Seen::new(),
        };
        for number in 0..SUBSCRIPTIONS {
            driver.subscribe(number).await;
        }
        driver
    }

    async fn subscribe(&mut self, number: usize) {
        let schedule = schedule(&[60, 300]);
        let draft =
            Draft { schedule, ..Draft::new(format!("s{number}"), "https://shop.example/", vec!["*".into()]) };
        let subscription = Subscription {
            id: SubscriptionId(self.sources.ids.next()),
            merchant: None,
            definition: draft.check().expect("valid"),
            state: SubscriptionState::Active,
            created_at: self.start,
            updated_at: self.start,
        };
        let key = SigningKey::generate(Scheme::V1, &SeededEntropy::new(1));
        let made = self.store.create(&subscription, &key, &self.deed(SubscriptionAction::Create), 10).await;
        made.expect("a store").expect("the name is free");
        self.subscriptions.push(subscription.id);
        self.model.subscribe(vec![60_000, 300_000], 10_000);
    }

    pub(super) fn saw(&mut self, what: &'static str, times: usize) {
        *self.seen.entry(what).or_default() += u32::try_from(times).expect("few");
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn time(&self, millis: u64) -> DateTime<Utc> {
        self.start + Duration::from_millis(millis)
    }

    pub(super) fn id(&self, name: Name) -> NotificationId {
        NotificationId::of(self.events[name.1].key, self.subscriptions[name.0])
    }

    fn pass(&mut self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
        self.model.now += millis;
    }

    pub(super) fn pick_name(&self, pick: usize) -> Option<Name> {
        let names: Vec<Name> = self.model.notifications.keys().copied().collect();
        (!names.is_empty()).then(|| names[pick % names.len()])
    }

    fn pick_waiting(&self, pick: usize) -> Option<(u64, Name)> {
        let waiting = self.model.waiting();
        waiting.get(pick % waiting.len().max(1)).copied()
    }

    /// Does one command to both; panics where they differ.
    pub async fn run(&mut self, command: &Command) {
        match command {
            Command::Ingest { count, room } => self.ingest(*count, *room, None).await,
            Command::IngestAgain { pick, change } => {
                let again = self.published_again(*pick, *change);
                self.ingest(1, true, again).await;
            }
            Command::Claim { subscription, quota, retries_first } => {
                self.claim(*subscription, *quota, *retries_first).await;
            }
            Command::Record { ended } => self.record(ended).await,
            Command::GiveBack { pick } => self.give_back(*pick).await,
            Command::RecordAgain => self.record_again().await,
            Command::Pass { millis } => self.pass(*millis),
            Command::PassToDue { pick, just_before } => {
                if let Some((due, _)) = self.pick_waiting(*pick) {
                    self.pass(due.saturating_sub(self.model.now + u64::from(*just_before)));
                }
            }
            Command::Ring { pick, ending } => self.ring(*pick, *ending).await,
            Command::Outage { subscription, rounds, hours, ending } => {
                self.ingest(4, false, None).await;
                for _ in 0..*rounds {
                    self.attempt_all_due_next(*subscription, Ending::NotConnected).await;
                }
                self.pass(hours * 3_600_000);
                self.attempt_all_due_next(*subscription, *ending).await;
            }
            Command::SetState { subscription, state } => self.set_state(*subscription, *state).await,
            Command::SetLadder { subscription, steps } => {
                let patch = Patch { schedule: Some(schedule(steps)), ..Patch::default() };
                let there = self.model.change(*subscription, |subscription| {
                    subscription.ladder = steps.iter().map(|step| step * 1000).collect();
                });
                self.patch(*subscription, patch, there).await;
            }
            Command::SetTimeout { subscription, seconds } => {
                let timeout = format!("{seconds}s").parse().expect("a duration");
                let patch = Patch { timeout: Some(timeout), ..Patch::default() };
                let there =
                    self.model.change(*subscription, |subscription| subscription.timeout = seconds * 1000);
                self.patch(*subscription, patch, there).await;
            }
            Command::Delete { subscription } => {
                let there = self.model.delete(*subscription);
                let id = self.subscriptions[*subscription];
                let deed = self.deed(SubscriptionAction::Delete);
                let deleted = self.store.delete(id, None, &deed).await.expect("a store");
                assert_eq!(deleted, there);
            }
            Command::Resend { pick } => self.resend(*pick).await,
            Command::Cancel { pick } => self.cancel(*pick).await,
            Command::Replay { subscription, state } => self.start_replay(*subscription, *state).await,
            Command::AdvanceReplay { limit } => self.advance_replay(*limit).await,
            Command::Look => self.look().await,
        }
    }

    pub(super) fn token(&mut self) -> (Uuid, u64) {
        let (token, of_model) = (self.sources.ids.next(), self.model.token());
        self.tokens.insert(of_model, token);
        (token, of_model)
    }

    /// What was handed out is what the model says, to the last detail that an attempt depends on.
    pub(super) fn take_in_hand(&mut self, deliveries: Vec<Delivery>, held: Vec<Held>) {
        let mut held: BTreeMap<Name, Held> = held.into_iter().map(|held| (held.name, held)).collect();
        assert_eq!(deliveries.len(), held.len());
        for delivery in deliveries {
            let name = self.names[&delivery.notification];
            let held = held.remove(&name).expect("handed out by the model as well");
            let other_has_it = self.in_hand.iter().any(|(_, other)| other.name == name);
            self.saw("leases taken over", usize::from(other_has_it));
            self.saw("third attempts", usize::from(self.model.notifications[&name].attempts.len() == 2));
            let notification = &self.model.notifications[&name];
            assert_eq!(delivery.number as usize, notification.attempts.len() + 1, "no gap, no double");
            assert_eq!(delivery.climb as usize, notification.climb, "no step skipped");
            assert_eq!(delivery.message, self.events[name.1].message());
            assert_eq!(delivery.lease.token(), self.tokens[&held.lease.token]);
            assert_eq!(delivery.lease.until(), self.time(held.lease.until));
            self.in_hand.push((delivery, held));
        }
    }

    async fn claim(&mut self, subscription: usize, quota: u32, retries_first: bool) {
        let (token, model_token) = self.token();
        let wants = [Want { subscription: self.subscriptions[subscription], quota, retries_first }];
        let claimed = self.store.claim_due(&wants, token, self.now(), self.now()).await.expect("a store");
        let names: Vec<Name> = claimed.iter().map(|delivery| self.names[&delivery.notification]).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "none twice");
        let due = [false, true].map(|again| self.model.due(subscription, again));
        let shared = due.each_ref().map(|due| oldest_taken(due, &names));
        let [first, retries] = due.each_ref().map(Vec::len);
        let at_once = self.model.at_once(subscription, quota as usize);
        assert_eq!(shared, shares(first, retries, at_once, retries_first), "of {first} and {retries}");
        let subscription = &self.model.subscriptions[subscription];
        let (held_back, paused) = (subscription.held_back(), subscription.paused());
        self.saw("probes", if held_back { claimed.len() } else { 0 });
        self.saw("probes after a pause", if paused { claimed.len() } else { 0 });
        assert_eq!(names.len(), shared.iter().sum::<usize>(), "all were due, and under no live lease");
        self.saw(
            "claims of both kinds",
            usize::from(first + retries > quota as usize && !shared.contains(&0)),
        );
        let held = self.model.claim(&names, model_token);
        self.take_in_hand(claimed, held);
    }

    async fn ring(&mut self, pick: usize, ending: Ending) {
        let Some((due, (subscription, _))) = self.pick_waiting(pick) else { return };
        self.pass(due.saturating_sub(self.model.now));
        let before = self.in_hand.len();
        self.claim(subscription, 3, false).await;
        let claimed = self.in_hand.split_off(before);
        self.conclude(claimed.into_iter().map(|pair| (pair, ending)).collect()).await;
    }

    /// Time passes until something of the subscription is due; attempts at that end so.
    async fn attempt_all_due_next(&mut self, subscription: usize, ending: Ending) {
        let waiting = self.model.waiting().into_iter().filter(|(_, name)| name.0 == subscription);
        let Some(due) = waiting.map(|(due, _)| due).min() else { return };
        self.pass(due.saturating_sub(self.model.now));
        let before = self.in_hand.len();
        self.claim(subscription, 4, false).await;
        let claimed = self.in_hand.split_off(before);
        self.conclude(claimed.into_iter().map(|pair| (pair, ending)).collect()).await;
    }

    async fn record(&mut self, ended: &[(usize, Ending)]) {
        let mut group = Vec::new();
        for (pick, ending) in ended {
            if !self.in_hand.is_empty() {
                group.push((self.in_hand.swap_remove(pick % self.in_hand.len()), *ending));
            }
        }
        self.conclude(group).await;
    }

    async fn give_back(&mut self, pick: usize) {
        if self.in_hand.is_empty() {
            return;
        }
        let (delivery, held) = self.in_hand.swap_remove(pick % self.in_hand.len());
        let counts = self.model.give_back(&held);
        self.saw("leases given back", usize::from(counts));
        self.saw("leases given back late", usize::from(!counts));
        self.store.give_back(&[(&delivery).into()], self.now()).await.expect("a store");
    }

    async fn conclude(&mut self, ended: Vec<(Pair, Ending)>) {
        let (was_lost, was_paused) = (self.lost(), self.paused());
        let mut group = Vec::new();
        let mut counts = Vec::new();
        for (pair, ending) in ended {
            let over = pair.1.ended(self.model.now);
            counts.push(self.model.record(&pair.1, ending, over));
            let exchange = exchange(ending, self.time(pair.1.began), over - pair.1.began);
            group.push((pair, exchange, ending));
        }
        let mut disabled = 0;
        for ((pair, _, ending), _) in group.iter().zip(&counts).filter(|(_, counted)| **counted) {
            match ending {
                Ending::Delivered | Ending::NoWayOut => {}
                Ending::Gone => {
                    self.model.gone(&pair.1);
                }
                _ => disabled += usize::from(self.model.fail(&pair.1, DISABLE_AFTER)),
            }
        }
        self.saw("disabled after failing for too long", disabled);
        let (is_lost, is_paused) = (self.lost(), self.paused());
        self.saw("paused by the receiver", is_paused.difference(&was_paused).count());
        self.saw("pauses over", was_paused.difference(&is_paused).count());
        self.saw("unreachable", is_lost.difference(&was_lost).count());
        self.saw("reached again", was_lost.difference(&is_lost).count());
        let results: Vec<_> =
            group.iter().map(|((delivery, _), exchange, _)| delivery.conclude(exchange.clone())).collect();
        let recorded = self.store.record(&results, disable_after(), self.now()).await.expect("a store");
        let expected: Vec<Recorded> =
            counts.iter().map(|counts| if *counts { Recorded::Counted } else { Recorded::Late }).collect();
        assert_eq!(recorded, expected, "a result counts under its own lease, and no other");
        self.saw("late results", counts.iter().filter(|counts| !**counts).count());
        self.last_group = group.into_iter().map(|(pair, exchange, _)| (pair, exchange)).collect();
    }

    fn lost(&self) -> BTreeSet<usize> {
        (0..SUBSCRIPTIONS).filter(|subscription| self.model.subscriptions[*subscription].lost()).collect()
    }

    fn paused(&self) -> BTreeSet<usize> {
        (0..SUBSCRIPTIONS).filter(|subscription| self.model.subscriptions[*subscription].paused()).collect()
    }

    async fn record_again(&mut self) {
        let results: Vec<_> = self
            .last_group
            .iter()
            .map(|((delivery, _), exchange)| delivery.conclude(exchange.clone()))
            .collect();
        let recorded = self.store.record(&results, disable_after(), self.now()).await.expect("a store");
        assert!(recorded.iter().all(|one| *one == Recorded::Late), "a result counts once");
    }
}

/// How many of `due` are among `taken`; those must be the oldest.
fn oldest_taken(due: &[(u64, Name)], taken: &[Name]) -> usize {
    let (taken, left): (Vec<_>, Vec<_>) = due.iter().partition(|(_, name)| taken.contains(name));
    let (newest, left) = (taken.iter().map(|(at, _)| at).max(), left.iter().map(|(at, _)| at).min());
    assert!(newest.zip(left).is_none_or(|(newest, left)| newest <= left), "oldest due first");
    taken.len()
}

/// How many first attempts and how many retries a claim takes: by turns, until there are no more.
fn shares(first: usize, retries: usize, quota: usize, retries_first: bool) -> [usize; 2] {
    let (mut left, mut taken, mut turn) = ([first, retries], [0, 0], usize::from(retries_first));
    for _ in 0..quota {
        if left[turn] == 0 {
            turn = 1 - turn;
        }
        if left[turn] == 0 {
            break;
        }
        left[turn] -= 1;
        taken[turn] += 1;
        turn = 1 - turn;
    }
    taken
}

fn schedule(steps: &[u64]) -> Schedule {
    Schedule::Steps(steps.iter().map(|step| format!("{step}s").parse().expect("a duration")).collect())
}

fn exchange(ending: Ending, started_at: DateTime<Utc>, millis: u64) -> Exchange {
    let (outcome, http_status) = outcome(ending);
    let retry_after = match ending {
        Ending::Busy(seconds) => seconds.map(Duration::from_secs),
        _ => None,
    };
    Exchange {
        started_at,
        duration: Duration::from_millis(millis),
        outcome,
        http_status,
        error: None,
        response_excerpt: None,
        retry_after,
    }
}
