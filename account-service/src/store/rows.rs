//! Rows as both backends read them, turned into the domain's types. A row that can't be is a
//! defect, told as such.

use chrono::{DateTime, Utc};
use runtime::database::{StoreError, StoreResult};
use sqlx::FromRow;
use uuid::Uuid;

use crate::domain::{Account, AccountNo, Amount, Credit, Request, RequestState, Standing};

/// An account; `T` is how the backend keeps a time.
#[derive(FromRow)]
pub(super) struct AccountRow<T> {
    account_no: String,
    account_name: String,
    currency: String,
    balance: i64,
    created_at: T,
}

/// A credit.
#[derive(FromRow)]
pub(super) struct CreditRow<T> {
    tx_no: Uuid,
    account_no: String,
    amount: i64,
    currency: String,
    source: String,
    event_id: Option<String>,
    credited_at: T,
    merchant_order_no: Option<String>,
    credited_despite: Option<Uuid>,
}

/// A request.
#[derive(FromRow)]
pub(super) struct RequestRow<T> {
    merchant_order_no: Uuid,
    account_no: String,
    amount: i64,
    currency: String,
    channel: String,
    attach: Option<String>,
    tx_no: Option<Uuid>,
    status: String,
    created_at: T,
}

/// A time as a backend keeps it.
pub(super) trait StoredTime {
    /// The time it stands for.
    fn read(self) -> StoreResult<DateTime<Utc>>;
}

impl StoredTime for DateTime<Utc> {
    fn read(self) -> StoreResult<DateTime<Utc>> {
        Ok(self)
    }
}

/// Microseconds since the epoch.
impl StoredTime for i64 {
    fn read(self) -> StoreResult<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self).ok_or_else(|| corrupt(format!("{self} µs is no time")))
    }
}

impl<T: StoredTime> AccountRow<T> {
    /// The account it holds.
    pub(super) fn read(self) -> StoreResult<Account> {
        Ok(Account {
            account_no: AccountNo::parse(self.account_no).map_err(corrupt)?,
            account_name: self.account_name,
            currency: self.currency.parse().map_err(corrupt)?,
            balance: self.balance,
            created_at: self.created_at.read()?,
        })
    }
}

impl<T: StoredTime> CreditRow<T> {
    /// The credit it holds.
    pub(super) fn read(self) -> StoreResult<Credit> {
        Ok(Credit {
            tx_no: self.tx_no,
            account_no: AccountNo::parse(self.account_no).map_err(corrupt)?,
            amount: Amount::new(self.amount).map_err(corrupt)?,
            currency: self.currency.parse().map_err(corrupt)?,
            source: self.source.parse().map_err(corrupt)?,
            event_id: self.event_id,
            credited_at: self.credited_at.read()?,
            merchant_order_no: self.merchant_order_no,
            credited_despite: self.credited_despite,
        })
    }
}

impl<T: StoredTime> RequestRow<T> {
    /// The request it holds.
    pub(super) fn read(self) -> StoreResult<Request> {
        let state = match self.tx_no {
            None => RequestState::Unknown,
            Some(tx_no) => RequestState::Known { tx_no, status: self.status.parse().map_err(corrupt)? },
        };
        Ok(Request {
            merchant_order_no: self.merchant_order_no,
            account_no: AccountNo::parse(self.account_no).map_err(corrupt)?,
            amount: Amount::new(self.amount).map_err(corrupt)?,
            currency: self.currency.parse().map_err(corrupt)?,
            channel: self.channel,
            attach: self.attach,
            state,
            created_at: self.created_at.read()?,
        })
    }
}

/// What is left open, as both backends count it.
pub(super) fn standing<T: StoredTime>(
    kinds: Vec<(String, i64)>,
    (waiting, oldest): (i64, Option<T>),
    (running, begun): (i64, Option<T>),
    open_differences: i64,
) -> StoreResult<Standing> {
    let open = kinds.into_iter().map(|(kind, count)| Ok((kind.parse().map_err(corrupt)?, counted(count))));
    Ok(Standing {
        open_exceptions: open.collect::<StoreResult<_>>()?,
        waiting_requests: counted(waiting),
        oldest_request: oldest.map(StoredTime::read).transpose()?,
        running_reconciliations: counted(running),
        oldest_reconciliation: begun.map(StoredTime::read).transpose()?,
        open_differences: counted(open_differences),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn corrupt(why: impl ToString) -> StoreError {
    StoreError::Corrupt(why.to_string())
}

/// A `count(*)`, which is never negative.
pub(super) fn counted(count: i64) -> u64 {
    count.unsigned_abs()
}

/// A sum that may need more than 64 bits, as text.
pub(super) fn large(sum: &str) -> StoreResult<i128> {
    sum.parse().map_err(|_| corrupt(format!("`{sum}` is no sum")))
}
