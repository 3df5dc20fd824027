//! The service as it runs: on a port, beside its relay, until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use messaging::broker::{NOTIFIER_EVENTS, SqliteBroker};
use messaging::{Broker, Event};
use pay_service::Parts;
use runtime::keys::Keyring;
use runtime::trace::Spans;
use runtime::{Secret, Shutdown, Sources};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::backend::Backend;
use crate::support::harness::{OPERATOR, new_order};

#[tokio::test]
async fn a_commit_rings_the_relay_and_a_soft_stop_ends_everything() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sources = Sources::system();
    let broker = SqliteBroker::open(&folder.path().join("broker.db"), &sources).await.expect("a broker");
    let broker: Arc<dyn Broker> = Arc::new(broker);
    let backend = Backend::fresh().await;
    let parts = Parts {
        keyring: Keyring::new(Some(&Secret::new(OPERATOR)), &"".parse().expect("no merchants")),
        store: backend.store.clone(),
        broker: broker.clone(),
        sources,
        sandbox_secret: None,
        spans: Spans::off(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let shutdown = Shutdown::new();
    let running = tokio::spawn(pay_service::run(listener, parts, shutdown.clone()));
    let mut consumer = broker.consume(NOTIFIER_EVENTS, 10).await.expect("a consumer");

    let created = reqwest::Client::new()
        .post(format!("http://{address}/v1/recharges"))
        .bearer_auth(OPERATOR)
        .json(&new_order("order-1", &json!({ "merchant": "shop" })))
        .send()
        .await
        .expect("an answer");
    assert_eq!(created.status(), 201);
    let created: Value = created.json().await.expect("JSON");
    let wait = Duration::from_secs(20);
    let deliveries = consumer.receive(1, wait, Duration::ZERO).await.expect("the broker answers");
    let event = Event::parse(&deliveries[0].body).expect("an event");
    assert_eq!(serde_json::from_str::<Value>(event.data.get()).expect("JSON"), created);

    shutdown.stop_softly();
    tokio::time::timeout(wait, running).await.expect("it ends").expect("no panic").expect("no error");
    assert!(TcpListener::bind(address).await.is_ok(), "the port is free again");
}
