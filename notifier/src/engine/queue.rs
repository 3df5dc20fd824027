//! Places behind a lane's slots: who has one is under lease already, and waits in memory for a slot.
//!
//! A lane that answers quickly then never waits for the database, and a claim or an intake hands out
//! many at once. Only so much is handed out as the lane does in [`AHEAD`], which is far less than what a
//! lease lasts beyond its request.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;

/// How long a place may be waited on, as far as can be told beforehand.
const AHEAD: Duration = Duration::from_millis(500);
/// The most places behind one lane.
const MAX_PLACES: u32 = 256;
/// Answers are taken to be no quicker than this.
const QUICKEST: Duration = Duration::from_millis(1);

/// The turn of one who waits: an error when there is nothing to wait for any more.
pub type Turn = oneshot::Receiver<()>;

/// Who waits for a slot of one lane, in the order of their coming.
#[derive(Default)]
pub struct Queue(VecDeque<oneshot::Sender<()>>);

impl Queue {
    /// How many wait.
    pub fn len(&self) -> u32 {
        u32::try_from(self.0.len()).unwrap_or(u32::MAX)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One more waits.
    pub fn join(&mut self) -> Turn {
        let (caller, turn) = oneshot::channel();
        self.0.push_back(caller);
        turn
    }

    /// It is the first one's turn. Whether there was one.
    pub fn call(&mut self) -> bool {
        while let Some(first) = self.0.pop_front() {
            if first.send(()).is_ok() {
                return true;
            }
        }
        false
    }

    /// Forgets those who have gone.
    pub fn forget_gone(&mut self) {
        self.0.retain(|waiting| !waiting.is_closed());
    }

    /// Nobody's turn will come.
    pub fn dismiss(&mut self) {
        self.0.clear();
    }
}

/// How many places there are behind a lane of this `width` whose answers take `took`.
pub fn places(width: u32, took: Duration) -> u32 {
    let each_does = AHEAD.as_micros() / took.max(QUICKEST).as_micros();
    u32::try_from(u128::from(width) * each_does).unwrap_or(u32::MAX).min(MAX_PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_the_order_of_joining_and_those_who_left_are_passed_over() {
        let mut queue = Queue::default();
        let (first, mut second, mut third) = (queue.join(), queue.join(), queue.join());
        drop(first);
        assert!(queue.call());
        assert_eq!((second.try_recv().is_ok(), third.try_recv().is_ok()), (true, false));
        assert!(queue.call());
        assert!(third.try_recv().is_ok());
        assert!(!queue.call());
    }

    #[test]
    fn there_are_places_for_half_a_second_of_work() {
        assert_eq!(places(1, Duration::from_millis(100)), 5);
        assert_eq!(places(8, Duration::from_millis(100)), 40);
        assert_eq!(places(8, Duration::from_secs(1)), 0);
        assert_eq!(places(1000, Duration::ZERO), MAX_PLACES);
    }
}
