//! The servers themselves go away under the stream and come back.

use e2e::faults::{postgres_is_killed_and_started, rabbitmq_is_stopped_and_started};
use e2e::scenarios::ladder::results_climb_the_ladder_across_a_restart_of_rabbitmq;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_rabbitmq_loses_nothing_and_stops_no_recharge() {
    rabbitmq_is_stopped_and_started().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_postgres_loses_nothing_and_credits_nothing_twice() {
    postgres_is_killed_and_started().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_that_wait_on_the_ladder_outlive_a_restart_of_the_broker_and_a_kill_of_their_consumer() {
    results_climb_the_ladder_across_a_restart_of_rabbitmq().await;
}
