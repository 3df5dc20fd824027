//! Results as they arrive.

use super::credit::CreditSource;
use super::exception::Incident;
use super::recharge::Recharge;
use super::verdict::Refusal;

/// The longest text that is kept of what was told, in bytes. A recharge with the longest attachment
/// is shorter, even with every character of it escaped.
const MAX_RECEIVED: usize = 8 * 1024;

/// A recharge that was heard of, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// What was told.
    pub recharge: Recharge,
    /// Who told it.
    pub source: CreditSource,
    /// The event that told it.
    pub event_id: Option<String>,
    /// The JSON it was told in.
    pub received: Option<Box<str>>,
}

impl Arrival {
    /// A result told in the JSON text `received`.
    pub fn new(recharge: Recharge, source: CreditSource, received: impl Into<Box<str>>) -> Self {
        Self { recharge, source, event_id: None, received: Some(received.into()) }
    }

    /// The same result, told by this event.
    #[must_use]
    pub fn by_event(mut self, event_id: Option<String>) -> Self {
        self.event_id = event_id;
        self
    }

    /// What is kept of it when it is refused.
    pub fn refused(&self, refusal: &Refusal) -> Incident {
        let recharge = &self.recharge;
        let short = self.received.clone().filter(|text| text.len() <= MAX_RECEIVED);
        Incident {
            subject: recharge.tx_no,
            kind: refusal.kind(),
            tx_no: Some(recharge.tx_no),
            merchant_order_no: recharge.storable_order().map(str::to_owned),
            source: self.source,
            event_id: self.event_id.clone(),
            detail: refusal.to_string(),
            received: Some(short.unwrap_or_else(|| recharge.to_json())),
            result: Some(recharge.clone()),
        }
    }
}
