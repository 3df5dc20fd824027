//! A whole service on a database, called in-process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use account_service::domain::Nightly;
use account_service::pay_service::PayService;
use account_service::store::Store;
use account_service::{Parts, PeriodPlan, ResultQueue, Service, SweepPlan};
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, header};
use messaging::webhook::WebhookSecret;
use runtime::background::{Progress, Worker};
use runtime::keys::Keyring;
use runtime::testing::{ManualClock, SeededEntropy, manual_sources};
use runtime::trace::Spans;
use runtime::{Clock, Secret, SharedClock, Sources};
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use super::database::Database;
use super::{MERCHANT, pay_service};

pub const OPERATOR: &str = "operator-key";
pub const OWN: &str = "own-key";
pub const SHOP: &str = "shop-key";

pub struct World {
    pub database: Database,
    pub store: Arc<dyn Store>,
    pub router: Router,
    pub intake: Mutex<Option<Box<dyn Worker>>>,
    pub sweep: tokio::sync::Mutex<Box<dyn Worker>>,
    pub reconciliations: tokio::sync::Mutex<Box<dyn Worker>>,
    pub watch: tokio::sync::Mutex<Box<dyn Worker>>,
    pub clock: ManualClock,
    pub secret: WebhookSecret,
    pub old_secret: WebhookSecret,
}

/// An answer, its body read as JSON, or as text where it is none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub body: Value,
}

impl Answer {
    /// The order number that a problem's detail names.
    pub fn named_order(&self) -> Uuid {
        let detail = self.body["detail"].as_str().expect("a detail");
        let order = detail.split("merchant_order_no ").nth(1).and_then(|rest| rest.get(..36));
        order.and_then(|text| text.parse().ok()).expect("the detail names the order")
    }
}

impl World {
    /// A service that has no pay-service to ask.
    pub async fn new(database: Database) -> Self {
        Self::asking(database, Arc::new(pay_service::client("http://127.0.0.1:9"))).await
    }

    pub async fn asking(database: Database, pay_service: Arc<dyn PayService>) -> Self {
        Self::with(database, pay_service, None).await
    }

    /// As with `INTAKE=queue`.
    pub async fn without_webhook(database: Database) -> Self {
        Self::assemble(database, Arc::new(pay_service::client("http://127.0.0.1:9")), None, false).await
    }

    pub async fn with(
        database: Database,
        pay_service: Arc<dyn PayService>,
        queue: Option<ResultQueue>,
    ) -> Self {
        Self::assemble(database, pay_service, queue, true).await
    }

    async fn assemble(
        database: Database,
        pay_service: Arc<dyn PayService>,
        queue: Option<ResultQueue>,
        webhook: bool,
    ) -> Self {
        let keyring = keyring();
        Self::assemble_with(database, pay_service, queue, webhook, keyring).await
    }

    /// Whose callers have these keys.
    pub async fn with_keys(database: Database, keyring: Keyring) -> Self {
        let pay_service = Arc::new(pay_service::client("http://127.0.0.1:9"));
        Self::assemble_with(database, pay_service, None, true, keyring).await
    }

    async fn assemble_with(
        database: Database,
        pay_service: Arc<dyn PayService>,
        queue: Option<ResultQueue>,
        webhook: bool,
        keyring: Keyring,
    ) -> Self {
        let store = database.store().await;
        let (sources, clock) = manual_sources(1);
        let [secret, old_secret] = [1, 2].map(|seed| WebhookSecret::generate(&SeededEntropy::new(seed)));
        let parts = Parts {
            webhook_secrets: webhook.then(|| vec![secret.clone(), old_secret.clone()]),
            queue,
            keyring,
            ..parts(store.clone(), pay_service, sources)
        };
        let service = parts.assemble().expect("assembles");
        Self {
            database,
            store,
            router: service.router,
            intake: Mutex::new(service.intake),
            sweep: tokio::sync::Mutex::new(service.sweep),
            reconciliations: tokio::sync::Mutex::new(service.reconciliations),
            watch: tokio::sync::Mutex::new(service.watch),
            clock,
            secret,
            old_secret,
        }
    }

    /// The sweep of another process on the same database.
    pub fn another_sweep(&self, pay_service: Arc<dyn PayService>) -> Box<dyn Worker> {
        self.another(2, pay_service).sweep
    }

    /// Another process on the same database, with lots and ids of its own.
    pub fn another(&self, seed: u64, pay_service: Arc<dyn PayService>) -> Service {
        let (sources, _) = manual_sources(seed);
        let sources = Sources::new(Arc::new(self.clock.clone()), sources.entropy);
        parts(self.store.clone(), pay_service, sources).assemble().expect("assembles")
    }

    /// The reconciliations of another process, which begins that of each day at 02:30.
    pub fn nightly(&self, seed: u64, pay_service: Arc<dyn PayService>) -> Box<dyn Worker> {
        self.nightly_by(seed, pay_service, Arc::new(self.clock.clone()))
    }

    /// The same by a clock of its own.
    pub fn nightly_by(
        &self,
        seed: u64,
        pay_service: Arc<dyn PayService>,
        clock: SharedClock,
    ) -> Box<dyn Worker> {
        let (sources, _) = manual_sources(seed);
        let sources = Sources::new(clock, sources.entropy);
        let parts = parts(self.store.clone(), pay_service, sources);
        let periods = PeriodPlan::standard(Nightly::DEFAULT.parse().expect("a time of day"));
        Parts { periods, ..parts }.assemble().expect("assembles").reconciliations
    }

    /// Goes on with reconciliations until none is due.
    pub async fn reconcile(&self) {
        while self.reconciliations.lock().await.run_once().await.expect("the round succeeds")
            == Progress::More
        {}
    }

    /// Lets `seconds` pass, then sweeps once.
    pub async fn sweep_after(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
        self.sweep.lock().await.run_once().await.expect("the round succeeds");
    }

    pub async fn call(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let status = response.status().as_u16();
        let [content_type, retry_after] = [header::CONTENT_TYPE, header::RETRY_AFTER]
            .map(|name| Some(response.headers().get(name)?.to_str().expect("text").to_owned()));
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
        let body = serde_json::from_slice(&body).unwrap_or_else(|_| text());
        Answer { status, content_type: content_type.unwrap_or_default(), retry_after, body }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(request(Method::GET, path, OPERATOR, Body::empty())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(request(Method::POST, path, OPERATOR, Body::from(body.to_string()))).await
    }

    /// A notification as the notifier sends it.
    pub fn notification(&self, id: &str, kind: &str, data: &Value) -> Request<Body> {
        let body = json!({ "type": kind, "timestamp": "2026-01-01T00:00:00Z", "data": data }).to_string();
        self.signed(id, body)
    }

    pub fn signed(&self, id: &str, body: impl Into<String>) -> Request<Body> {
        let now = self.clock.now().timestamp();
        let body = body.into();
        let signature = self.secret.sign(id, now, body.as_bytes());
        with_signature(id, now, &signature, body)
    }

    pub async fn notify(&self, id: &str, kind: &str, data: &Value) -> Answer {
        self.call(self.notification(id, kind, data)).await
    }
}

fn keyring() -> Keyring {
    let merchants = format!("{MERCHANT}={OWN},shop={SHOP}").parse().expect("keys");
    Keyring::new(Some(&Secret::new(OPERATOR)), &merchants)
}

fn parts(store: Arc<dyn Store>, pay_service: Arc<dyn PayService>, sources: Sources) -> Parts {
    Parts {
        keyring: keyring(),
        store,
        pay_service,
        webhook_secrets: None,
        queue: None,
        merchant: MERCHANT.into(),
        sweep: SweepPlan::standard(pay_service::TIMEOUT),
        periods: PeriodPlan::standard(Nightly::Off),
        sources,
        spans: Spans::off(),
    }
}

pub fn with_signature(id: &str, timestamp: i64, signature: &str, body: String) -> Request<Body> {
    Request::post("/v1/notifications")
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", timestamp)
        .header("webhook-signature", signature)
        .body(Body::from(body))
        .expect("a request")
}

pub fn request(method: Method, path: &str, key: &str, body: Body) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let builder =
        if key.is_empty() { builder } else { builder.header("authorization", format!("Bearer {key}")) };
    builder.body(body).expect("a request")
}
