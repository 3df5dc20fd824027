//! Posting a batch: read and lock what it names, let the domain decide, write what changed.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use runtime::database::{PgPool, StoreResult};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{AccountRow, CreditRow, RequestRow, exceptions, unknown_accounts};
use crate::domain::{
    Account, Arrival, Books, Changes, Contradiction, Credit, Ledger, Recharge, RequestState, Verdict,
};
use crate::store::{ANSWERED, Named, POSTED};

/// One transaction; one statement per table.
pub(super) async fn post(
    pool: &PgPool,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Verdict>> {
    let mut transaction = pool.begin().await?;
    let posted = async {
        let mut ledger = read(&mut transaction, &Named::by_results(arrivals)).await?;
        let verdicts = ledger.post_all(arrivals, now);
        write(&mut transaction, &ledger.into_changes(), now).await?;
        Ok(verdicts)
    };
    let posted = posted.await;
    transaction.conclude(posted).await
}

/// The same without looking for other credits of the orders, which are rare: the index refuses to credit an
/// order twice. `None`, and nothing is posted, when a result is refused: only the whole look tells why.
pub(super) async fn post_new(
    pool: &PgPool,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> StoreResult<Option<Vec<Verdict>>> {
    let mut transaction = pool.begin().await?;
    let named = Named { paid_orders: Vec::new(), ..Named::by_results(arrivals) };
    let posted = async {
        let mut ledger = read(&mut transaction, &named).await?;
        let verdicts = ledger.post_all(arrivals, now);
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Refused(_))) {
            return Ok(None);
        }
        write(&mut transaction, &ledger.into_changes(), now).await?;
        Ok(Some(verdicts))
    };
    let posted = posted.await;
    transaction.conclude(posted).await
}

/// Accounts are locked first and in order, so that batches of several processes queue up instead of
/// deadlocking, and credits are read under those locks. The order is that of an expression, which no
/// index has: else a plan kept from an empty table would walk a whole index in its order.
pub(super) async fn read(connection: &mut PgConnection, named: &Named) -> StoreResult<Ledger> {
    let named_accounts: Vec<&str> = named.accounts.iter().map(String::as_str).collect();
    let mut accounts = lock_accounts(connection, &named_accounts).await?;
    if accounts.len() < named_accounts.len() {
        let known: HashSet<&str> = accounts.iter().map(|account| account.account_no.as_str()).collect();
        let missing: Vec<&str> = named_accounts.into_iter().filter(|no| !known.contains(no)).collect();
        unknown_accounts::hold(connection, &missing).await?;
        accounts.extend(lock_accounts(connection, &missing).await?);
    }
    let requests: Vec<RequestRow> = sqlx::query_as(
        "SELECT * FROM requests WHERE merchant_order_no = ANY($1) OR tx_no = ANY($2)
         ORDER BY merchant_order_no::text FOR UPDATE",
    )
    .bind(&named.orders)
    .bind(&named.tx_nos)
    .fetch_all(&mut *connection)
    .await?;
    let credits: Vec<CreditRow> = sqlx::query_as(
        "SELECT * FROM credits WHERE tx_no = ANY($1)
         UNION ALL SELECT * FROM credits WHERE merchant_order_no = ANY($2) AND credited_despite IS NULL",
    )
    .bind(&named.tx_nos)
    .bind(&named.paid_orders)
    .fetch_all(&mut *connection)
    .await?;
    Ok(Ledger::new(Books {
        accounts,
        requests: requests.into_iter().map(RequestRow::read).collect::<StoreResult<_>>()?,
        credits: credits.into_iter().map(CreditRow::read).collect::<StoreResult<_>>()?,
        exceptions: exceptions::about(connection, &named.subjects).await?,
    }))
}

async fn lock_accounts(connection: &mut PgConnection, numbers: &[&str]) -> StoreResult<Vec<Account>> {
    let rows: Vec<AccountRow> = sqlx::query_as(
        "SELECT * FROM accounts WHERE account_no = ANY($1) ORDER BY account_no || '' FOR NO KEY UPDATE",
    )
    .bind(numbers)
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(AccountRow::read).collect()
}

pub(super) async fn write(
    connection: &mut PgConnection,
    changes: &Changes,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if !changes.credits.is_empty() {
        insert_credits(connection, &changes.credits).await?;
    }
    if !changes.orders.is_empty() {
        set_orders(connection, &changes.orders).await?;
    }
    if !changes.requests.is_empty() {
        update_requests(connection, &changes.requests, &POSTED, now).await?;
    }
    if !changes.exceptions.is_empty() {
        exceptions::write(connection, &changes.exceptions).await?;
    }
    Ok(())
}

/// Moves the balances as well, by the table's trigger. Fails as a whole when one of the `tx_no`s or
/// orders was credited meanwhile.
async fn insert_credits(connection: &mut PgConnection, credits: &[Credit]) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO credits (tx_no, account_no, amount, currency, source, event_id, credited_at,
                              merchant_order_no, credited_despite)
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[],
                              $7::timestamptz[], $8::text[], $9::uuid[])",
    )
    .bind(credits.iter().map(|c| c.tx_no).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.account_no.as_str()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.amount.minor_units()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.currency.to_string()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.source.as_str()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.event_id.clone()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.credited_at).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.merchant_order_no.as_deref()).collect::<Vec<_>>())
    .bind(credits.iter().map(|c| c.credited_despite).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Of credits of an earlier version. Fails as a whole when one of the orders was credited meanwhile.
async fn set_orders(connection: &mut PgConnection, orders: &[(Uuid, String)]) -> StoreResult<()> {
    sqlx::query(
        "UPDATE credits SET merchant_order_no = paid.merchant_order_no
         FROM UNNEST($1::uuid[], $2::text[]) AS paid (tx_no, merchant_order_no)
         WHERE credits.tx_no = paid.tx_no AND credits.merchant_order_no IS NULL",
    )
    .bind(orders.iter().map(|(tx_no, _)| *tx_no).collect::<Vec<_>>())
    .bind(orders.iter().map(|(_, order)| order.as_str()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// With a status of `settling` there is nothing left to ask. The requests are locked. `OFFSET 0` keeps
/// Postgres from making a join of the look for each, which it could plan otherwise.
async fn update_requests(
    connection: &mut PgConnection,
    learnt: &[(Uuid, RequestState)],
    settling: &[&str],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "UPDATE requests SET tx_no = learnt.tx_no, status = learnt.status, updated_at = $4,
                ask_at = CASE WHEN learnt.status = ANY($5) THEN NULL ELSE ask_at END,
                ask_token = CASE WHEN learnt.status = ANY($5) THEN NULL ELSE ask_token END
         FROM UNNEST($1::uuid[], $2::uuid[], $3::text[]) AS learnt (merchant_order_no, tx_no, status),
             LATERAL (SELECT ctid AS place FROM requests
                      WHERE merchant_order_no = learnt.merchant_order_no OFFSET 0) found
         WHERE requests.ctid = found.place",
    )
    .bind(learnt.iter().map(|(order, _)| *order).collect::<Vec<_>>())
    .bind(learnt.iter().map(|(_, state)| state.tx_no()).collect::<Vec<_>>())
    .bind(learnt.iter().map(|(_, state)| state.as_str()).collect::<Vec<_>>())
    .bind(now)
    .bind(settling)
    .execute(connection)
    .await?;
    Ok(())
}

/// What pay-service answered when it was asked for the recharge; credits nothing.
pub(super) async fn note_answer(
    pool: &PgPool,
    merchant_order_no: Uuid,
    answer: &Recharge,
    now: DateTime<Utc>,
) -> StoreResult<Result<(), Contradiction>> {
    let mut transaction = pool.begin().await?;
    let noted = note_within(&mut transaction, merchant_order_no, answer, now).await;
    transaction.conclude(noted).await
}

async fn note_within(
    connection: &mut PgConnection,
    merchant_order_no: Uuid,
    answer: &Recharge,
    now: DateTime<Utc>,
) -> StoreResult<Result<(), Contradiction>> {
    let row: Option<RequestRow> =
        sqlx::query_as("SELECT * FROM requests WHERE merchant_order_no = $1 FOR UPDATE")
            .bind(merchant_order_no)
            .fetch_optional(&mut *connection)
            .await?;
    let Some(request) = row.map(RequestRow::read).transpose()? else { return Ok(Ok(())) };
    match request.learn(answer) {
        Ok(state) => {
            update_requests(connection, &[(merchant_order_no, state)], &ANSWERED, now).await?;
            Ok(Ok(()))
        }
        Err(contradiction) => Ok(Err(contradiction)),
    }
}
