//! A store in memory that tests can look into, stop, and hold leases of others in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::EventKey;
use notifier::domain::attempt::AttemptResult;
use notifier::domain::{
    Attempt, Delivery, Directory, DisableAfter, Endpoint, Lease, Message, NewEvent, NotificationId,
    SubscriptionId, Verdict,
};
use notifier::store::{Admission, DeliveryStore, Ingested, Recorded, Unused, Want};
use runtime::database::{StoreError, StoreResult};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

/// A notification as the test sees it.
#[derive(Debug, Clone)]
pub struct Row {
    /// To whom.
    pub endpoint: Arc<Endpoint>,
    /// What is sent.
    pub message: Message,
    /// `None` once it is over.
    pub due: Option<DateTime<Utc>>,
    /// Failures of this climb.
    pub climb: u32,
    /// Who delivers it.
    pub lease: Option<Lease>,
    /// The log.
    pub attempts: Vec<Attempt>,
    /// What the last attempt decided.
    pub verdict: Option<Verdict>,
}

#[derive(Default)]
struct State {
    directory: Arc<Directory>,
    events: BTreeSet<EventKey>,
    rows: BTreeMap<NotificationId, Row>,
    claimed_for: BTreeSet<SubscriptionId>,
}

impl State {
    /// What a claim takes: first attempts and retries by turns.
    fn due(&self, want: &Want, now: DateTime<Utc>) -> Vec<NotificationId> {
        let due = self.rows.iter().filter(|(_, row)| {
            row.endpoint.subscription == want.subscription && row.free_at().is_some_and(|at| at <= now)
        });
        let (retries, first): (Vec<_>, Vec<_>) = due.partition(|(_, row)| !row.attempts.is_empty());
        let turns = |rows: Vec<_>, odd: bool| (usize::from(odd)..).step_by(2).zip(rows);
        let mut in_turn: Vec<(usize, (&NotificationId, &Row))> =
            turns(first, want.retries_first).chain(turns(retries, !want.retries_first)).collect();
        in_turn.sort_by_key(|(turn, _)| *turn);
        in_turn.into_iter().take(want.quota as usize).map(|(_, (id, _))| *id).collect()
    }
}

/// The store. It has no transactions to hold; `busy` counts calls that have not returned.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    changed: Notify,
    busy: AtomicUsize,
    claims: AtomicUsize,
    down: AtomicBool,
    refused: AtomicUsize,
}

struct Call<'a>(&'a MemoryStore);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.notify_waiters();
    }
}

impl MemoryStore {
    /// A store with these subscriptions.
    pub fn with(directory: Directory) -> Arc<Self> {
        let state = State { directory: Arc::new(directory), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), ..Self::default() })
    }

    /// Stops or starts answering.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Calls that have not returned.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::SeqCst)
    }

    /// Claims so far.
    pub fn claims(&self) -> usize {
        self.claims.load(Ordering::SeqCst)
    }

    /// Every subscription that a claim has asked work for.
    pub fn claimed_for(&self) -> Vec<SubscriptionId> {
        self.state.lock().expect("unpoisoned").claimed_for.iter().copied().collect()
    }

    /// Every notification.
    pub fn rows(&self) -> Vec<Row> {
        self.state.lock().expect("unpoisoned").rows.values().cloned().collect()
    }

    /// The notifications of one subscription.
    pub fn rows_of(&self, subscription: SubscriptionId) -> Vec<Row> {
        self.rows().into_iter().filter(|row| row.endpoint.subscription == subscription).collect()
    }

    /// How many notifications are as `which` wants them.
    pub fn count(&self, which: impl Fn(&Row) -> bool) -> usize {
        self.state.lock().expect("unpoisoned").rows.values().filter(|row| which(row)).count()
    }

    /// Ends with the next call that ends.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until the notifications are as `holds` wants them.
    pub async fn wait_until(&self, holds: impl Fn(&[Row]) -> bool) -> Vec<Row> {
        let reached = async {
            loop {
                let changed = self.changed.notified();
                let rows = self.rows();
                if holds(&rows) {
                    return rows;
                }
                changed.await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), reached).await;
        waited.unwrap_or_else(|_| panic!("not reached: {:#?}", self.rows()))
    }

    /// Waits until a call has failed since the store is down.
    pub async fn wait_until_called(&self) {
        let refused = async {
            while self.refused.load(Ordering::SeqCst) == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), refused).await.expect("a call");
    }

    fn call(&self) -> StoreResult<Call<'_>> {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let call = Call(self);
        if self.down.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut))
        } else {
            Ok(call)
        }
    }
}

impl Row {
    fn hand_out(&mut self, id: NotificationId, token: Uuid, now: DateTime<Utc>) -> Delivery {
        let lease = Lease::grant(token, now, self.endpoint.timeout);
        self.lease = Some(lease);
        Delivery {
            notification: id,
            number: u32::try_from(self.attempts.len()).expect("few") + 1,
            climb: self.climb,
            message: self.message.clone(),
            endpoint: self.endpoint.clone(),
            lease,
        }
    }

    fn free_at(&self) -> Option<DateTime<Utc>> {
        Some(self.due?.max(self.lease.map_or(DateTime::UNIX_EPOCH, |lease| lease.until())))
    }
}

#[async_trait]
impl DeliveryStore for MemoryStore {
    async fn ingest(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        let _call = self.call()?;
        let mut state = self.state.lock().expect("unpoisoned");
        let mut ingested = Ingested::default();
        let directory = state.directory.clone();
        for (place, event) in events.iter().enumerate() {
            if !state.events.insert(event.key) {
                continue;
            }
            ingested.events += 1;
            ingested.fresh.push(place);
            for entry in directory.matching(event) {
                ingested.notifications += 1;
                let id = NotificationId::of(event.key, entry.endpoint.subscription);
                let mut row = Row {
                    endpoint: entry.endpoint.clone(),
                    message: event.message(),
                    due: Some(now),
                    climb: 0,
                    lease: None,
                    attempts: Vec::new(),
                    verdict: None,
                };
                if entry.active && admission.admit(&entry.endpoint) {
                    ingested.deliveries.push(row.hand_out(id, token, now));
                } else {
                    ingested.waiting += 1;
                }
                state.rows.insert(id, row);
            }
        }
        Ok(ingested)
    }

    async fn ingest_together(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested> {
        self.ingest(events, admission, token, now).await
    }

    async fn claim_due(
        &self,
        wants: &[Want],
        token: Uuid,
        now: DateTime<Utc>,
        _: DateTime<Utc>,
    ) -> StoreResult<Vec<Delivery>> {
        let _call = self.call()?;
        self.claims.fetch_add(1, Ordering::SeqCst);
        let mut state = self.state.lock().expect("unpoisoned");
        state.claimed_for.extend(wants.iter().map(|want| want.subscription));
        let mut claimed = Vec::new();
        for want in wants {
            for id in state.due(want, now) {
                claimed.extend(state.rows.get_mut(&id).map(|row| row.hand_out(id, token, now)));
            }
        }
        Ok(claimed)
    }

    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>> {
        let _call = self.call()?;
        let state = self.state.lock().expect("unpoisoned");
        let first = |id: &SubscriptionId| {
            let theirs = state.rows.values().filter(|row| row.endpoint.subscription == *id);
            Some((*id, theirs.filter_map(Row::free_at).min()?))
        };
        Ok(subscriptions.iter().filter_map(first).collect())
    }

    async fn record(
        &self,
        results: &[AttemptResult],
        _: DisableAfter,
        _now: DateTime<Utc>,
    ) -> StoreResult<Vec<Recorded>> {
        let _call = self.call()?;
        let mut state = self.state.lock().expect("unpoisoned");
        let record = |result: &AttemptResult| {
            let row = state.rows.get_mut(&result.notification).expect("a known notification");
            if row.lease.map(|lease| lease.token()) != Some(result.lease.token()) {
                return Recorded::Late;
            }
            row.lease = None;
            row.climb += 1;
            row.attempts.push(result.attempt.clone());
            row.verdict = Some(result.verdict);
            row.due = match result.verdict {
                Verdict::RetryAt(at) => Some(at),
                Verdict::Delivered | Verdict::Exhausted | Verdict::Gone => None,
            };
            Recorded::Counted
        };
        Ok(results.iter().map(record).collect())
    }

    async fn give_back(&self, unused: &[Unused], _: DateTime<Utc>) -> StoreResult<()> {
        let _call = self.call()?;
        let mut state = self.state.lock().expect("unpoisoned");
        for one in unused {
            let row = state.rows.get_mut(&one.notification).expect("a known notification");
            row.lease = row.lease.filter(|held| held.token() != one.lease.token());
        }
        Ok(())
    }

    async fn directory(&self) -> StoreResult<Arc<Directory>> {
        let _call = self.call()?;
        Ok(self.state.lock().expect("unpoisoned").directory.clone())
    }

    async fn check(&self) -> StoreResult<()> {
        self.call().map(drop)
    }
}
