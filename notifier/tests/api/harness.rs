//! The whole router in this process, on a database of its own and a broker that is never asked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use messaging::broker::{BrokerError, DeadLetters, Queue};
use messaging::consumer::{HandleEvents, Verdict};
use messaging::{Broker, Consumer, Event};
use notifier::domain::backlog::{Extent, Limits};
use notifier::domain::{
    Delivery, DisableAfter, Exchange, FailureClass, MerchantLimits, NewEvent, NotificationId, Outcome,
    Retention, SubscriptionId,
};
use notifier::engine::{Ingest, Schedule};
use notifier::store::{AdmitNone, Store, Want};
use notifier::usecases::bulk::RunBulks;
use notifier::usecases::operators::Operators;
use notifier::usecases::upkeep::Upkeep;
use notifier::webhook::{AddressPolicy, Egress};
use notifier::{Parts, Service};
use runtime::background::{Progress, Worker};
use runtime::duration::HumanDuration;
use runtime::keys::Keyring;
use runtime::testing::{ManualClock, manual_sources};
use runtime::trace::Spans;
use runtime::{Clock, Secret, Shutdown, Sources};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::backend;

pub const OPERATOR: &str = "operator-key";
pub const SHOP: &str = "shop-key";
pub const BANK: &str = "bank-key";

const LIMITS: Limits = Limits { each: Extent { waiting: 3, age: TimeDelta::hours(1) }, total: 100 };

pub struct Harness {
    pub store: Arc<dyn Store>,
    pub clock: ManualClock,
    pub schedule: Schedule,
    sources: Sources,
    router: Router,
    bulks: RunBulks,
    upkeep: Upkeep,
    ingest: Ingest,
    operators: Operators,
    guard: backend::Guard,
}

/// An answer, its body read as JSON, or as text where it is none.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn answered(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The answer is this problem; its `errors` name `field` where one is given.
    pub fn refused(self, status: u16, field: Option<&str>) {
        let Self { status: actual, headers, body } = self;
        assert_eq!(actual.as_u16(), status, "{body}");
        assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{body}");
        assert_eq!(body["status"], status);
        assert!(
            body["type"].as_str().is_some_and(|kind| kind.starts_with("urn:ringback:problem:")),
            "{body}"
        );
        assert!(body["title"].is_string() && body["detail"].is_string(), "{body}");
        if let Some(field) = field {
            let errors = body["errors"].as_array().expect("errors");
            assert!(errors.iter().any(|error| error["field"] == field), "{field}: {body}");
        }
    }
}

impl Harness {
    pub async fn new() -> Self {
        Self::with_limits(MerchantLimits::default()).await
    }

    /// With these limits for each merchant.
    pub async fn with_limits(merchant_limits: MerchantLimits) -> Self {
        let merchants = format!("shop={SHOP},bank={BANK}").parse().expect("keys");
        Self::with(merchant_limits, Keyring::new(Some(&Secret::new(OPERATOR)), &merchants)).await
    }

    /// With these keys.
    pub async fn with_keys(keyring: Keyring) -> Self {
        Self::with(MerchantLimits::default(), keyring).await
    }

    async fn with(merchant_limits: MerchantLimits, keyring: Keyring) -> Self {
        let (store, guard) = backend::store().await;
        let (sources, clock) = manual_sources(7);
        let policy = AddressPolicy::allowing(vec!["127.0.0.0/8".parse().expect("a network")]);
        let parts = Parts {
            keyring,
            store: store.clone(),
            broker: Arc::new(NoBroker),
            sources: sources.clone(),
            egress: Egress::direct(policy, Arc::new(RootCertStore::empty())),
            max_in_flight: 8,
            disable_after: DisableAfter::default(),
            retention: Retention::default(),
            backlog_limits: LIMITS,
            merchant_limits,
            spans: Spans::off(),
        };
        let service = Service::new(parts, Shutdown::new()).expect("a service");
        let Service { router, bulks, upkeep, engine, operators, .. } = service;
        let (ingest, schedule) = (engine.ingest(), engine.schedule());
        Self { store, clock, schedule, sources, router, bulks, upkeep, ingest, operators, guard }
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| text());
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let text = body.map(Value::to_string);
        self.raw(key, method, path, text.as_deref()).await
    }

    /// Sends `body` as it is, said to be JSON.
    pub async fn raw(&self, key: &str, method: &str, path: &str, body: Option<&str>) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::AUTHORIZATION, format!("Bearer {key}"));
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_owned()));
        self.send(request.body(body).expect("a request")).await
    }

    pub async fn get(&self, key: &str, path: &str) -> Answer {
        self.call(key, "GET", path, None).await
    }

    pub async fn post(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call(key, "POST", path, Some(&body)).await
    }

    pub async fn patch(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call(key, "PATCH", path, Some(&body)).await
    }

    /// Subscribes with `key`; the answer.
    pub async fn subscribe(&self, key: &str, name: &str) -> Value {
        let body = json!({ "name": name, "url": "https://shop.example/hook", "event_types": ["recharge.*"],
            "ladder": ["1m"] });
        self.post(key, "/v1/subscriptions", body).await.answered(201)
    }

    /// Ingests an event of merchant `shop`; its notification for the subscription `answered`.
    pub async fn notify(&self, subscription: &Value, subject: &str) -> NotificationId {
        let data = json!({ "tx_no": subject });
        let id = self.sources.ids.next();
        let event = Event::new(id, "/pay-service", "recharge.succeeded", self.clock.now(), &data);
        let event = NewEvent::from(&event.expect("an event").about(subject, "shop"));
        let token = self.sources.ids.next();
        let ingested =
            self.store.ingest(std::slice::from_ref(&event), &mut AdmitNone, token, self.clock.now()).await;
        ingested.expect("a store");
        NotificationId::of(event.key, id_of(subscription))
    }

    pub async fn claim(&self, subscription: &Value) -> Delivery {
        let wants = [Want { subscription: id_of(subscription), quota: 1, retries_first: false }];
        let token = self.sources.ids.next();
        let claimed =
            self.store.claim_due(&wants, token, self.clock.now(), self.clock.now()).await.expect("a store");
        claimed.into_iter().next().expect("something is due")
    }

    /// Fails the next attempt that is due.
    pub async fn fail_next(&self, subscription: &Value) {
        self.end_next(subscription, FailureClass::Status, Some(500), None).await;
    }

    /// The next attempt that is due is answered 429 with a `Retry-After` of so many seconds.
    pub async fn pause_next(&self, subscription: &Value, seconds: u64) {
        let retry_after = Some(Duration::from_secs(seconds));
        self.end_next(subscription, FailureClass::Status, Some(429), retry_after).await;
    }

    /// The next attempt that is due reaches nobody.
    pub async fn miss_next(&self, subscription: &Value) {
        self.end_next(subscription, FailureClass::Connect, None, None).await;
    }

    /// The next attempt that is due is acknowledged.
    pub async fn succeed_next(&self, subscription: &Value) {
        self.end(subscription, Outcome::Delivered, Some(200), None).await;
    }

    async fn end_next(
        &self,
        subscription: &Value,
        class: FailureClass,
        http_status: Option<u16>,
        retry_after: Option<Duration>,
    ) {
        self.end(subscription, Outcome::Failed(class), http_status, retry_after).await;
    }

    async fn end(
        &self,
        subscription: &Value,
        outcome: Outcome,
        http_status: Option<u16>,
        retry_after: Option<Duration>,
    ) {
        let delivery = self.claim(subscription).await;
        let result = delivery.conclude(Exchange {
            started_at: self.clock.now(),
            duration: Duration::from_millis(12),
            outcome,
            http_status,
            error: Some("HTTP 500".into()),
            response_excerpt: Some("busy".into()),
            retry_after,
        });
        self.store.record(&[result], DisableAfter::default(), self.clock.now()).await.expect("a store");
    }

    pub fn id(&self) -> Uuid {
        self.sources.ids.next()
    }

    /// Takes `events` in as from the queue.
    pub async fn take_in(&mut self, events: Vec<Event>) -> Vec<Verdict> {
        self.ingest.handle(events).await.expect("a store")
    }

    /// Rounds of the upkeep until there is nothing to do.
    /// As if a process had taken it in then; nothing is handed out.
    pub async fn take_in_at(&mut self, event: Event, then: DateTime<Utc>) {
        let (events, token) = ([NewEvent::from(&event)], self.id());
        self.store.ingest(&events, &mut AdmitNone, token, then).await.expect("a store");
    }

    pub async fn run_upkeep(&mut self) {
        while self.upkeep.run_once().await.expect("a store") == Progress::More {}
    }

    /// Ten rounds of the upkeep, none of which can note the time; how many failed.
    pub async fn run_upkeep_without_noting(&mut self) -> usize {
        backend::break_clock(&self.guard).await;
        let mut failed = 0;
        for _ in 0..10 {
            failed += usize::from(self.upkeep.run_once().await.is_err());
        }
        failed
    }

    pub async fn measure_backlog(&mut self) {
        self.operators.backlog.run_once().await.expect("a store");
    }

    /// Rounds of the bulk actions until none is left.
    pub async fn run_bulks(&mut self) {
        while self.bulks.run_once().await.expect("a store") == Progress::More {}
    }

    /// Everything that lists show, to compare.
    pub async fn everything(&self) -> Value {
        let subscriptions = self.get(OPERATOR, "/v1/subscriptions").await.answered(200);
        let notifications = self.get(OPERATOR, "/v1/notifications").await.answered(200);
        json!([subscriptions, notifications])
    }
}

pub fn id_of(subscription: &Value) -> SubscriptionId {
    SubscriptionId(subscription["id"].as_str().and_then(|id| Uuid::parse_str(id).ok()).expect("an id"))
}

pub fn path_of(subscription: &Value) -> String {
    format!("/v1/subscriptions/{}", id_of(subscription))
}

struct NoBroker;

#[async_trait]
impl Broker for NoBroker {
    async fn declare(&self, _: Queue) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("there is none"))
    }

    async fn declare_steps(&self, _: Queue, _: &[HumanDuration]) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("there is none"))
    }

    async fn publish(&self, _: &[Event]) -> Vec<Result<(), BrokerError>> {
        Vec::new()
    }

    async fn consume(&self, _: Queue, _: u16) -> Result<Box<dyn Consumer>, BrokerError> {
        Err(BrokerError::unavailable("there is none"))
    }

    async fn dead_letters(&self, _: Queue) -> Result<Box<dyn DeadLetters>, BrokerError> {
        Err(BrokerError::unavailable("there is none"))
    }

    async fn check(&self) -> Result<(), BrokerError> {
        Err(BrokerError::unavailable("there is none"))
    }
}
