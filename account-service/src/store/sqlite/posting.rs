//! Posting a batch: read what it names, let the domain decide, write what changed, all inside one
//! immediate transaction, which keeps every other writer out.

use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult};
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{AccountRow, CreditRow, RequestRow};
use crate::domain::{
    Account, Arrival, Changes, Contradiction, Credit, Ledger, Recharge, Request, RequestState, Verdict,
};
use crate::store::{Named, all_moved};

pub(super) async fn post(
    database: &Sqlite,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Verdict>> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let mut ledger = read(&mut transaction, &Named::by(arrivals)).await?;
    let verdicts = ledger.post_all(arrivals, now);
    write(&mut transaction, &ledger.into_changes(), now).await?;
    transaction.commit().await?;
    Ok(verdicts)
}

async fn read(connection: &mut SqliteConnection, named: &Named) -> StoreResult<Ledger> {
    let mut accounts: Vec<Account> = Vec::new();
    for account_no in &named.accounts {
        let row: Option<AccountRow> = sqlx::query_as("SELECT * FROM accounts WHERE account_no = ?1")
            .bind(account_no)
            .fetch_optional(&mut *connection)
            .await?;
        accounts.extend(row.map(AccountRow::read).transpose()?);
    }
    let mut requests: Vec<Request> = Vec::new();
    for order in &named.orders {
        requests.extend(request(connection, *order).await?);
    }
    let mut credits: Vec<Credit> = Vec::new();
    for tx_no in &named.tx_nos {
        let row: Option<RequestRow> = sqlx::query_as("SELECT * FROM requests WHERE tx_no = ?1")
            .bind(tx_no)
            .fetch_optional(&mut *connection)
            .await?;
        requests.extend(row.map(RequestRow::read).transpose()?);
        let row: Option<CreditRow> = sqlx::query_as("SELECT * FROM credits WHERE tx_no = ?1")
            .bind(tx_no)
            .fetch_optional(&mut *connection)
            .await?;
        credits.extend(row.map(CreditRow::read).transpose()?);
    }
    Ok(Ledger::new(accounts, requests, credits))
}

async fn request(connection: &mut SqliteConnection, order: Uuid) -> StoreResult<Option<Request>> {
    let row: Option<RequestRow> = sqlx::query_as("SELECT * FROM requests WHERE merchant_order_no = ?1")
        .bind(order)
        .fetch_optional(connection)
        .await?;
    row.map(RequestRow::read).transpose()
}

async fn write(connection: &mut SqliteConnection, changes: &Changes, now: DateTime<Utc>) -> StoreResult<()> {
    for credit in &changes.credits {
        insert_credit(connection, credit).await?;
    }
    let mut moved = 0;
    for (account_no, delta) in &changes.deltas {
        let update = sqlx::query("UPDATE accounts SET balance = balance + ?2 WHERE account_no = ?1")
            .bind(account_no.as_str())
            .bind(delta);
        moved += update.execute(&mut *connection).await?.rows_affected();
    }
    all_moved(changes, moved)?;
    for (order, state) in &changes.requests {
        update_request(connection, *order, *state, now).await?;
    }
    Ok(())
}

async fn insert_credit(connection: &mut SqliteConnection, credit: &Credit) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO credits (tx_no, account_no, amount, currency, source, event_id, credited_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(credit.tx_no)
    .bind(credit.account_no.as_str())
    .bind(credit.amount.minor_units())
    .bind(credit.currency.as_str())
    .bind(credit.source.as_str())
    .bind(&credit.event_id)
    .bind(credit.credited_at.timestamp_micros())
    .execute(connection)
    .await?;
    Ok(())
}

async fn update_request(
    connection: &mut SqliteConnection,
    order: Uuid,
    state: RequestState,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query("UPDATE requests SET tx_no = ?2, status = ?3, updated_at = ?4 WHERE merchant_order_no = ?1")
        .bind(order)
        .bind(state.tx_no())
        .bind(state.as_str())
        .bind(now.timestamp_micros())
        .execute(connection)
        .await?;
    Ok(())
}

/// What pay-service answered when it was asked for the recharge; credits nothing.
pub(super) async fn note_answer(
    database: &Sqlite,
    merchant_order_no: Uuid,
    answer: &Recharge,
    now: DateTime<Utc>,
) -> StoreResult<Result<(), Contradiction>> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let Some(request) = request(&mut transaction, merchant_order_no).await? else { return Ok(Ok(())) };
    match request.learn(answer) {
        Ok(state) => update_request(&mut transaction, merchant_order_no, state, now).await?,
        Err(contradiction) => return Ok(Err(contradiction)),
    }
    transaction.commit().await?;
    Ok(Ok(()))
}
