//! Two and four notifiers on one database and one queue, with `kill -9`.

use e2e::faults::notifiers_that_share_a_queue_are_killed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_notifiers_that_share_a_queue_no_two_send_an_attempt_while_its_lease_lives() {
    notifiers_that_share_a_queue_are_killed().await;
}
