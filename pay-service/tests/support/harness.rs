//! The whole service in-process, driven through its router.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, header, request};
use messaging::webhook::WebhookSecret;
use messaging::{Event, Relay};
use pay_service::{Parts, Service};
use runtime::keys::Keyring;
use runtime::testing::{ManualClock, manual_sources};
use runtime::trace::Spans;
use runtime::{Clock, Secret};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::broker::TestBroker;
use crate::backend::Backend;

/// The keys of the tests' callers.
pub const OPERATOR: &str = "operator-key";
pub const SHOP: &str = "shop-key";
pub const OTHER: &str = "other-key";
/// What the sandbox channel signs with.
pub const SANDBOX_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Harness {
    pub backend: Backend,
    pub broker: Arc<TestBroker>,
    pub clock: ManualClock,
    pub relay: Relay,
    pub router: Router,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Harness {
    pub async fn start() -> Self {
        Self::with_sandbox(Some(SANDBOX_SECRET)).await
    }

    pub async fn with_sandbox(secret: Option<&str>) -> Self {
        let backend = Backend::fresh().await;
        let (sources, clock) = manual_sources(1);
        let broker = Arc::new(TestBroker::default());
        let merchants = format!("shop={SHOP},other={OTHER}").parse().expect("well-formed keys");
        let Service { router, relay, .. } = Service::new(Parts {
            keyring: Keyring::new(Some(&Secret::new(OPERATOR)), &merchants),
            store: backend.store.clone(),
            broker: broker.clone(),
            sources,
            sandbox_secret: secret.map(|secret| secret.parse::<WebhookSecret>().expect("a secret")),
            spans: Spans::off(),
        });
        Self { backend, broker, clock, relay, router }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("the router never fails");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.expect("a whole body");
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.send(with_key("GET", path, key).body(Body::empty()).expect("a request")).await
    }

    pub async fn create(&self, key: &str, order: &Value) -> Answer {
        self.send(post(key, "/v1/recharges", order.to_string())).await
    }

    /// A pending recharge of the shop through the sandbox; its number.
    pub async fn pending(&self, order_no: &str) -> String {
        let created = self.create(SHOP, &new_order(order_no, &json!({ "channel": "sandbox" }))).await;
        assert_eq!((created.status, &created.body["status"]), (201, &json!("pending")));
        created.body["tx_no"].as_str().expect("a number").to_owned()
    }

    /// A callback signed now, as the sandbox would.
    pub async fn call_back(&self, body: &Value) -> Answer {
        self.send(signed_callback(body, self.clock.now().timestamp())).await
    }

    /// Every recharge and every waiting event: what a refused request must leave as it was.
    pub async fn everything(&self) -> (Value, Vec<String>) {
        let recharges = self.get(OPERATOR, "/v1/recharges?limit=200").await.body;
        (recharges, self.outbox().await.iter().map(|event| event.id.clone()).collect())
    }

    pub async fn outbox(&self) -> Vec<Event> {
        super::outbox(&*self.backend.store).await
    }
}

/// An order of ten yuan, with what `more` says instead.
pub fn new_order(order_no: &str, more: &Value) -> Value {
    let mut order = json!({ "merchant_order_no": order_no, "account_no": "6222", "amount": 1000 });
    for (field, value) in more.as_object().expect("an object") {
        order[field] = value.clone();
    }
    order
}

pub fn with_key(method: &str, path: &str, key: &str) -> request::Builder {
    Request::builder().method(method).uri(path).header(header::AUTHORIZATION, format!("Bearer {key}"))
}

pub fn post(key: &str, path: &str, body: impl Into<Body>) -> Request<Body> {
    let request = with_key("POST", path, key).header(header::CONTENT_TYPE, "application/json");
    request.body(body.into()).expect("a request")
}

pub fn signed_callback(body: &Value, timestamp: i64) -> Request<Body> {
    let secret: WebhookSecret = SANDBOX_SECRET.parse().expect("a secret");
    let body = body.to_string();
    Request::post("/v1/callbacks/sandbox")
        .header(header::CONTENT_TYPE, "application/json")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", secret.sign("msg_1", timestamp, body.as_bytes()))
        .body(Body::from(body))
        .expect("a request")
}
