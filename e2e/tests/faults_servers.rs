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

// It waits until a period is over for a minute, which is long; among the faults, that are long as well, it
// costs no time. On SQLite account-service's own suite does the same.
e2e::scenarios! { postgres_apart;
    reconciliation {
        a_credit_that_got_lost_is_found_in_the_statement,
    }
}
