//! The engine against real sockets, a store in memory and a clock that the test moves.

mod engine_ahead;
mod engine_neighbours;
mod support;

use std::sync::Arc;
use std::time::Duration;

use messaging::consumer::{HandleEvents, Verdict as Settled};
use notifier::domain::subscription::Draft;
use notifier::domain::{FailureClass, Outcome, Verdict};
use runtime::testing::collector::Collector;
use runtime::trace::Spans;
use support::memory::Row;
use support::receiver::{Act, Receiver, answer};
use support::rig::{Rig, climbing, draft, id};
use tokio::sync::Semaphore;

const MINUTE: Duration = Duration::from_mins(1);

fn attempts(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.attempts.len()).sum()
}

fn delivered(rows: &[Row]) -> usize {
    rows.iter().filter(|row| row.verdict == Some(Verdict::Delivered)).count()
}

/// Whether nothing is handed out and no more than `made` attempts were ever made. A request that has
/// not reached the receiver yet would show as handed out.
fn at_rest_after(made: usize, rows: &[Row]) -> bool {
    rows.iter().all(|row| row.lease.is_none()) && attempts(rows) == made
}

/// Whether the row's last attempt ended with the end of the ladder.
fn exhausted(row: &Row) -> bool {
    row.verdict == Some(Verdict::Exhausted)
}

#[tokio::test]
async fn a_fresh_event_is_delivered_without_being_claimed() {
    let receiver = Receiver::start(vec![answer(200, "", "ok")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(8).await;
    rig.store.wait_until(|rows| delivered(rows) == 8).await;
    assert_eq!((receiver.requests().len(), rig.store.claims()), (8, 0));
}

#[tokio::test]
async fn refused_twice_then_accepted_climbs_the_ladder_and_never_comes_early() {
    let receiver =
        Receiver::start(vec![answer(500, "", "no"), answer(503, "", "no"), answer(200, "", "ok")]).await;
    let mut rig = Rig::new(vec![climbing(&receiver.url(), &["1m", "5m", "10m"])]);
    rig.take_in(1).await;
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    rig.after(Duration::from_millis(59_999)).await;
    assert!(at_rest_after(1, &rig.store.rows()));
    // The ladder counts from the end of the attempt, which took its time.
    rig.after(Duration::from_secs(5)).await;
    rig.store.wait_until(|rows| attempts(rows) == 2).await;
    rig.after(MINUTE * 4).await;
    assert!(at_rest_after(2, &rig.store.rows()));
    rig.after(MINUTE * 2).await;
    let rows = rig.store.wait_until(|rows| delivered(rows) == 1).await;

    let log: Vec<_> = rows[0]
        .attempts
        .iter()
        .map(|attempt| (attempt.number, attempt.outcome, attempt.http_status))
        .collect();
    let refused = Outcome::Failed(FailureClass::Status);
    assert_eq!(log, [(1, refused, Some(500)), (2, refused, Some(503)), (3, Outcome::Delivered, Some(200))]);
    let requests = receiver.requests();
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert!(requests.iter().all(|request| request.header("webhook-id") == requests[0].header("webhook-id")));
    rig.after(MINUTE * 60 * 24).await;
    assert!(at_rest_after(3, &rig.store.rows()));
}

#[tokio::test]
async fn when_the_last_step_has_failed_it_is_exhausted_and_nothing_more_is_sent() {
    let receiver = Receiver::start(vec![answer(500, "", "")]).await;
    let mut rig = Rig::new(vec![climbing(&receiver.url(), &["1s", "1s"])]);
    rig.take_in(1).await;
    for made in 1..=3 {
        rig.store.wait_until(|rows| attempts(rows) == made).await;
        rig.after(MINUTE).await;
    }
    assert!(exhausted(&rig.store.rows()[0]) && at_rest_after(3, &rig.store.rows()));
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn retry_after_holds_the_next_attempt_back() {
    let receiver = Receiver::start(vec![answer(429, "retry-after: 600\r\n", ""), answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![climbing(&receiver.url(), &["1s", "1s"])]);
    rig.take_in(1).await;
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    rig.after(MINUTE * 9).await;
    assert!(at_rest_after(1, &rig.store.rows()));
    rig.after(MINUTE * 2).await;
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
}

#[tokio::test]
async fn an_event_that_comes_twice_is_sent_once() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    let event = rig.event();
    for events in [vec![event.clone(), event.clone()], vec![event]] {
        rig.ingest.handle(events).await.expect("taken in");
    }
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
    rig.after(MINUTE * 60).await;
    assert!(at_rest_after(1, &rig.store.rows()));
    assert_eq!(receiver.requests().len(), 1);
}

#[tokio::test]
async fn a_hanging_subscriber_does_not_hold_another_back() {
    let (hanging, healthy) = (Arc::new(Semaphore::new(0)), answer(200, "", ""));
    let hanging = Receiver::start(vec![Act::Hold(hanging)]).await;
    let healthy = Receiver::start(vec![healthy]).await;
    let drafts = vec![draft(&hanging.url()), draft(&healthy.url())];
    let mut rig = Rig::with_room(16, drafts.clone());
    for _ in 0..10 {
        rig.take_in(20).await;
        rig.dispatch().await;
    }
    let of_healthy = |rows: &[Row]| {
        rows.iter().filter(|row| row.endpoint.subscription == id(1)).cloned().collect::<Vec<_>>()
    };
    for _ in 0..200 {
        rig.dispatch().await;
        if delivered(&of_healthy(&rig.store.rows())) == 200 {
            break;
        }
        let so_far = attempts(&rig.store.rows());
        rig.store.wait_until(|rows| attempts(rows) > so_far || delivered(&of_healthy(rows)) == 200).await;
    }
    assert_eq!(delivered(&rig.store.rows_of(id(1))), 200);
    assert_eq!(attempts(&rig.store.rows_of(id(0))), 0);
    assert!(hanging.requests().len() <= 8, "half the room at the most: {}", hanging.requests().len());
}

/// Fresh events that come just as fast as the receiver takes them find a slot free every time, so none
/// of them ever waits in the database, where the turns are.
#[tokio::test]
async fn fresh_results_that_keep_a_lane_full_do_not_starve_its_retries() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![answer(500, "", "no"), Act::Hold(hold.clone())]).await;
    let mut rig = Rig::new(vec![Draft { max_in_flight: 1, ..climbing(&receiver.url(), &["1s"]) }]);
    rig.take_in(1).await;
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    let retried = |rows: &[Row]| rows.iter().any(|row| row.attempts.len() == 2);
    for fresh in 0..5 {
        rig.settle().await;
        rig.take_in(1).await;
        rig.after(Duration::from_secs(2)).await;
        receiver.wait_for(2 + fresh).await;
        hold.add_permits(1);
        rig.store.wait_until(|rows| attempts(rows) == 2 + fresh).await;
        if retried(&rig.store.rows()) {
            return;
        }
    }
    panic!("five fresh results went before the retry");
}

#[tokio::test]
async fn no_call_of_the_store_is_open_while_a_receiver_is_waited_for() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(5).await;
    rig.dispatch().await;
    receiver.wait_for(5).await;
    assert_eq!(rig.store.busy(), 0);
    hold.add_permits(5);
    rig.store.wait_until(|rows| delivered(rows) == 5).await;
}

#[tokio::test]
async fn an_attempt_whose_lease_was_taken_over_does_not_count() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone()), answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(1).await;
    receiver.wait_for(1).await;
    rig.after(MINUTE).await; // The lease is over; someone claims the notification again.
    let rows = rig.store.wait_until(|rows| delivered(rows) == 1).await;
    hold.add_permits(1);
    let lost = async {
        while rig.metric("ringback_attempt_leases_lost_total") < 1.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), lost).await.expect("the late result is counted as lost");
    assert_eq!(rig.store.rows()[0].attempts, rows[0].attempts);
    assert_eq!((attempts(&rows), receiver.requests().len()), (1, 2));
}

#[tokio::test]
async fn results_are_recorded_when_the_database_is_back() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(3).await;
    receiver.wait_for(3).await;
    rig.store.set_down(true);
    hold.add_permits(3);
    rig.store.wait_until_called().await;
    assert_eq!(attempts(&rig.store.rows()), 0);
    rig.store.set_down(false);
    rig.store.wait_until(|rows| delivered(rows) == 3).await;
    assert_eq!(receiver.requests().len(), 3);
}

#[tokio::test]
async fn a_result_that_could_not_be_written_in_time_is_tried_again() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone()), answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(1).await;
    receiver.wait_for(1).await;
    rig.store.set_down(true);
    rig.clock.advance(MINUTE);
    hold.add_permits(1);
    rig.store.wait_until_called().await;
    rig.store.set_down(false);
    rig.dispatch().await;
    let rows = rig.store.wait_until(|rows| delivered(rows) == 1).await;
    assert_eq!((rows[0].attempts[0].number, receiver.requests().len()), (1, 2));
}

#[tokio::test]
async fn gone_is_handed_to_the_store_to_disable_the_subscription() {
    let receiver = Receiver::start(vec![answer(410, "", "")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(1).await;
    let rows = rig.store.wait_until(|rows| attempts(rows) == 1).await;
    assert_eq!((rows[0].verdict, rows[0].attempts[0].outcome), (Some(Verdict::Gone), Outcome::Gone));
}

#[tokio::test]
async fn a_soft_stop_finishes_what_is_under_way_and_begins_nothing_new() {
    let hold = Arc::new(Semaphore::new(0));
    let receiver = Receiver::start(vec![Act::Hold(hold.clone())]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(2).await;
    receiver.wait_for(2).await;
    let mut later = rig.engine.ingest();
    let event = rig.event();
    let running = tokio::spawn(rig.engine.run());
    rig.shutdown.stop_softly();
    tokio::task::yield_now().await;
    later.handle(vec![event]).await.expect("taken in, for another process or a later start");
    assert!(!running.is_finished());
    hold.add_permits(10);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("in time").expect("no panic");
    let rows = rig.store.rows();
    assert!(at_rest_after(2, &rows));
    assert_eq!((rows.len(), delivered(&rows), receiver.requests().len()), (3, 2, 2));
}

#[tokio::test]
async fn a_hard_stop_drops_what_is_under_way() {
    let receiver = Receiver::start(vec![Act::Hold(Arc::new(Semaphore::new(0)))]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    rig.take_in(1).await;
    receiver.wait_for(1).await;
    let running = tokio::spawn(rig.engine.run());
    rig.shutdown.stop_hard();
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("at once").expect("no panic");
    assert_eq!(attempts(&rig.store.rows()), 0);
}

#[tokio::test]
async fn a_running_engine_sends_retries_when_they_are_due_without_being_told() {
    let receiver = Receiver::start(vec![answer(500, "", ""), answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![climbing(&receiver.url(), &["1m"])]);
    let event = rig.event();
    let running = tokio::spawn(rig.engine.run());
    rig.ingest.handle(vec![event]).await.expect("taken in");
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    rig.clock.advance(MINUTE * 2);
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
    rig.shutdown.stop_softly();
    running.await.expect("no panic");
}

#[tokio::test]
async fn a_rate_limit_spaces_attempts() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![Draft { rate_limit: Some(5), ..draft(&receiver.url()) }]);
    rig.take_in(4).await;
    for sent in 1..=4 {
        rig.store.wait_until(|rows| delivered(rows) == sent).await;
        rig.dispatch().await;
        assert!(at_rest_after(sent, &rig.store.rows()));
        rig.after(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_event_whose_id_cannot_be_signed_goes_to_the_dead_letters_and_holds_none_back() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let mut rig = Rig::new(vec![draft(&receiver.url())]);
    for strange_id in ["订单7", "order 7", "order.7"] {
        let mut strange = rig.event();
        strange.id = strange_id.into();
        let verdicts = rig.ingest.handle(vec![strange]).await.expect("passed over");
        assert!(matches!(verdicts[..], [Settled::DeadLetter(_)]), "{strange_id}");
    }
    let (mut strange, proper) = (rig.event(), rig.event());
    strange.id = "\t".into();
    let verdicts = rig.ingest.handle(vec![strange, proper]).await.expect("taken in");
    assert!(matches!(verdicts[..], [Settled::DeadLetter(_), Settled::Done]), "{verdicts:?}");
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
    assert_eq!(rig.store.rows().len(), 1);
}

#[tokio::test]
async fn a_due_retry_holds_no_room_of_those_that_have_none() {
    let receiver = Receiver::start(vec![answer(500, "", "no"), answer(200, "", "ok")]).await;
    let elsewhere = Draft { event_types: vec!["other.*".into()], ..draft(&receiver.url()) };
    let mut rig = Rig::new(vec![climbing(&receiver.url(), &["1m"]), elsewhere]);
    rig.take_in(1).await;
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    rig.after(MINUTE * 2).await;
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
    assert_eq!(rig.store.claimed_for(), [id(0)]);
}

#[tokio::test]
async fn an_outage_while_taking_in_frees_all_room_again() {
    let receiver = Receiver::start(vec![answer(200, "", "")]).await;
    let mut rig = Rig::with_room(2, vec![draft(&receiver.url())]);
    rig.store.set_down(true);
    for _ in 0..5 {
        let event = rig.event();
        rig.ingest.handle(vec![event]).await.expect_err("the store is down");
    }
    rig.store.set_down(false);
    rig.take_in(1).await;
    rig.dispatch().await;
    rig.store.wait_until(|rows| delivered(rows) == 1).await;
}

#[tokio::test]
async fn each_attempt_is_a_span_of_its_events_trace_which_the_receiver_is_told() {
    let receiver = Receiver::start(vec![answer(500, "", "no"), answer(200, "", "ok")]).await;
    let collector = Collector::start().await;
    let (spans, posting) = Spans::start(&collector.settings(), "notifier").expect("an exporter");
    let mut rig = Rig::traced(spans, vec![climbing(&receiver.url(), &["1m"])]);
    let mut event = rig.event();
    event.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    rig.ingest.handle(vec![event.clone()]).await.expect("taken in");
    rig.store.wait_until(|rows| attempts(rows) == 1).await;
    rig.after(MINUTE * 2).await;
    let rows = rig.store.wait_until(|rows| delivered(rows) == 1).await;
    posting.finish().await;

    let collected = collector.wait_for(2).await;
    let told: Vec<String> = receiver
        .requests()
        .iter()
        .map(|request| request.header("traceparent").expect("a trace").to_owned())
        .collect();
    assert_ne!(told[0], told[1], "each attempt has an id of its own");
    for (number, span) in collected.iter().enumerate() {
        assert_eq!(told[number], format!("00-{}-{}-01", span.trace_id(), span.span_id()));
        assert_eq!(span.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(span.parent_id(), "b7ad6b7169203331");
        assert_eq!(span.attribute("attempt.number"), Some((number + 1).to_string()));
        assert_eq!(span.attribute("messaging.message.id").as_ref(), Some(&event.id));
        assert!(!format!("{span:?}").contains("t0ken"), "what a URL holds beyond its host is nobody's");
    }
    let classes = [0, 1].map(|n| collected[n].attribute("error.type"));
    assert_eq!(classes, [Some("status".into()), None]);
    assert_eq!(rows[0].message.traceparent, event.traceparent, "what is kept is the event's own");
}
