//! A recharge as it lies in its table; the same columns in both databases.

use chrono::{DateTime, Utc};
use runtime::database::{StoreError, StoreResult};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use crate::domain::{Amount, Channel, Currency, Order, OrderNo, Recharge, Status, StatusName};

/// The columns, for every statement that reads a whole recharge.
macro_rules! columns {
    () => {
        "tx_no, merchant, merchant_order_no, account_no, amount, currency, channel, attach, created_at, \
         status, settled_at, failure"
    };
}
pub(super) use columns;

/// Adds `condition` and its bound value to a statement's WHERE, if there is a value.
pub(super) fn narrow<'v, DB, T>(query: &mut QueryBuilder<DB>, condition: &'static str, value: Option<T>)
where
    DB: Database,
    T: Encode<'v, DB> + Type<DB>,
{
    if let Some(value) = value {
        query.push(condition).push_bind(value);
    }
}

/// One row; `Time` is how the database keeps a time.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row<Time> {
    tx_no: Uuid,
    merchant: String,
    merchant_order_no: String,
    account_no: String,
    amount: i64,
    currency: String,
    channel: String,
    attach: Option<String>,
    created_at: Time,
    status: String,
    settled_at: Option<Time>,
    failure: Option<String>,
}

/// How a database keeps a time.
pub(super) trait StoredTime {
    /// The time; `None` when it is out of range, which we never write.
    fn time(self) -> Option<DateTime<Utc>>;
}

/// `PostgreSQL`'s `timestamptz`.
impl StoredTime for DateTime<Utc> {
    fn time(self) -> Option<DateTime<Utc>> {
        Some(self)
    }
}

/// Microseconds since the epoch.
impl StoredTime for i64 {
    fn time(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self)
    }
}

impl<Time: StoredTime> Row<Time> {
    /// The recharge. The schema's checks make a row that is none impossible.
    pub(super) fn recharge(self) -> StoreResult<Recharge> {
        let tx_no = self.tx_no;
        self.read().ok_or_else(|| StoreError::Corrupt(format!("recharge {tx_no}")))
    }

    fn read(self) -> Option<Recharge> {
        let settled_at = self.settled_at.and_then(Time::time);
        let status = match StatusName::named(&self.status)? {
            StatusName::Pending => Status::Pending,
            StatusName::Succeeded => Status::Succeeded { settled_at: settled_at? },
            StatusName::Failed => Status::Failed { settled_at: settled_at?, failure: self.failure? },
            StatusName::Closed => Status::Closed { settled_at: settled_at? },
        };
        let order = Order {
            merchant: self.merchant,
            merchant_order_no: OrderNo::new(self.merchant_order_no).ok()?,
            account_no: self.account_no,
            amount: Amount::new(self.amount).ok()?,
            currency: Currency::parse(&self.currency).ok()?,
            channel: Channel::named(&self.channel)?,
            attach: self.attach,
        };
        Some(Recharge { tx_no: self.tx_no, order, created_at: self.created_at.time()?, status })
    }
}
