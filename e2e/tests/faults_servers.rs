//! The servers themselves go away under the stream and come back.

use e2e::faults::{postgres_is_killed_and_started, rabbitmq_is_stopped_and_started};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_rabbitmq_loses_nothing_and_stops_no_recharge() {
    rabbitmq_is_stopped_and_started().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_postgres_loses_nothing_and_credits_nothing_twice() {
    postgres_is_killed_and_started().await;
}
