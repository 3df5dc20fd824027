//! Results for accounts that do not exist, and the opening of accounts, kept apart: a result is refused
//! and its exception committed wholly before the account is opened, or it finds the account. Else the
//! credit that follows the opening could miss the exception that it is to close.

use runtime::database::StoreResult;
use sqlx::PgConnection;

use crate::domain::AccountNo;

/// The advisory locks of these: this class, and the account number's hash. Few of them, so that a
/// batch of strangers does not fill the server's table of locks.
const CLASS: i32 = 0x4143_4354;
const MASK: i32 = 255;

/// Held to the end of its transaction by a batch that found no account of these numbers; look for
/// them again under it. Any number of batches hold it at once.
pub(super) async fn hold(connection: &mut PgConnection, missing: &[&str]) -> StoreResult<()> {
    sqlx::query(
        "SELECT pg_advisory_xact_lock_shared($1, lock) FROM (
             SELECT DISTINCT hashtext(account_no) & $2 AS lock FROM UNNEST($3::text[]) AS account_no ORDER BY 1
         ) AS locks",
    )
    .bind(CLASS)
    .bind(MASK)
    .bind(missing)
    .execute(connection)
    .await?;
    Ok(())
}

/// Held by whoever opens the account; waits for those batches.
pub(super) async fn keep_out(connection: &mut PgConnection, account_no: &AccountNo) -> StoreResult<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($3) & $2)")
        .bind(CLASS)
        .bind(MASK)
        .bind(account_no.as_str())
        .execute(connection)
        .await?;
    Ok(())
}
