//! What the books hold about a result that does not fit, written down beside it.

use serde_json::{Value, json};

use super::account::Account;
use super::credit::Credit;
use super::request::Request;

/// What an incident is about, as the books hold it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recorded<'a> {
    pub(super) account: Option<&'a Account>,
    pub(super) request: Option<&'a Request>,
    pub(super) credit: Option<&'a Credit>,
}

impl Recorded<'_> {
    /// As it is kept and shown.
    pub(super) fn to_json(self) -> Box<str> {
        let recorded = json!({
            "account": self.account.map(account),
            "request": self.request.map(request),
            "credit": self.credit.map(Credit::to_json),
        });
        recorded.to_string().into()
    }
}

fn account(account: &Account) -> Value {
    json!({
        "account_no": account.account_no.as_str(),
        "currency": account.currency.as_str(),
        "balance": account.balance,
    })
}

fn request(request: &Request) -> Value {
    json!({
        "merchant_order_no": request.merchant_order_no,
        "account_no": request.account_no.as_str(),
        "amount": request.amount.minor_units(),
        "currency": request.currency.as_str(),
        "tx_no": request.state.tx_no(),
        "status": request.state.as_str(),
        "created_at": request.created_at,
    })
}
