//! SIGTERM: finish what is in flight, take nothing new, end in time.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::foreign::order_paid;
use crate::harness::{ENDING, Footing, PATIENCE, Publisher, Reply, Service, Stack, eventually};

/// A webhook that the receiver answers only after the notifier was told to end.
pub async fn sigterm_lets_the_attempt_in_flight_finish_and_refuses_new_connections(footing: Footing) {
    let mut stack = Stack::start(footing).await;
    stack.kill_second_notifier();
    let slow = stack.subscribe("slow", &["order.paid"], json!({ "timeout": "12s" })).await;
    let gate = Arc::new(Semaphore::new(0));
    stack.receiver.script(&slow.path, [], Reply::Gated(gate.clone()));
    let publisher = Publisher::connect(&stack.footing).await;
    publisher.publish(&[order_paid("order-1", "{}")]).await;
    stack.receiver.wait_for(&slow.path, 1).await;

    stack.process(Service::Notifier).terminate();
    until_connections_are_refused(&stack, Service::Notifier).await;
    assert!(stack.process(Service::Notifier).is_running(), "it waits for the attempt in flight");
    gate.add_permits(1);
    let status = stack.process(Service::Notifier).ended(ENDING).await;
    assert!(status.success(), "it ended with {status}");

    stack.restart(Service::Notifier).await;
    let notification = stack.until_notification(&slow.id, "order-1", "delivered").await;
    assert_eq!(notification["attempts"].as_array().map(Vec::len), Some(1), "the attempt was recorded");
    assert_eq!(stack.receiver.received(&slow.path).len(), 1, "and is not repeated");
}

/// Each service, with nothing to do, ends well within its grace period.
pub async fn sigterm_ends_every_idle_service_with_success(footing: Footing) {
    let mut stack = Stack::start(footing).await;
    for service in [Service::Account, Service::Notifier, Service::Pay] {
        stack.process(service).terminate();
        let status = stack.process(service).ended(ENDING / 4).await;
        assert!(status.success(), "{service:?} ended with {status}");
    }
}

async fn until_connections_are_refused(stack: &Stack, service: Service) {
    let address = stack.api(service).base().trim_start_matches("http://").to_owned();
    eventually("new connections are refused", PATIENCE, async || {
        TcpStream::connect(&address).await.is_err().then_some(())
    })
    .await;
}
