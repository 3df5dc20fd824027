//! The audit: one snapshot of the whole books, summed up in the database.

use runtime::database::{PgPool, StoreResult};
use sqlx::{AssertSqlSafe, Executor, FromRow, PgConnection};

use crate::domain::{AccountNo, Audit, AuditDifference, AuditTotal};
use crate::store::audit::WITHOUT_ORDER;
use crate::store::rows::{corrupt, counted, large};

/// Every account beside the sum of its credits.
const BOOKS: &str = "
    WITH sums AS (
        SELECT account_no, sum(amount) AS credited, count(*) AS credits FROM credits GROUP BY account_no
    ), books AS (
        SELECT account_no, currency, balance, coalesce(credited, 0) AS credited, coalesce(credits, 0) AS credits
        FROM accounts LEFT JOIN sums USING (account_no)
    )";

#[derive(FromRow)]
struct TotalRow {
    currency: String,
    accounts: i64,
    credits: i64,
    balances: String,
    credited: String,
    differing: i64,
}

#[derive(FromRow)]
struct DifferenceRow {
    account_no: String,
    currency: String,
    balance: i64,
    credited: String,
}

/// Fails as unavailable when the database takes longer than a request may.
pub(super) async fn audit(pool: &PgPool, limit: u32) -> StoreResult<Audit> {
    let mut snapshot = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    snapshot.execute("SET LOCAL statement_timeout = '12s'").await?;
    let rows: Vec<TotalRow> = sqlx::query_as(AssertSqlSafe(format!(
        "{BOOKS} SELECT currency, count(*) AS accounts, sum(credits)::bigint AS credits,
                        sum(balance)::text AS balances, sum(credited)::text AS credited,
                        count(*) FILTER (WHERE balance <> credited) AS differing
                 FROM books GROUP BY currency ORDER BY currency"
    )))
    .fetch_all(&mut *snapshot)
    .await?;
    let without_order: i64 = sqlx::query_scalar(WITHOUT_ORDER).fetch_one(&mut *snapshot).await?;
    let differing = rows.iter().map(|row| row.differing.unsigned_abs()).sum();
    let differences = if differing == 0 { Vec::new() } else { differences(&mut snapshot, limit).await? };
    snapshot.rollback().await?;
    let totals = rows.into_iter().map(TotalRow::read).collect::<StoreResult<_>>()?;
    Ok(Audit { totals, without_order: counted(without_order), differing, differences })
}

async fn differences(snapshot: &mut PgConnection, limit: u32) -> StoreResult<Vec<AuditDifference>> {
    let rows: Vec<DifferenceRow> = sqlx::query_as(AssertSqlSafe(format!(
        "{BOOKS} SELECT account_no, currency, balance, credited::text AS credited
                 FROM books WHERE balance <> credited ORDER BY account_no LIMIT $1"
    )))
    .bind(i64::from(limit))
    .fetch_all(snapshot)
    .await?;
    rows.into_iter().map(DifferenceRow::read).collect()
}

impl TotalRow {
    fn read(self) -> StoreResult<AuditTotal> {
        Ok(AuditTotal {
            currency: self.currency.parse().map_err(corrupt)?,
            accounts: counted(self.accounts),
            credits: counted(self.credits),
            balances: large(&self.balances)?,
            credited: large(&self.credited)?,
        })
    }
}

impl DifferenceRow {
    fn read(self) -> StoreResult<AuditDifference> {
        Ok(AuditDifference {
            account_no: AccountNo::parse(self.account_no).map_err(corrupt)?,
            currency: self.currency.parse().map_err(corrupt)?,
            balance: self.balance,
            credited: large(&self.credited)?,
        })
    }
}
