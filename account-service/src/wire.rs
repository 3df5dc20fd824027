//! Recharges as pay-service writes them, in its answers and in its events.

use serde::Deserialize;
use uuid::Uuid;

use runtime::repeated;
use runtime::validation::Invalid;

use crate::domain::{AccountNo, Amount, Recharge, UnknownWord};

/// The text is not a recharge.
#[derive(Debug, thiserror::Error)]
pub enum NotARecharge {
    /// It is no JSON, or a field is missing or of the wrong type.
    #[error("not a recharge: {}", repeated::reason(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// A field breaks a rule.
    #[error("not a recharge: {0}")]
    Field(#[from] Invalid),
    /// The status is none that is known.
    #[error("not a recharge: status {0}")]
    Status(#[from] UnknownWord),
}

/// Fields that crediting does not need, now or in a later version, are passed over.
#[derive(Deserialize)]
struct RechargeJson {
    tx_no: Uuid,
    merchant: String,
    merchant_order_no: String,
    account_no: String,
    amount: i64,
    currency: String,
    status: String,
}

/// Reads a recharge that is received now: its order number must be one that a database can keep.
pub fn receive_recharge(json: &[u8]) -> Result<Recharge, NotARecharge> {
    let recharge = read_recharge(json)?;
    if recharge.merchant_order_no.contains('\0') {
        return Err(Invalid::field("merchant_order_no", "must not contain the NUL character").into());
    }
    Ok(recharge)
}

/// Reads a recharge.
pub fn read_recharge(json: &[u8]) -> Result<Recharge, NotARecharge> {
    let told: RechargeJson = serde_json::from_slice(json)?;
    Ok(Recharge {
        tx_no: told.tx_no,
        merchant: told.merchant,
        merchant_order_no: told.merchant_order_no,
        account_no: AccountNo::parse(told.account_no)?,
        amount: Amount::new(told.amount)?,
        currency: told.currency.parse()?,
        status: told.status.parse()?,
    })
}

/// Whose recharge `json` says it is about, before anything else is asked of it.
pub fn read_merchant(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Owned {
        merchant: String,
    }
    serde_json::from_slice::<Owned>(json).ok().map(|owned| owned.merchant)
}
