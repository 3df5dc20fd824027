//! What the notifier keeps. Every method is one whole use case, in one transaction of its own.
//!
//! `owner` is the merchant a caller is confined to, or `None` for the operator, who sees all.
//! What is not there and what the owner may not see look the same.

mod audits;
mod backlog;
mod bulk;
mod cache;
mod clock;
mod counts;
mod feed;
mod health;
mod log;
mod notification_row;
mod operator_events;
mod outcome;
mod plan;
#[cfg(feature = "postgres")]
pub mod postgres;
mod recognition;
mod rows;
mod secrets;
pub mod sqlite;
mod upkeep;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::webhook::SigningKey;
use runtime::Vault;
#[cfg(feature = "postgres")]
use runtime::database::open_postgres;
use runtime::database::{DatabaseUrl, StoreResult, open_sqlite};
use runtime::http::Page;
use runtime::validation::Invalid;
use uuid::Uuid;

pub use audits::AuditStore;
pub use backlog::BacklogStore;
pub use bulk::{BulkLook, BulkStep, BulkStore, BulksFilter};
pub use clock::{Clamped, ClockStore};
pub use counts::{CountStore, CountsFilter};
pub use feed::FeedStore;
pub use health::HealthStore;
pub use secrets::{MissingKey, Resealed, Rotation, SecretPlace, SecretStore};
pub use upkeep::{Removed, UpkeepStore};

use crate::domain::attempt::AttemptResult;
use crate::domain::notification::Refused;
use crate::domain::subscription::Patch;
use crate::domain::{
    Attempt, Audit, Day, Delivery, Directory, DisableAfter, Endpoint, EventPattern, EventRefusal,
    FailureClass, Lease, LimitReached, NewEvent, Notification, NotificationId, Retention, States,
    Subscription, SubscriptionAudit, SubscriptionId,
};

/// Says which fresh notifications may be delivered at once, without a detour through the database.
pub trait Admission: Send {
    /// Whether there is room for one more delivery to `endpoint`; takes that room. Room taken for
    /// what is not among the answered deliveries, or when ingesting fails, is the caller's to free.
    fn admit(&mut self, endpoint: &Arc<Endpoint>) -> bool;
}

/// Nothing is delivered at once.
#[derive(Debug, Clone, Copy)]
pub struct AdmitNone;

impl Admission for AdmitNone {
    fn admit(&mut self, _: &Arc<Endpoint>) -> bool {
        false
    }
}

/// What a batch of events caused.
#[derive(Debug, Default)]
pub struct Ingested {
    /// Events that were not known before.
    pub events: usize,
    /// Notifications made.
    pub notifications: usize,
    /// Those of them handed out at once, under a lease.
    pub deliveries: Vec<Delivery>,
    /// Those of them that are due and wait to be claimed.
    pub waiting: usize,
    /// The places in the batch of the events that were not known before.
    pub fresh: Vec<usize>,
    /// The places in the batch of the events that were not kept, in order, and why.
    pub refused: Vec<(usize, EventRefusal)>,
}

impl Ingested {
    /// Counts what another part of the batch caused.
    fn add(&mut self, part: Self) {
        self.events += part.events;
        self.notifications += part.notifications;
        self.waiting += part.waiting;
        self.deliveries.extend(part.deliveries);
        self.fresh.extend(part.fresh);
        self.refused.extend(part.refused);
    }
}

/// How much work for one subscription a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// At most so many deliveries.
    pub quota: u32,
    /// Whether the odd one of the quota is for a retry, where first attempts wait as well.
    pub retries_first: bool,
}

impl Want {
    /// How many of the quota are for first attempts while there are enough of both kinds.
    fn first_attempts(&self) -> u32 {
        if self.retries_first { self.quota / 2 } else { self.quota.div_ceil(2) }
    }
}

/// A lease with which no attempt was made.
#[derive(Debug, Clone, Copy)]
pub struct Unused {
    /// What it is on.
    pub notification: NotificationId,
    /// To whom that was to go.
    pub subscription: SubscriptionId,
    /// The lease.
    pub lease: Lease,
}

impl From<&Delivery> for Unused {
    fn from(delivery: &Delivery) -> Self {
        Self {
            notification: delivery.notification,
            subscription: delivery.endpoint.subscription,
            lease: delivery.lease,
        }
    }
}

/// What became of an attempt's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It is in the log and decided what follows.
    Counted,
    /// Its lease was no longer the notification's: nothing was changed, nothing was logged.
    Late,
}

/// The hot path: events in, deliveries out, results back.
#[async_trait]
pub trait DeliveryStore: Send + Sync + 'static {
    /// Keeps `events` and makes a notification for every subscription that is to hear of one that
    /// was not known before (law 4); those that `admission` has room for are handed out at once
    /// under the lease `token`. When this returns, all of it is committed.
    async fn ingest(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested>;

    /// The same for events that belong together: when one of them is refused, none is kept, and the answer says
    /// only which were refused.
    async fn ingest_together(
        &self,
        events: &[NewEvent],
        admission: &mut dyn Admission,
        token: Uuid,
        now: DateTime<Utc>,
    ) -> StoreResult<Ingested>;

    /// Hands out what is due at `now` and under no lease that lasts beyond `ended` to each wanted subscription that is
    /// active, under the lease `token` (law 5): first attempts and retries by halves, or what there is
    /// of the one when the other has less than that; oldest due first of each. A lease that ended
    /// without a result is handed out again with the same attempt number.
    async fn claim_due(
        &self,
        wants: &[Want],
        token: Uuid,
        now: DateTime<Utc>,
        ended: DateTime<Utc>,
    ) -> StoreResult<Vec<Delivery>>;

    /// For each of `subscriptions` for which something waits, when the first of it becomes due or
    /// loses its lease; in the past when it is due already.
    async fn next_due(
        &self,
        subscriptions: &[SubscriptionId],
    ) -> StoreResult<Vec<(SubscriptionId, DateTime<Utc>)>>;

    /// Logs results and moves their notifications, as far as each lease's token is still the
    /// notification's. One answer per result, in their order. A 429 or 503 pauses the subscription for
    /// all processes (see [`crate::domain::probing`]). A subscription whose endpoint has failed again, and
    /// for longer than `disable_after`, is disabled.
    async fn record(
        &self,
        results: &[AttemptResult],
        disable_after: DisableAfter,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Recorded>>;

    /// Gives leases back at `now`, as far as each is still its notification's: that is due as it was
    /// before. A probe that is given back is over, so that the next one need not wait for its lease.
    async fn give_back(&self, unused: &[Unused], now: DateTime<Utc>) -> StoreResult<()>;

    /// All subscriptions as they are now; read again only after one has changed.
    async fn directory(&self) -> StoreResult<Arc<Directory>>;

    /// A sign of life, for readiness.
    async fn check(&self) -> StoreResult<()>;
}

/// The name is taken by another subscription of the same merchant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("another subscription of this merchant has that name")]
pub struct NameTaken;

/// Why a subscription was not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreateRefused {
    /// See [`NameTaken`].
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The merchant has as many as it may.
    #[error(transparent)]
    LimitReached(#[from] LimitReached),
}

/// Why a subscription was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchRefused {
    /// See [`NameTaken`].
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
    /// The result would break a rule.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// Which subscriptions a list shows.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionFilter {
    /// Only this merchant's.
    pub merchant: Option<String>,
    /// Only the one with this name (per merchant).
    pub name: Option<String>,
}

/// Subscriptions.
#[async_trait]
pub trait SubscriptionStore: Send + Sync + 'static {
    /// Keeps a new subscription with its first signing key, unless its merchant has `limit` of them: that
    /// many are never passed, whatever is created at the same time.
    async fn create(
        &self,
        subscription: &Subscription,
        key: &SigningKey,
        audit: &SubscriptionAudit,
        limit: u32,
    ) -> StoreResult<Result<(), CreateRefused>>;

    /// The subscription, unless it is deleted.
    async fn subscription(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
    ) -> StoreResult<Option<Subscription>>;

    /// The id of the subscription of `merchant` (`None`: of the operator) with this name, unless it is deleted.
    async fn subscription_named(
        &self,
        merchant: Option<&str>,
        name: &str,
    ) -> StoreResult<Option<SubscriptionId>>;

    /// A page of subscriptions, newest first.
    async fn subscriptions(&self, filter: &SubscriptionFilter, page: Page) -> StoreResult<Vec<Subscription>>;

    /// Changes a subscription. `audit.at` is the present.
    async fn patch(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        patch: &Patch,
        audit: &SubscriptionAudit,
    ) -> StoreResult<Option<Result<Subscription, PatchRefused>>>;

    /// Deletes a subscription: its name is free again, what was not final is cancelled (see
    /// [`UpkeepStore::move_cancelled`]). `audit.at` is the present. Whether it was there.
    async fn delete(
        &self,
        id: SubscriptionId,
        owner: Option<&str>,
        audit: &SubscriptionAudit,
    ) -> StoreResult<bool>;
}

/// Which notifications a list shows.
#[derive(Debug, Clone, Default)]
pub struct NotificationFilter {
    /// Only those of this merchant's subscriptions.
    pub owner: Option<String>,
    /// Only those in these states.
    pub states: States,
    /// Only those of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Only those about events of these types.
    pub event_type: Option<EventPattern>,
    /// Only those whose last attempt failed for one of these reasons; any if empty.
    pub failure_classes: Vec<FailureClass>,
    /// Only those about events with this subject.
    pub subject: Option<String>,
    /// Only those about the event with this id.
    pub event_id: Option<String>,
    /// Only those that came in at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those that came in before this time.
    pub created_to: Option<DateTime<Utc>>,
}

/// A notification with all that is known of it.
#[derive(Debug, Clone)]
pub struct NotificationDetail {
    /// The log's line.
    pub notification: Notification,
    /// Its event.
    pub event: NewEvent,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
    /// What people did to it, oldest first.
    pub audits: Vec<Audit>,
}

/// The notification log and what operators do with it.
#[async_trait]
pub trait NotificationStore: Send + Sync + 'static {
    /// A page of notifications as they stand at `now`, newest first.
    async fn notifications(
        &self,
        filter: &NotificationFilter,
        page: Page,
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<Notification>>;

    /// One notification with its event, attempts and audits, as it stands at `now`.
    async fn notification(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<NotificationDetail>>;

    /// Makes a notification due at once with a fresh climb of the ladder; attempts keep counting.
    /// `audit.at` is the present.
    async fn resend(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>>;

    /// Gives a notification up; an attempt under way no longer counts. `audit.at` is the present.
    async fn cancel(
        &self,
        id: NotificationId,
        owner: Option<&str>,
        audit: &Audit,
    ) -> StoreResult<Option<Result<Notification, Refused>>>;
}

/// Everything a notifier keeps.
pub trait Store:
    AuditStore
    + DeliveryStore
    + SubscriptionStore
    + HealthStore
    + NotificationStore
    + CountStore
    + FeedStore
    + BulkStore
    + SecretStore
    + UpkeepStore
    + BacklogStore
    + ClockStore
{
}

impl<T> Store for T where
    T: AuditStore
        + DeliveryStore
        + SubscriptionStore
        + HealthStore
        + NotificationStore
        + CountStore
        + FeedStore
        + BulkStore
        + SecretStore
        + UpkeepStore
        + BacklogStore
        + ClockStore
{
}

/// Opens the store at `url`, which keeps its secrets in `vault` and its log for `retention`, and brings its
/// schema up to date.
pub async fn open(
    url: &DatabaseUrl,
    max_connections: u32,
    vault: Arc<Vault>,
    retention: Retention,
    now: DateTime<Utc>,
) -> anyhow::Result<Arc<dyn Store>> {
    let store: Arc<dyn Store> = match url {
        #[cfg(feature = "postgres")]
        DatabaseUrl::Postgres(url) => {
            let connections = open_postgres(url, "notifier", max_connections)?;
            let opened = postgres::PostgresStore::migrate(connections.clone()).await;
            Arc::new(connections.kept_by(opened).await?.with_vault(vault).with_retention(retention))
        }
        DatabaseUrl::Sqlite(file) => {
            let database = open_sqlite(file).await?;
            let store = sqlite::SqliteStore::migrate(database).await?;
            Arc::new(store.with_vault(vault).with_retention(retention))
        }
        #[cfg(not(feature = "postgres"))]
        #[allow(
            unreachable_patterns,
            reason = "Postgres' addresses are known where another crate asks for them"
        )]
        _ => anyhow::bail!("DATABASE_URL: this program was built without Postgres"),
    };
    let today = Day::of(now);
    store.prepare(&[today, today.plus(1)]).await?;
    Ok(store)
}
