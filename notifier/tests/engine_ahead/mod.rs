//! What is under lease ahead of its attempt: for whom, and what becomes of it when there is no attempt.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::support::memory::Row;
use crate::support::receiver::{Act, Receiver, answer};
use crate::support::rig::{Rig, draft, id};
use crate::{attempts, delivered};

fn leased(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.lease.is_some()).count()
}

/// A rig whose receiver has answered once, quickly, and answers the rest like `then`.
async fn quick_once(then: Act) -> (Rig, Receiver) {
    let receiver = Receiver::start(vec![answer(200, "", ""), then]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(1).await;
    rig.store.wait_until(|rows| delivered(rows) == 1 && leased(rows) == 0).await;
    rig.settle().await;
    (rig, receiver)
}

#[tokio::test]
async fn a_quick_receiver_is_sent_what_comes_in_without_a_claim_though_its_slots_are_few() {
    let (mut rig, _receiver) = quick_once(answer(200, "", "")).await;
    rig.take_in(100).await;
    rig.store.wait_until(|rows| delivered(rows) == 101).await;
    assert_eq!(rig.store.claims(), 0);
}

#[tokio::test]
async fn a_flood_for_a_quick_receiver_is_claimed_in_few_strokes() {
    let (mut rig, receiver) = quick_once(answer(200, "", "")).await;
    rig.take_in(3_000).await;
    let store = rig.store.clone();
    loop {
        let changed = store.changed();
        if delivered(&store.rows()) == 3_001 {
            break;
        }
        rig.dispatch().await;
        tokio::time::timeout(Duration::from_secs(5), changed).await.expect("it goes on");
    }
    assert_eq!(receiver.requests().len(), 3_001);
    assert!(rig.store.claims() <= 60, "{} claims", rig.store.claims());
}

#[tokio::test]
async fn when_a_receiver_begins_to_fail_what_was_under_lease_for_it_goes_back_unattempted() {
    let (mut rig, receiver) = quick_once(answer(500, "", "")).await;
    rig.take_in(100).await;
    let rows = rig.store.wait_until(|rows| leased(rows) == 0).await;
    let attempted = receiver.requests().len() - 1;
    assert!(attempted <= 20, "{attempted} attempts");
    assert_eq!((rows.len(), attempts(&rows)), (101, 1 + attempted));
    rig.after(Duration::from_millis(500)).await;
    assert_eq!(rig.store.claimed_for(), [id(0)], "it is claimed again as its slots allow");
}

#[tokio::test]
async fn a_soft_stop_gives_back_what_waits_in_memory_for_the_next_process_to_send() {
    let hold = Arc::new(Semaphore::new(0));
    let (mut rig, receiver) = quick_once(Act::Hold(hold.clone())).await;
    rig.take_in(100).await;
    let before = leased(&rig.store.rows());
    assert!(before > 50, "{before} under lease");
    receiver.wait_for(9).await;
    let running = tokio::spawn(rig.engine.run());
    rig.shutdown.stop_softly();
    rig.store.wait_until(|rows| leased(rows) <= 9).await;
    hold.add_permits(100);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("in time").expect("no panic");
    let rows = rig.store.rows();
    assert_eq!((leased(&rows), delivered(&rows)), (0, receiver.requests().len()));
}
