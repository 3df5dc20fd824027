//! The recharge as the outside sees it: the same in every answer and in every event.

use chrono::{DateTime, Utc};
use messaging::Event;
use runtime::http::described::MerchantName;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::described::{
    AccountNumber, Attachment, ChannelName, CurrencyCode, Failure, MinorUnits, OrderNumber, RechargeStatus,
};
use crate::domain::{Recharge, StatusName};

/// The publisher in our events.
const SOURCE: &str = "/pay-service";

/// A recharge and what became of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Recharge)]
pub struct RechargeDocument {
    /// Our number of the recharge.
    pub tx_no: Uuid,
    /// Whose recharge it is.
    #[schema(value_type = MerchantName)]
    pub merchant: String,
    /// The merchant's own number of it.
    #[schema(value_type = OrderNumber)]
    pub merchant_order_no: String,
    /// The account that is recharged.
    #[schema(value_type = AccountNumber)]
    pub account_no: String,
    /// In minor units (fen, cents).
    #[schema(value_type = MinorUnits)]
    pub amount: i64,
    /// ISO 4217.
    #[schema(value_type = CurrencyCode)]
    pub currency: &'static str,
    /// How it is paid.
    #[schema(value_type = ChannelName)]
    pub channel: &'static str,
    /// `pending`, `succeeded`, `failed` or `closed`; the last three are final.
    #[schema(value_type = RechargeStatus)]
    pub status: &'static str,
    /// The merchant's own text, untouched.
    #[schema(value_type = Option<Attachment>)]
    pub attach: Option<String>,
    /// When it was taken.
    pub created_at: DateTime<Utc>,
    /// When it became final.
    pub settled_at: Option<DateTime<Utc>>,
    /// Why it failed.
    #[schema(value_type = Option<Failure>)]
    pub failure: Option<String>,
}

impl From<&Recharge> for RechargeDocument {
    fn from(recharge: &Recharge) -> Self {
        let Recharge { tx_no, order, created_at, status } = recharge;
        Self {
            tx_no: *tx_no,
            merchant: order.merchant.clone(),
            merchant_order_no: order.merchant_order_no.as_str().to_owned(),
            account_no: order.account_no.clone(),
            amount: order.amount.minor_units(),
            currency: order.currency.code(),
            channel: order.channel.as_str(),
            status: status.name().as_str(),
            attach: order.attach.clone(),
            created_at: *created_at,
            settled_at: status.settled_at(),
            failure: status.failure().map(str::to_owned),
        }
    }
}

/// The event that tells a recharge's result under the new id `event_id`; `None` while it has none.
pub fn result_event(event_id: Uuid, recharge: &Recharge) -> Option<Event> {
    let settled_at = recharge.status.settled_at()?;
    let kind = event_type(recharge.status.name());
    let event = Event::new(event_id, SOURCE, kind, settled_at, &RechargeDocument::from(recharge))
        .expect("a recharge has only text, numbers and times");
    Some(event.about(recharge.tx_no.to_string(), recharge.order.merchant.clone()))
}

/// `recharge.<status>`.
fn event_type(status: StatusName) -> &'static str {
    match status {
        StatusName::Pending => "recharge.pending",
        StatusName::Succeeded => "recharge.succeeded",
        StatusName::Failed => "recharge.failed",
        StatusName::Closed => "recharge.closed",
    }
}
