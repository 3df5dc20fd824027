//! `kill -9` at any moment loses nothing and credits nothing twice, without any server.

use e2e::faults::services_are_killed_in_turn;
use e2e::harness::Footing;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_each_service_in_turn_loses_nothing_and_credits_nothing_twice() {
    services_are_killed_in_turn(Footing::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_all_in_one_process_loses_nothing_and_credits_nothing_twice() {
    services_are_killed_in_turn(Footing::all_in_one().await).await;
}
