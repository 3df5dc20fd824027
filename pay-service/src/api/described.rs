//! What the interface description says of the values that callers send and receive.

use runtime::http::described::{integer, text, words};
use utoipa::openapi::{ObjectBuilder, Type};

use super::callbacks::MAX_FAILURE;
use crate::domain::money::ACTIVE;
use crate::domain::order::{MAX_ACCOUNT_NO, MAX_ATTACH_BYTES, MAX_ORDER_NO};
use crate::domain::{Amount, Channel, StatusName};

runtime::described! {
    pub OrderNumber as "MerchantOrderNo" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("The merchant's own number of an order: visible ASCII characters, no spaces"))
        .pattern(Some(format!("^[!-~]{{1,{MAX_ORDER_NO}}}$")))
        .examples(["order-1001"]);
    pub AccountNumber as "AccountNo" = text(MAX_ACCOUNT_NO)
        .description(Some("The account that is recharged; no control characters"))
        .examples(["6222021001"]);
    pub MinorUnits as "Amount" = integer(1, Amount::MAX)
        .description(Some("Money in minor units (fen, cents)"))
        .examples([1000]);
    pub CurrencyCode as "Currency" = words(ACTIVE.split_ascii_whitespace())
        .description(Some("An active ISO 4217 code"))
        .examples(["CNY"]);
    pub ChannelName as "Channel" = words(Channel::ALL.map(Channel::as_str))
        .description(Some("How a recharge is paid"))
        .examples(["instant"]);
    pub RechargeStatus as "RechargeStatus" = words(StatusName::ALL.map(StatusName::as_str))
        .description(Some("How a recharge stands; all but `pending` are final"))
        .examples(["succeeded"]);
    pub CallbackResult as "CallbackResult" =
        words(StatusName::ALL.into_iter().filter(|name| *name != StatusName::Pending).map(StatusName::as_str))
            .description(Some("What became of the payment"))
            .examples(["succeeded"]);
    /// A schema counts characters, so those of more than one byte can still be too many.
    pub Attachment as "Attach" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(format!(
            "The merchant's own text, at most {MAX_ATTACH_BYTES} bytes of UTF-8 without the NUL character; \
             comes back untouched"
        )))
        .max_length(Some(MAX_ATTACH_BYTES))
        .pattern(Some(r"^[^\u0000]*$"))
        .examples(["table 7"]);
    pub Failure as "Failure" = text(MAX_FAILURE)
        .description(Some("Why a recharge failed"))
        .examples(["the card was declined"]);
}
