//! Where exceptions are kept.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use runtime::database::{StoreResult, hex};
use runtime::http::Page;
use serde_json::{Value, json};
use sqlx::FromRow;
use uuid::Uuid;

use super::rows::{StoredTime, corrupt, counted};
use crate::domain::{
    CantResolve, Exception, ExceptionFilter, ExceptionKind, ExceptionState, Incident, Outcome, Resolution,
    Resolve, StateName,
};
use crate::wire::read_recharge;

/// Where what does not fit is kept.
#[async_trait]
pub trait ExceptionStore: Send + Sync + 'static {
    /// Exceptions, newest first; the page's cursor is an exception's id.
    async fn exceptions(&self, filter: ExceptionFilter, page: Page) -> StoreResult<Vec<Exception>>;

    /// The exception with this id.
    async fn exception(&self, id: Uuid) -> StoreResult<Option<Exception>>;

    /// Keeps what does not fit, beside what the books hold about it.
    async fn note(&self, incidents: &[Incident], now: DateTime<Utc>) -> StoreResult<()>;

    /// Carries out a decision about an exception in one transaction, credit and all; `None` when there
    /// is no such exception. Of several decisions one is carried out.
    async fn resolve(
        &self,
        id: Uuid,
        decision: &Resolve,
        now: DateTime<Utc>,
    ) -> StoreResult<Option<Result<Exception, CantResolve>>>;
}

/// An exception; `T` is how the backend keeps a time.
#[derive(FromRow)]
pub(super) struct ExceptionRow<T> {
    id: Uuid,
    subject: Uuid,
    kind: String,
    tx_no: Option<Uuid>,
    merchant_order_no: Option<String>,
    source: String,
    event_id: Option<String>,
    detail: String,
    received: Option<String>,
    contradiction: Option<String>,
    recorded: String,
    first_seen: T,
    last_seen: T,
    count: i64,
    state: String,
    resolved_by: Option<String>,
    reason: Option<String>,
    resolved_at: Option<T>,
}

impl<T: StoredTime> ExceptionRow<T> {
    /// The exception it holds.
    pub(super) fn read(self) -> StoreResult<Exception> {
        let state = match self.state.parse().map_err(corrupt)? {
            StateName::Open => ExceptionState::Open,
            StateName::Resolved(outcome) => ExceptionState::Resolved(resolution(
                outcome,
                self.resolved_by,
                self.reason,
                self.resolved_at,
            )?),
        };
        let kind: ExceptionKind = self.kind.parse().map_err(corrupt)?;
        // What was told by a wrong answer is nobody's result.
        let told = self.received.as_ref().filter(|_| kind.is_refusal());
        let incident = Incident {
            subject: self.subject,
            kind,
            result: told.and_then(|text| read_recharge(text.as_bytes()).ok()),
            tx_no: self.tx_no,
            merchant_order_no: self.merchant_order_no,
            source: self.source.parse().map_err(corrupt)?,
            event_id: self.event_id,
            detail: self.detail,
            received: self.received.map(Into::into),
        };
        Ok(Exception {
            id: self.id,
            incident,
            contradiction: self.contradiction.map(Into::into),
            recorded: self.recorded.into(),
            first_seen: self.first_seen.read()?,
            last_seen: self.last_seen.read()?,
            count: counted(self.count),
            state,
        })
    }
}

/// The row that holds it, by columns: uuids as hexadecimal digits, times as `time` writes them.
pub(super) fn to_json(exception: &Exception, time: impl Fn(DateTime<Utc>) -> Value) -> Value {
    let incident = &exception.incident;
    let resolution = match &exception.state {
        ExceptionState::Open => None,
        ExceptionState::Resolved(resolution) => Some(resolution),
    };
    json!({
        "id": hex(exception.id),
        "subject": hex(incident.subject),
        "kind": incident.kind.as_str(),
        "tx_no": incident.tx_no.map(hex),
        "merchant_order_no": incident.merchant_order_no,
        "source": incident.source.as_str(),
        "event_id": incident.event_id,
        "detail": incident.detail,
        "received": incident.received,
        "contradiction": exception.contradiction,
        "recorded": exception.recorded,
        "first_seen": time(exception.first_seen),
        "last_seen": time(exception.last_seen),
        "count": exception.count,
        "state": exception.state_name().as_str(),
        "resolved_by": resolution.map(|resolution| &resolution.by),
        "reason": resolution.map(|resolution| &resolution.reason),
        "resolved_at": resolution.map(|resolution| time(resolution.at)),
    })
}

fn resolution<T: StoredTime>(
    outcome: Outcome,
    by: Option<String>,
    reason: Option<String>,
    at: Option<T>,
) -> StoreResult<Resolution> {
    let missing = || corrupt("a resolved exception does not say by whom, why and when");
    Ok(Resolution {
        outcome,
        by: by.ok_or_else(missing)?,
        reason: reason.ok_or_else(missing)?,
        at: at.ok_or_else(missing)?.read()?,
    })
}
