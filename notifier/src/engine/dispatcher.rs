//! Finds due work and starts it: never more than there is room for, so that whatever is claimed
//! starts at once or soon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use runtime::Sources;
use runtime::background::{Progress, RoundError, Worker};
use runtime::database::{StoreResult, bounded};

use crate::domain::{Endpoint, SubscriptionId};
use crate::store::{DeliveryStore, Want};

use super::courier::Courier;
use super::schedule::Look;
use super::slots::{Reservation, Slots};

/// How long due work can stay unseen at the most: what another process resent, resumed or left
/// behind makes no sound here.
pub const POLL: Duration = Duration::from_millis(500);
/// The most that one round claims for a subscription known to have work waiting.
const CLAIM: u32 = 256;
/// The same for one that only may have: the room is kept from fresh events while the claim runs.
const PROBE: u32 = 8;

/// How often lanes that have fallen silent are looked for at the most, to give back what waits for them.
const SETTLE: TimeDelta = TimeDelta::milliseconds(100);

/// The worker that claims.
pub struct Dispatcher {
    pub(super) store: Arc<dyn DeliveryStore>,
    pub(super) slots: Slots,
    pub(super) courier: Arc<Courier>,
    pub(super) sources: Sources,
    /// When the queues of lanes are looked through again, by the steady clock.
    pub(super) settle_at: DateTime<Utc>,
}

impl Dispatcher {
    /// Claims into `reserved` and starts what was claimed. Whether another round should follow at once:
    /// slots that were kept for work that was not there may be what other lanes' work waits for.
    async fn claim(&self, reserved: Vec<Reservation>) -> StoreResult<bool> {
        if reserved.is_empty() {
            return Ok(false);
        }
        let clock = &self.sources.clock;
        // In this order, so that they are equal or `ended` is the later one, but after a jump.
        let (now, ended) = (clock.now(), clock.lease_time());
        let want = |reservation: &Reservation| Want {
            subscription: reservation.subscription,
            quota: u32::try_from(reservation.slots.len()).unwrap_or(u32::MAX),
            retries_first: reservation.retries_first,
        };
        let wants: Vec<Want> = reserved.iter().map(want).collect();
        let deliveries = bounded(self.store.claim_due(&wants, self.sources.ids.next(), now, ended)).await?;
        // Leases that seem to have ended since the clock moved are left alone until they have.
        let again = !deliveries.is_empty() || ended >= now;
        let mut reserved: BTreeMap<SubscriptionId, Reservation> =
            reserved.into_iter().map(|reservation| (reservation.subscription, reservation)).collect();
        for delivery in deliveries {
            let slot = reserved.get_mut(&delivery.endpoint.subscription).and_then(|r| r.slots.pop_front());
            if let Some(slot) = slot {
                self.courier.dispatch(delivery, slot);
            }
        }
        for reservation in reserved.into_values() {
            if reservation.slots.is_empty() {
                self.slots.mark(reservation.subscription); // There may be more.
            } else {
                self.slots.clear(reservation.subscription, reservation.mark);
            }
        }
        Ok(again)
    }

    /// Looks for due work of those whose is to be looked for now. Whether some was due.
    async fn sweep(&self, steady: DateTime<Utc>) -> StoreResult<bool> {
        let latest = steady + TimeDelta::from_std(POLL).expect("half a second");
        let Some(look) = self.courier.schedule.begin(steady, latest) else { return Ok(false) };
        let swept = self.sweep_for(look, steady).await;
        if swept.is_err() {
            self.courier.schedule.look_now();
        }
        swept
    }

    async fn sweep_for(&self, look: Look, steady: DateTime<Utc>) -> StoreResult<bool> {
        let directory = self.store.directory().await?;
        self.slots.follow(&directory);
        let active: Vec<&Arc<Endpoint>> = match look {
            Look::These(ids) => ids.into_iter().filter_map(|id| directory.active_one(id)).collect(),
            Look::Everybody => directory.active().collect(),
        };
        let asked_for = active.into_iter().filter(|endpoint| self.slots.is_to_be_asked_for(endpoint, steady));
        let ids: Vec<SubscriptionId> = asked_for.map(|endpoint| endpoint.subscription).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let now = self.sources.clock.now();
        let (due, later): (Vec<_>, Vec<_>) =
            self.store.next_due(&ids).await?.into_iter().partition(|(_, due_at)| *due_at <= now);
        for (subscription, due_at) in later {
            self.courier.schedule.look_at(subscription, self.sources.clock.steady_at(due_at));
        }
        // For these alone: room that is held for the others would be kept from their fresh events.
        let due = due.iter().filter_map(|(id, _)| Some(&directory.get(*id)?.endpoint));
        self.claim(self.slots.reserve(due, steady, PROBE)).await
    }

    /// How long there is nothing to do unless somebody rings.
    fn idle(&self, steady: DateTime<Utc>) -> Progress {
        let next = self.slots.next_token_at(steady).into_iter().chain([self.courier.schedule.next()]).min();
        let pause = next.and_then(|next| (next - steady).to_std().ok()).unwrap_or_default();
        Progress::IdleFor(pause.max(Duration::from_millis(1)))
    }
}

#[async_trait]
impl Worker for Dispatcher {
    fn name(&self) -> &'static str {
        "notifier.dispatcher"
    }

    async fn run_once(&mut self) -> Result<Progress, RoundError> {
        let steady = self.sources.clock.steady();
        if steady >= self.settle_at {
            self.slots.settle(steady);
            self.settle_at = steady + SETTLE;
        }
        for subscription in self.courier.schedule.take_unpaused() {
            self.slots.forget_pause(subscription);
        }
        let known = self.claim(self.slots.reserve_for_backlog(steady, CLAIM)).await?;
        let found = self.sweep(steady).await?;
        Ok(if known || found { Progress::More } else { self.idle(self.sources.clock.steady()) })
    }
}
