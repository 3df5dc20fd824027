//! The audit: one snapshot of the whole books, summed up in the database. Sums are taken in two
//! halves, of 2^20 and of what remains, since a sum beyond 64 bits is an error in `SQLite`.

use runtime::database::{EndsWithCaller, Sqlite, StoreResult};
use sqlx::{AssertSqlSafe, FromRow, SqliteConnection};

use crate::domain::{AccountNo, Audit, AuditDifference, AuditTotal};
use crate::store::audit::WITHOUT_ORDER;
use crate::store::rows::{corrupt, counted};

/// Every account beside the sum of its credits. The index `credits_of_account` holds all that is summed.
const BOOKS: &str = "
    WITH sums AS (
        SELECT account_no, sum(amount >> 20) AS high, sum(amount & 1048575) AS low, count(*) AS credits
        FROM credits GROUP BY account_no
    ), books AS (
        SELECT account_no, currency, balance, coalesce(high, 0) AS high, coalesce(low, 0) AS low,
               coalesce(credits, 0) AS credits,
               ((balance >> 20) - coalesce(high, 0)) * 1048576 + (balance & 1048575) - coalesce(low, 0) <> 0 AS differs
        FROM accounts LEFT JOIN sums USING (account_no)
    )";

#[derive(FromRow)]
struct TotalRow {
    currency: String,
    accounts: i64,
    credits: i64,
    balances_high: i64,
    balances_low: i64,
    high: i64,
    low: i64,
    differing: i64,
}

#[derive(FromRow)]
struct DifferenceRow {
    account_no: String,
    currency: String,
    balance: i64,
    high: i64,
    low: i64,
}

/// Reads everything, however long that takes; it ends with the request that asked for it.
pub(super) async fn audit(database: &Sqlite, limit: u32) -> StoreResult<Audit> {
    let mut snapshot = database.reader.begin().await?;
    let caller = EndsWithCaller::begin(&mut snapshot).await?;
    let rows: Vec<TotalRow> = sqlx::query_as(AssertSqlSafe(format!(
        "{BOOKS} SELECT currency, count(*) AS accounts, sum(credits) AS credits,
                        sum(balance >> 20) AS balances_high, sum(balance & 1048575) AS balances_low,
                        sum(high) AS high, sum(low) AS low, sum(differs) AS differing
                 FROM books GROUP BY currency ORDER BY currency"
    )))
    .fetch_all(&mut *snapshot)
    .await?;
    let without_order: i64 = sqlx::query_scalar(WITHOUT_ORDER).fetch_one(&mut *snapshot).await?;
    let differing = rows.iter().map(|row| row.differing.unsigned_abs()).sum();
    let differences = if differing == 0 { Vec::new() } else { differences(&mut snapshot, limit).await? };
    caller.done(&mut snapshot).await?;
    snapshot.rollback().await?;
    let totals = rows.into_iter().map(TotalRow::read).collect::<StoreResult<_>>()?;
    Ok(Audit { totals, without_order: counted(without_order), differing, differences })
}

async fn differences(snapshot: &mut SqliteConnection, limit: u32) -> StoreResult<Vec<AuditDifference>> {
    let rows: Vec<DifferenceRow> = sqlx::query_as(AssertSqlSafe(format!(
        "{BOOKS} SELECT account_no, currency, balance, high, low FROM books WHERE differs
                 ORDER BY account_no LIMIT ?1"
    )))
    .bind(limit)
    .fetch_all(snapshot)
    .await?;
    rows.into_iter().map(DifferenceRow::read).collect()
}

fn joined(high: i64, low: i64) -> i128 {
    (i128::from(high) << 20) + i128::from(low)
}

impl TotalRow {
    fn read(self) -> StoreResult<AuditTotal> {
        Ok(AuditTotal {
            currency: self.currency.parse().map_err(corrupt)?,
            accounts: counted(self.accounts),
            credits: counted(self.credits),
            balances: joined(self.balances_high, self.balances_low),
            credited: joined(self.high, self.low),
        })
    }
}

impl DifferenceRow {
    fn read(self) -> StoreResult<AuditDifference> {
        Ok(AuditDifference {
            account_no: AccountNo::parse(self.account_no).map_err(corrupt)?,
            currency: self.currency.parse().map_err(corrupt)?,
            balance: self.balance,
            credited: joined(self.high, self.low),
        })
    }
}
