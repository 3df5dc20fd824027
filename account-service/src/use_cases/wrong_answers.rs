//! Keeping what pay-service answered instead of what it was asked.

use chrono::{DateTime, Utc};
use runtime::database::StoreResult;
use uuid::Uuid;

use crate::domain::{CreditSource, ExceptionKind, Incident};
use crate::pay_service::Unanswered;
use crate::store::ExceptionStore;

/// What pay-service was asked about, by one number or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The recharge, where its number is known.
    pub tx_no: Option<Uuid>,
    /// The request for it, where there is one.
    pub order: Option<Uuid>,
    /// On which way it was asked.
    pub source: CreditSource,
}

impl Asked {
    /// Something of this kind about it, unless it was asked without any number.
    pub fn incident(
        self,
        kind: ExceptionKind,
        detail: String,
        received: Option<Box<str>>,
    ) -> Option<Incident> {
        Some(Incident {
            subject: self.tx_no.or(self.order)?,
            kind,
            tx_no: self.tx_no,
            merchant_order_no: self.order.map(|order| order.to_string()),
            source: self.source,
            event_id: None,
            detail,
            received,
            result: None,
        })
    }

    /// The exception that `error` is worth; an outage is worth none.
    pub fn wrong_answer(self, error: &Unanswered) -> Option<Incident> {
        let wrong = error.wrong_answer()?;
        self.incident(ExceptionKind::WrongAnswer, wrong.detail, wrong.received)
    }
}

/// Keeps an answer that was not the one asked for as an exception.
pub async fn keep_wrong_answer(
    store: &dyn ExceptionStore,
    asked: Asked,
    error: &Unanswered,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    match asked.wrong_answer(error) {
        Some(incident) => store.note(&[incident], now).await,
        None => Ok(()),
    }
}
