//! A store, a clock, and short words for what happens to them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::webhook::{Scheme, SigningKey};
use notifier::domain::attempt::AttemptResult;
use notifier::domain::audit::{Action, Audit};
use notifier::domain::notification::{Refused, StateName};
use notifier::domain::subscription::{Draft, Patch};
use notifier::domain::{
    Bulk, BulkAction, BulkFilter, Delivery, DisableAfter, Endpoint, Exchange, FailureClass, Health, NewEvent,
    Notification, NotificationId, Outcome, Schedule, Subscription, SubscriptionAction, SubscriptionAudit,
    SubscriptionId, SubscriptionState,
};
use notifier::store::{
    Admission, AdmitNone, BulkStep, Ingested, NotificationDetail, NotificationFilter, Recorded, Rotation,
    Store, Want,
};
use runtime::http::Page;
use runtime::testing::{ManualClock, SeededEntropy, manual_sources};
use runtime::{Clock, Sources};
use uuid::Uuid;

pub struct World {
    pub store: Arc<dyn Store>,
    pub clock: ManualClock,
    pub sources: Sources,
    _folder: Option<tempfile::TempDir>,
}

/// What a merchant may have where a test does not ask for less.
pub const LIMIT: u32 = 1000;

pub const FIRST_PAGE: Page = Page { limit: 200, after: None };

/// Room for everything.
pub struct AdmitAll;

impl Admission for AdmitAll {
    fn admit(&mut self, _: &Arc<Endpoint>) -> bool {
        true
    }
}

impl World {
    pub fn new(store: Arc<dyn Store>, folder: Option<tempfile::TempDir>) -> Self {
        let (sources, clock) = manual_sources(7);
        Self { store, clock, sources, _folder: folder }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub fn draft(name: &str) -> Draft {
        Draft {
            schedule: Schedule::Steps(vec![
                "1m".parse().expect("a duration"),
                "5m".parse().expect("a duration"),
            ]),
            ..Draft::new(name, "https://shop.example/hook", vec!["recharge.*".into()])
        }
    }

    pub fn unsaved(&self, draft: Draft, merchant: Option<&str>) -> Subscription {
        Subscription {
            id: SubscriptionId(self.sources.ids.next()),
            merchant: merchant.map(str::to_owned),
            definition: draft.check().expect("a valid draft"),
            state: SubscriptionState::Active,
            created_at: self.now(),
            updated_at: self.now(),
        }
    }

    /// A signing key for `v1`, always the same for the same `seed`.
    pub fn key(seed: u64) -> SigningKey {
        SigningKey::generate(Scheme::V1, &SeededEntropy::new(seed))
    }

    /// Rotates to a key made of `seed`; the new key.
    pub async fn rotate(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        scheme: impl Into<Option<Scheme>>,
        seed: u64,
        overlap_until: DateTime<Utc>,
    ) -> Option<SigningKey> {
        let fresh = |scheme| SigningKey::generate(scheme, &SeededEntropy::new(seed));
        let audit = self.deed(SubscriptionAction::RotateSecret);
        let rotation = Rotation { scheme: scheme.into(), fresh: &fresh, overlap_until, audit: &audit };
        self.store.rotate_secret(id, owner, &rotation).await.expect("a store")
    }

    pub async fn subscribe(&self, name: &str, merchant: Option<&str>) -> SubscriptionId {
        self.subscribe_to(name, merchant, &["recharge.*"]).await
    }

    pub async fn subscribe_to(&self, name: &str, merchant: Option<&str>, types: &[&str]) -> SubscriptionId {
        let event_types = types.iter().map(|&kind| kind.to_owned()).collect();
        let subscription = self.unsaved(Draft { event_types, ..Self::draft(name) }, merchant);
        let made = self
            .store
            .create(&subscription, &Self::key(1), &self.deed(SubscriptionAction::Create), LIMIT)
            .await
            .expect("a store");
        made.expect("the name is free");
        subscription.id
    }

    pub async fn set_state(&self, id: SubscriptionId, state: SubscriptionState) {
        let patch = Patch { state: Some(state), ..Patch::default() };
        let patched = self
            .store
            .patch(id, None, &patch, &self.deed(SubscriptionAction::of(&patch)))
            .await
            .expect("a store");
        patched.expect("it is there").expect("a valid change");
    }

    /// An event of merchant `shop` about `subject`.
    pub fn event(&self, subject: &str) -> NewEvent {
        self.event_of("shop", "recharge.succeeded", subject)
    }

    pub fn event_of(&self, merchant: &str, kind: &str, subject: &str) -> NewEvent {
        let data = serde_json::json!({ "tx_no": subject });
        let id = self.sources.ids.next();
        let event = Event::new(id, "/pay-service", kind, self.now(), &data).expect("an event");
        NewEvent::from(&event.about(subject, merchant))
    }

    pub async fn ingest(&self, events: &[NewEvent]) -> Ingested {
        let token = self.sources.ids.next();
        self.store.ingest(events, &mut AdmitNone, token, self.now()).await.expect("a store")
    }

    /// Ingests one fresh event of merchant `shop`; answers its notification for `subscription`.
    pub async fn notify(&self, subscription: SubscriptionId) -> NotificationId {
        let event = self.event("tx");
        self.ingest(std::slice::from_ref(&event)).await;
        NotificationId::of(event.key, subscription)
    }

    pub async fn claim(&self, subscription: SubscriptionId, quota: u32) -> Vec<Delivery> {
        self.claim_by_halves(subscription, quota, false).await
    }

    /// A claim of which retries or first attempts have the odd one.
    pub async fn claim_by_halves(
        &self,
        subscription: SubscriptionId,
        quota: u32,
        retries_first: bool,
    ) -> Vec<Delivery> {
        let token = self.sources.ids.next();
        let wants = [Want { subscription, quota, retries_first }];
        self.store.claim_due(&wants, token, self.now(), self.now()).await.expect("a store")
    }

    pub async fn claim_one(&self, subscription: SubscriptionId) -> Delivery {
        let mut claimed = self.claim(subscription, 1).await;
        claimed.pop().expect("something is due")
    }

    /// No attempt is made with it.
    pub async fn give_back(&self, delivery: &Delivery) {
        self.store.give_back(&[delivery.into()], self.now()).await.expect("a store");
    }

    pub fn result(&self, delivery: &Delivery, outcome: Outcome) -> AttemptResult {
        delivery.conclude(self.exchange(outcome))
    }

    fn exchange(&self, outcome: Outcome) -> Exchange {
        Exchange {
            started_at: self.now(),
            duration: Duration::from_millis(0),
            outcome,
            http_status: Some(500),
            error: Some("HTTP 500".into()),
            response_excerpt: Some("oh\0no".into()),
            retry_after: None,
        }
    }

    /// The receiver answers 429, with a `Retry-After` of so many seconds or without.
    pub async fn ask_for_pause(&self, delivery: &Delivery, seconds: Option<u64>) -> Recorded {
        let retry_after = seconds.map(Duration::from_secs);
        let refused = self.exchange(Outcome::Failed(FailureClass::Status));
        let results = [delivery.conclude(Exchange { http_status: Some(429), retry_after, ..refused })];
        self.record_all(&results).await[0]
    }

    pub async fn record(&self, delivery: &Delivery, outcome: Outcome) -> Recorded {
        let results = [self.result(delivery, outcome)];
        self.record_all(&results).await[0]
    }

    pub async fn record_all(&self, results: &[AttemptResult]) -> Vec<Recorded> {
        self.store.record(results, DisableAfter::default(), self.now()).await.expect("a store")
    }

    pub async fn fail(&self, delivery: &Delivery) -> Recorded {
        self.record(delivery, Outcome::Failed(FailureClass::Status)).await
    }

    /// The attempt did not reach the endpoint.
    pub async fn miss(&self, delivery: &Delivery) -> Recorded {
        self.record(delivery, Outcome::Failed(FailureClass::Connect)).await
    }

    /// What is held against a subscription's endpoint.
    pub async fn health(&self, id: SubscriptionId) -> Option<Health> {
        self.store.health(&[id]).await.expect("a store").remove(&id)
    }

    pub async fn show(&self, id: NotificationId) -> NotificationDetail {
        self.store.notification(id, None, self.now()).await.expect("a store").expect("it is there")
    }

    pub async fn state(&self, id: NotificationId) -> StateName {
        self.show(id).await.notification.state.name()
    }

    pub async fn list(&self, filter: NotificationFilter) -> Vec<NotificationId> {
        let found = self.store.notifications(&filter, FIRST_PAGE, self.now()).await.expect("a store");
        found.into_iter().map(|notification| notification.id).collect()
    }

    /// The operator does it to a subscription now.
    pub fn deed(&self, action: SubscriptionAction) -> SubscriptionAudit {
        SubscriptionAudit::new(self.sources.ids.next(), action, "operator", self.now())
    }

    /// Deletes a subscription; whether it was there.
    pub async fn delete(&self, id: SubscriptionId, owner: Option<&str>) -> bool {
        let deed = self.deed(SubscriptionAction::Delete);
        self.store.delete(id, owner, &deed).await.expect("a store")
    }

    /// A bulk action that is asked for now.
    pub fn bulk(&self, action: BulkAction, filter: BulkFilter) -> Bulk {
        Bulk {
            id: self.sources.ids.next(),
            action,
            merchant: None,
            filter,
            actor: "operator".into(),
            reason: Some("a test".into()),
            matched: 0,
            changed: 0,
            created_at: self.now(),
            finished_at: None,
        }
    }

    /// Asks for it; its id.
    pub async fn start(&self, action: BulkAction, filter: BulkFilter) -> Uuid {
        let bulk = self.bulk(action, filter);
        self.store.create_bulk(&bulk, LIMIT).await.expect("a store").expect("few run");
        bulk.id
    }

    /// Asks for a replay of all of a subscription; its id.
    pub async fn start_replay(&self, subscription: SubscriptionId) -> Uuid {
        self.start(BulkAction::Replay, BulkFilter::all(BulkAction::Replay, subscription)).await
    }

    /// One step of the bulk actions.
    pub async fn step(&self, limit: u32) -> BulkStep {
        let ids = self.sources.ids.clone();
        self.store.advance_bulk(limit, &move || ids.next(), self.now()).await.expect("a store")
    }

    pub async fn shown(&self, action: BulkAction, id: Uuid) -> Option<Bulk> {
        self.store.bulk(action, id, None).await.expect("a store")
    }

    /// The operator resends a notification that is there.
    pub async fn resend(&self, id: NotificationId) -> Result<Notification, Refused> {
        let resent = self.store.resend(id, None, &self.audit(Action::Resend)).await;
        resent.expect("a store").expect("it is there")
    }

    /// The operator cancels a notification that is there.
    pub async fn cancel(&self, id: NotificationId) -> Result<Notification, Refused> {
        let cancelled = self.store.cancel(id, None, &self.audit(Action::Cancel)).await;
        cancelled.expect("a store").expect("it is there")
    }

    pub fn audit(&self, action: Action) -> Audit {
        Audit {
            id: self.sources.ids.next(),
            action,
            actor: "operator".into(),
            reason: Some("a test".into()),
            at: self.now(),
        }
    }
}
