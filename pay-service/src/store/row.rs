//! A recharge as it lies in its table; the same columns in both databases.

use chrono::{DateTime, Utc};
use runtime::database::{StoreError, StoreResult};
use sqlx::{Database, Encode, QueryBuilder, Type};
use uuid::Uuid;

use crate::domain::totals::{MAX_RECHARGES, MAX_TOTALS};
use crate::domain::{
    Amount, Channel, Currency, Order, OrderNo, Recharge, Status, StatusName, TooMany, Total,
};

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

/// One total as both databases answer it.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct TotalRow {
    merchant: String,
    currency: String,
    status: String,
    count: i64,
    sum: i64,
}

impl TotalRow {
    fn total(self) -> StoreResult<Total> {
        let corrupt = format!("totals of merchant {}", self.merchant);
        self.read().ok_or(StoreError::Corrupt(corrupt))
    }

    fn read(self) -> Option<Total> {
        Some(Total {
            merchant: self.merchant,
            currency: Currency::parse(&self.currency).ok()?,
            status: StatusName::named(&self.status)?,
            count: self.count.try_into().ok()?,
            sum: self.sum,
        })
    }
}

/// The statement before the conditions that narrow it to what is summed up. The sum is cast, since Postgres
/// adds up in `numeric`; it fits, see [`MAX_RECHARGES`].
pub(super) const TOTALS: &str =
    "SELECT merchant, currency, status, count(*) AS count, CAST(sum(amount) AS bigint) AS sum
    FROM (SELECT merchant, currency, status, amount FROM recharges WHERE TRUE";

/// Ends what [`TOTALS`] began: one recharge, and one total, more than are answered tell that there are more.
pub(super) fn push_totals_end<DB>(query: &mut QueryBuilder<DB>)
where
    DB: Database,
    for<'v> i64: Encode<'v, DB> + Type<DB>,
{
    query.push(" LIMIT ").push_bind(i64::from(MAX_RECHARGES) + 1);
    query.push(") r GROUP BY merchant, currency, status ORDER BY merchant, currency, status LIMIT ");
    query.push_bind(i64::from(MAX_TOTALS) + 1);
}

/// The totals, unless there are more than one answer has.
pub(super) fn totals(rows: Vec<TotalRow>) -> StoreResult<Result<Vec<Total>, TooMany>> {
    let totals = rows.into_iter().map(TotalRow::total).collect::<StoreResult<Vec<_>>>()?;
    let recharges: u64 = totals.iter().map(|total| total.count).sum();
    let is_whole = recharges <= u64::from(MAX_RECHARGES) && totals.len() <= MAX_TOTALS as usize;
    Ok(if is_whole { Ok(totals) } else { Err(TooMany) })
}
