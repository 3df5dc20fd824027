//! What the interface description says of the values that callers send and receive.

use runtime::http::described::{integer, text, words};
use utoipa::openapi::{ObjectBuilder, Type};

use super::reason::MAX_REASON_CHARS;
use crate::domain::{
    AccountNo, Amount, CreditSource, DayState, DifferenceKind, ExceptionKind, NewAccount, Origin,
    ReconciliationState, StateName, Status,
};
use crate::use_cases::{MAX_ATTACH_BYTES, MAX_CHANNEL_CHARS};

runtime::described! {
    pub(super) AccountNumber as "AccountNo" = text(AccountNo::MAX_CHARS)
        .description(Some("The number of an account; no control characters"))
        .examples(["6222021001"]);
    pub(super) AccountName as "AccountName" = text(NewAccount::MAX_NAME_CHARS)
        .description(Some("Whose an account is; no control characters"))
        .examples(["Zhang San"]);
    pub(super) MinorUnits as "Amount" = integer(1, Amount::MAX)
        .description(Some("Money in minor units (fen, cents)"))
        .examples([1000]);
    pub(super) CurrencyCode as "Currency" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some("An ISO 4217 code"))
        .pattern(Some("^[A-Z]{3}$"))
        .examples(["CNY"]);
    /// Accounts hold yuan, and a recharge must be in what its account holds.
    pub(super) AccountCurrency as "AccountCurrency" = words(["CNY"])
        .description(Some("What accounts hold"))
        .examples(["CNY"]);
    pub(super) ChannelName as "Channel" = text(MAX_CHANNEL_CHARS)
        .description(Some("How a recharge is paid; pay-service says which channels there are"))
        .examples(["instant"]);
    /// A schema counts characters, so those of more than one byte can still be too many.
    pub(super) Attachment as "Attach" = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(format!(
            "A text of your own, at most {MAX_ATTACH_BYTES} bytes of UTF-8 without the NUL character; comes back \
             untouched"
        )))
        .max_length(Some(MAX_ATTACH_BYTES))
        .pattern(Some(r"^[^\u0000]*$"))
        .examples(["table 7"]);
    pub(super) RechargeStatus as "RechargeStatus" = words(Status::ALL.map(Status::as_str))
        .description(Some("How a recharge stands at pay-service; all but `pending` are final"))
        .examples(["succeeded"]);
    pub(super) Source as "CreditSource" = words(CreditSource::ALL.map(CreditSource::as_str))
        .description(Some("How a result was learned"))
        .examples(["webhook"]);
    pub(super) Answerer as "AnsweredBy" = words(["ledger", "pay-service"]);
    pub(super) Kind as "ExceptionKind" = words(ExceptionKind::ALL.map(ExceptionKind::as_str))
        .examples(["unknown_account"]);
    pub(super) ExceptionWord as "ExceptionState" = words(StateName::ALL.map(StateName::as_str))
        .examples(["open"]);
    pub(super) DifferenceWord as "DifferenceKind" = words(DifferenceKind::ALL.map(DifferenceKind::as_str))
        .examples(["missing_here"]);
    pub(super) ReconciliationWord as "ReconciliationState" = words(ReconciliationState::WORDS)
        .examples(["finished"]);
    pub(super) OriginWord as "ReconciliationOrigin" = words(Origin::ALL.map(Origin::as_str))
        .description(Some("`asked`, or `nightly` of a day that is over"))
        .examples(["asked"]);
    pub(super) DayWord as "UnreconciledDayState" = words(DayState::ALL.map(DayState::as_str))
        .examples(["waiting"]);
    pub(super) Why as "AuditReason" = text(MAX_REASON_CHARS)
        .description(Some("Why it is done; kept with who did it; no control characters"))
        .examples(["the account is open now"]);
}
