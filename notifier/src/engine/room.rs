//! How the room for attempts is shared out (law 7), without locks and without waking anybody.

mod backlog;
mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::domain::{Directory, Endpoint, Exchange, Outcome, SubscriptionId, WaitsFor};

use super::lane::Lane;
use super::queue::Queue;

/// The room of one process and who is in it.
///
/// A lane may use half of what the others leave, so that however many are busy, the next one still
/// finds room. Slow lanes together may use half of all, so that however many hang, those that
/// answer have the other half. A lane is slow until it has answered quickly; of these, newcomers have
/// one slot at a time once slow lanes hold a quarter of all, so that a few that hang don't take what
/// the others need for their first answer.
///
/// Behind the slots of a lane that answers quickly there are places for those who are under lease
/// already (`queue`), four times as many as there are slots all together (`places`).
#[derive(Default)]
pub struct Room {
    max: u32,
    taken: u32,
    /// Slots of lanes that are [`Lane::counted_slow`].
    taken_by_slow: u32,
    closed: bool,
    lanes: BTreeMap<SubscriptionId, Lane>,
    /// The lanes whose work is known or suspected to wait in the database, each with the number of
    /// the mark that says so.
    backlog: BTreeMap<SubscriptionId, u64>,
    marks: u64,
    /// Who waits in the lanes' queues, all together, and which lanes they are.
    queued: u32,
    queues: BTreeSet<SubscriptionId>,
    /// How many lanes have work waiting in the database, and none in memory.
    unsupplied: usize,
    /// Whose turn it was last, so that no lane always comes last.
    last_served: Option<SubscriptionId>,
    /// The same of the lanes whose queues wait for room in the process.
    last_called: Option<SubscriptionId>,
}

/// What a lane may still take.
#[derive(Clone, Copy)]
struct Left {
    /// By its own width.
    in_lane: u32,
    /// By everything else but its rate.
    around: u32,
}

impl Left {
    fn both(self) -> u32 {
        self.in_lane.min(self.around)
    }
}

impl Room {
    /// Room for `max` attempts at once.
    pub fn new(max: u32) -> Self {
        Self { max: max.max(1), ..Self::default() }
    }

    /// No more room for anybody.
    pub fn close(&mut self) {
        self.closed = true;
        for subscription in self.queues.clone() {
            self.change_queue(subscription, Queue::dismiss);
        }
    }

    /// Takes what room there is for `endpoint`, `max` at the most; how much that was.
    pub fn take(&mut self, endpoint: &Arc<Endpoint>, now: DateTime<Utc>, max: u32) -> u32 {
        let left = self.left(endpoint, now);
        let count = self.by_rate(endpoint, now, left.both()).min(max);
        let fresh = || Lane::new(endpoint.clone());
        let lane = self.lanes.entry(endpoint.subscription).or_insert_with(fresh);
        lane.taken += count;
        if max > 0 {
            lane.width.used(lane.taken, left.in_lane < max.min(left.around), now);
        }
        lane.bucket.take(endpoint.rate_limit, now, count);
        self.taken += count;
        if lane.counted_slow {
            self.taken_by_slow += count;
        }
        self.count_slow(endpoint.subscription, now);
        count
    }

    /// Gives one back at `now` that no request was made with.
    pub fn give_back(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) {
        self.leave_lane(subscription);
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.bucket.give_back(lane.endpoint.rate_limit, 1);
        }
        self.leave(now);
        self.fill(subscription, now);
    }

    /// A request of `subscription` goes out, unless the receiver has just asked for a pause. Whether it
    /// does.
    pub fn start(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) -> bool {
        let lane = self.lanes.get_mut(&subscription).filter(|lane| !lane.pause.lasts(now));
        lane.map(|lane| lane.start(now)).is_some()
    }

    /// The result of an answer that asked for a pause is written, or given up where `is_stored` is false.
    pub fn pause_written(&mut self, subscription: SubscriptionId, is_stored: bool, now: DateTime<Utc>) {
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.pause.written(is_stored, now);
        }
    }

    /// `subscription` may be sent to again, whatever its receiver asked for.
    pub fn forget_pause(&mut self, subscription: SubscriptionId) {
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.pause.forget();
        }
    }

    /// That request has ended: if it was acknowledged, its lane has room for the next one. The process has
    /// when the result is [`Room::written`], so that no more results wait for the database than there is
    /// room for; and a lane that failed, so that it is known what its failures mean before it goes on.
    pub fn end(&mut self, subscription: SubscriptionId, exchange: &Exchange, now: DateTime<Utc>) {
        if exchange.outcome == Outcome::Delivered {
            self.leave_lane(subscription);
        }
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.end(exchange, now);
        }
        self.count_slow(subscription, now);
        self.fill_or_dismiss(subscription, now);
    }

    /// The result of a request that has ended is written, or given up.
    pub fn written(&mut self, subscription: SubscriptionId, outcome: Outcome, now: DateTime<Utc>) {
        if outcome != Outcome::Delivered {
            self.leave_lane(subscription);
        }
        self.leave(now);
        self.fill(subscription, now);
    }

    /// That request was dropped before its end.
    pub fn drop_request(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) {
        self.leave_lane(subscription);
        if let Some(lane) = self.lanes.get_mut(&subscription) {
            lane.drop_request();
        }
        self.leave(now);
        self.fill(subscription, now);
    }

    fn leave_lane(&mut self, subscription: SubscriptionId) {
        let Some(lane) = self.lanes.get_mut(&subscription) else { return };
        lane.taken = lane.taken.saturating_sub(1);
        if lane.counted_slow {
            self.taken_by_slow = self.taken_by_slow.saturating_sub(1);
        }
    }

    /// Whether `endpoint` has room now.
    pub fn has_room(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> bool {
        self.by_rate(endpoint, now, self.left(endpoint, now).both()) > 0
    }

    /// What keeps an attempt of `subscription` that is due from beginning.
    pub fn holding_back(&self, subscription: SubscriptionId, now: DateTime<Utc>) -> Option<WaitsFor> {
        let lane = self.lanes.get(&subscription)?;
        let left = self.left(&lane.endpoint, now).both();
        match left {
            0 if lane.pause.lasts(now) => Some(WaitsFor::Receiver),
            0 => Some(WaitsFor::Concurrency),
            _ => (self.by_rate(&lane.endpoint, now, left) == 0).then_some(WaitsFor::RateLimit),
        }
    }

    fn left(&self, endpoint: &Endpoint, now: DateTime<Utc>) -> Left {
        if self.closed {
            return Left { in_lane: 0, around: 0 };
        }
        let lane = self.lanes.get(&endpoint.subscription);
        if lane.is_some_and(|lane| lane.pause.lasts(now)) {
            return Left { in_lane: 0, around: 0 };
        }
        let own = lane.map_or(0, |lane| lane.taken);
        let left_by_others = self.max.saturating_sub(self.taken.saturating_sub(own));
        let share = (left_by_others / 2).max(1).saturating_sub(own);
        let mut around = share.min(self.max.saturating_sub(self.taken));
        let mut width = lane.map(|lane| lane.width).unwrap_or_default().limit(endpoint.max_in_flight);
        if lane.is_none_or(|lane| lane.is_slow(now)) {
            let not_counted = lane.filter(|lane| !lane.counted_slow).map_or(0, |lane| lane.taken);
            let slow = self.taken_by_slow + not_counted;
            around = around.min((self.max / 2).max(1).saturating_sub(slow));
            if lane.is_none_or(Lane::is_new) {
                width = width.min((self.max / 4).saturating_sub(slow.saturating_sub(own)).max(1));
            }
        }
        Left { in_lane: width.saturating_sub(own), around }
    }

    fn by_rate(&self, endpoint: &Endpoint, now: DateTime<Utc>, room: u32) -> u32 {
        let bucket = self.lanes.get(&endpoint.subscription).map(|lane| lane.bucket).unwrap_or_default();
        bucket.available(endpoint.rate_limit, now, room)
    }

    /// Brings up to date whether the lane's slots are those of a slow one.
    fn count_slow(&mut self, subscription: SubscriptionId, now: DateTime<Utc>) {
        let Some(lane) = self.lanes.get_mut(&subscription) else { return };
        let slow = lane.is_slow(now);
        match (slow, lane.counted_slow) {
            (true, false) => self.taken_by_slow += lane.taken,
            (false, true) => self.taken_by_slow = self.taken_by_slow.saturating_sub(lane.taken),
            _ => {}
        }
        lane.counted_slow = slow;
    }

    /// Follows changes of the subscriptions: new bounds count from now on, and lanes of those that
    /// are not active any more are forgotten once they are unused.
    pub fn follow(&mut self, directory: &Directory) {
        let active = |id| directory.get(id).filter(|entry| entry.active);
        for subscription in self.queues.clone() {
            if active(subscription).is_none() {
                self.change_queue(subscription, Queue::dismiss);
            }
        }
        self.lanes.retain(|id, lane| lane.taken > 0 || active(*id).is_some());
        self.backlog.retain(|id, _| active(*id).is_some());
        self.unsupplied = self.backlog.keys().filter(|id| !self.queues.contains(*id)).count();
        for (id, lane) in &mut self.lanes {
            let entry = active(*id);
            if entry.is_none_or(|entry| entry.endpoint.url != lane.endpoint.url) {
                lane.pause.forget();
            }
            if let Some(entry) = entry {
                lane.endpoint = entry.endpoint.clone();
            }
        }
    }
}

/// These, which are in order, beginning after `last`.
fn in_turn<'a>(
    ids: impl IntoIterator<Item = &'a SubscriptionId>,
    last: Option<SubscriptionId>,
) -> Vec<SubscriptionId> {
    let (before, mut after): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| Some(**id) <= last);
    after.extend(before);
    after
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::FailureClass;
    use crate::engine::testing::{endpoint, exchange};

    const START: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn after(millis: i64) -> DateTime<Utc> {
        START + TimeDelta::milliseconds(millis)
    }

    /// The slots that a lane gets when it takes all it can, and sends.
    fn fill(room: &mut Room, endpoint: &Arc<Endpoint>, now: DateTime<Utc>) -> u32 {
        let taken = room.take(endpoint, now, u32::MAX);
        (0..taken).for_each(|_| assert!(room.start(endpoint.subscription, now)));
        taken
    }

    fn finish(room: &mut Room, endpoint: &Endpoint, count: u32, exchange: &Exchange, now: DateTime<Utc>) {
        for _ in 0..count {
            room.end(endpoint.subscription, exchange, now);
            room.written(endpoint.subscription, exchange.outcome, now);
        }
    }

    /// Answers promptly until the lane is as wide as it may be.
    fn widen(room: &mut Room, endpoint: &Arc<Endpoint>) {
        for _ in 0..20 {
            let taken = fill(room, endpoint, START);
            finish(room, endpoint, taken, &exchange(5, None), START);
        }
    }

    #[test]
    fn a_subscription_never_has_more_under_way_than_it_allows() {
        let (mut room, endpoint) = (Room::new(100), endpoint(1, 3));
        assert_eq!(fill(&mut room, &endpoint, START), 3);
        assert_eq!(fill(&mut room, &endpoint, START), 0);
    }

    #[test]
    fn however_many_are_busy_the_next_one_finds_room_and_the_process_keeps_its_bound() {
        let mut room = Room::new(64);
        let endpoints: Vec<_> = (1..=100).map(|n| endpoint(n, 1000)).collect();
        for endpoint in &endpoints {
            widen(&mut room, endpoint);
        }
        let taken: Vec<u32> = endpoints.iter().map(|endpoint| fill(&mut room, endpoint, START)).collect();
        assert_eq!(taken[..7], [32, 16, 8, 4, 2, 1, 1]);
        assert_eq!(taken.iter().sum::<u32>(), 64);
    }

    #[test]
    fn many_that_hang_hold_half_of_the_room_at_the_most_whatever_they_are_allowed() {
        let mut room = Room::new(256);
        let hanging: Vec<_> = (1..=200).map(|n| endpoint(n, 1000)).collect();
        let timed_out = exchange(10_000, Some(FailureClass::Timeout));
        let healthy: Vec<_> = (301..=312).map(|n| endpoint(n, 8)).collect();
        for endpoint in &healthy {
            widen(&mut room, endpoint);
        }
        let mut held = vec![0; hanging.len()];
        for round in 0..20 {
            let now = after(round * 10_000);
            for (endpoint, held) in hanging.iter().zip(&mut held) {
                finish(&mut room, endpoint, std::mem::take(held), &timed_out, now);
            }
            for n in 0..hanging.len() {
                let whose_turn = (n + 37 * usize::try_from(round).expect("few")) % hanging.len();
                held[whose_turn] = fill(&mut room, &hanging[whose_turn], now);
            }
            assert!(held.iter().sum::<u32>() <= 128, "all together have half at the most: {held:?}");
        }
        assert!(held.iter().all(|held| *held <= 1), "each has shrunk to one at a time: {held:?}");
        for endpoint in &healthy {
            assert_eq!(fill(&mut room, endpoint, after(190_001)), 8);
        }
    }

    #[test]
    fn a_lane_whose_requests_stay_out_counts_as_slow_before_they_time_out() {
        let mut room = Room::new(20);
        let (one, other) = (endpoint(1, 8), endpoint(2, 8));
        for endpoint in [&one, &other] {
            widen(&mut room, endpoint);
        }
        assert_eq!(room.take(&one, START, 6), 6);
        (0..6).for_each(|_| assert!(room.start(one.subscription, START)));
        assert_eq!(room.take(&one, after(1_001), 1), 1, "so far it holds 6 of the 10 for slow ones");
        assert_eq!(room.take(&other, after(1_001), 2), 2);
        (0..2).for_each(|_| assert!(room.start(other.subscription, after(1_001))));
        assert_eq!(room.take(&other, after(2_002), 8), 1, "7 and 3 are all there is for slow ones");
        room.end(other.subscription, &exchange(5, None), after(2_003));
        assert_eq!(room.take(&other, after(2_003), 8), 4, "it answers: half of what the other leaves");
    }

    #[test]
    fn newcomers_have_one_at_a_time_once_slow_lanes_hold_a_quarter_until_they_have_answered() {
        let mut room = Room::new(64);
        let newcomers: Vec<_> = (1..=20).map(|n| endpoint(n, 1000)).collect();
        let mut taken: Vec<u32> = newcomers.iter().map(|one| fill(&mut room, one, START)).collect();
        assert_eq!(taken[..5], [8, 8, 1, 1, 1]);
        assert_eq!(taken.iter().sum::<u32>(), 32, "and half of the room at the most");
        finish(&mut room, &newcomers[4], taken[4], &exchange(5, None), START);
        taken[4] = fill(&mut room, &newcomers[4], START);
        assert_eq!(taken[4], 9, "it has answered, and wanted more");
    }

    #[test]
    fn a_slow_lane_still_gets_a_turn_when_the_room_is_for_one() {
        let (mut room, endpoint) = (Room::new(1), endpoint(1, 8));
        for round in 0..3 {
            assert_eq!(fill(&mut room, &endpoint, after(round * 10_000)), 1);
            let timed_out = exchange(10_000, Some(FailureClass::Timeout));
            finish(&mut room, &endpoint, 1, &timed_out, after(round * 10_000));
        }
    }

    #[test]
    fn a_changed_bound_counts_from_now_on() {
        let (mut room, endpoint) = (Room::new(100), endpoint(1, 3));
        fill(&mut room, &endpoint, START);
        let wider = crate::engine::testing::endpoint(1, 5);
        assert_eq!(fill(&mut room, &wider, START), 2);
    }

    #[test]
    fn while_the_receivers_pause_is_not_written_nothing_of_it_starts_and_others_go_on() {
        let mut room = Room::new(64);
        let (paused, other) = (endpoint(1, 8), endpoint(2, 8));
        for endpoint in [&paused, &other] {
            widen(&mut room, endpoint);
        }
        assert_eq!(fill(&mut room, &paused, START), 8);
        let asking = Exchange { http_status: Some(429), ..exchange(5, Some(FailureClass::Status)) };
        room.end(paused.subscription, &asking, START);
        room.end(paused.subscription, &exchange(5, None), START);
        assert_eq!(room.take(&paused, START, 8), 0, "though one slot is free");
        assert!(!room.start(paused.subscription, START));
        assert_eq!(fill(&mut room, &other, START), 8);
        room.written(paused.subscription, Outcome::Delivered, START);
        room.pause_written(paused.subscription, true, START);
        room.written(paused.subscription, asking.outcome, START);
        let refused = fill(&mut room, &paused, after(999));
        assert_eq!(refused, 0, "the pause of a second lasts after it is written");
        finish(&mut room, &paused, 6, &exchange(5, None), START);
        assert!((1..=5).contains(&fill(&mut room, &paused, after(1_000))), "it is narrower than before");
    }
}
