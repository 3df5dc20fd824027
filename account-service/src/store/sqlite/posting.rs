//! Posting a batch: read what it names, let the domain decide, write what changed, all inside one
//! immediate transaction, which keeps every other writer out.

use chrono::{DateTime, Utc};
use runtime::database::{Sqlite, StoreResult, hex, hex_list};
use serde_json::json;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::{AccountRow, CreditRow, RequestRow, exceptions};
use crate::domain::{
    Arrival, Books, Changes, Contradiction, Credit, Ledger, Recharge, RequestState, Verdict,
};
use crate::store::{ANSWERED, Named, POSTED};

/// One statement per table.
pub(super) async fn post(
    database: &Sqlite,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Verdict>> {
    let mut transaction = database.writer.begin_with("BEGIN IMMEDIATE").await?;
    let posted = post_within(&mut transaction, arrivals, now).await;
    transaction.conclude(posted).await
}

async fn post_within(
    connection: &mut SqliteConnection,
    arrivals: &[Arrival],
    now: DateTime<Utc>,
) -> StoreResult<Vec<Verdict>> {
    let mut ledger = read(connection, &Named::by_results(arrivals)).await?;
    let verdicts = ledger.post_all(arrivals, now);
    write(connection, &ledger.into_changes(), now).await?;
    Ok(verdicts)
}

pub(super) async fn read(connection: &mut SqliteConnection, named: &Named) -> StoreResult<Ledger> {
    let accounts: Vec<AccountRow> =
        sqlx::query_as("SELECT * FROM accounts WHERE account_no IN (SELECT value FROM json_each(?1))")
            .bind(json!(named.accounts).to_string())
            .fetch_all(&mut *connection)
            .await?;
    let tx_nos = hex_list(named.tx_nos.iter().copied());
    let requests: Vec<RequestRow> = sqlx::query_as(
        "SELECT * FROM requests WHERE merchant_order_no IN (SELECT unhex(value) FROM json_each(?1))
         UNION SELECT * FROM requests WHERE tx_no IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(hex_list(named.orders.iter().copied()))
    .bind(&tx_nos)
    .fetch_all(&mut *connection)
    .await?;
    let credits: Vec<CreditRow> = sqlx::query_as(
        "SELECT * FROM credits WHERE tx_no IN (SELECT unhex(value) FROM json_each(?1))
         UNION ALL SELECT * FROM credits
                   WHERE merchant_order_no IN (SELECT value FROM json_each(?2)) AND credited_despite IS NULL",
    )
    .bind(tx_nos)
    .bind(json!(named.paid_orders).to_string())
    .fetch_all(&mut *connection)
    .await?;
    Ok(Ledger::new(Books {
        accounts: accounts.into_iter().map(AccountRow::read).collect::<StoreResult<_>>()?,
        requests: requests.into_iter().map(RequestRow::read).collect::<StoreResult<_>>()?,
        credits: credits.into_iter().map(CreditRow::read).collect::<StoreResult<_>>()?,
        exceptions: exceptions::about(connection, &named.subjects).await?,
    }))
}

pub(super) async fn write(
    connection: &mut SqliteConnection,
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

/// Moves the balances as well, by the table's trigger.
async fn insert_credits(connection: &mut SqliteConnection, credits: &[Credit]) -> StoreResult<()> {
    let row = |credit: &Credit| {
        json!([
            hex(credit.tx_no),
            credit.account_no.as_str(),
            credit.amount.minor_units(),
            credit.currency.as_str(),
            credit.source.as_str(),
            credit.event_id,
            credit.credited_at.timestamp_micros(),
            credit.merchant_order_no,
            credit.credited_despite.map(hex)
        ])
    };
    let rows: Vec<_> = credits.iter().map(row).collect();
    sqlx::query(
        "INSERT INTO credits (tx_no, account_no, amount, currency, source, event_id, credited_at,
                              merchant_order_no, credited_despite)
         SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                value ->> 7, unhex(value ->> 8)
         FROM json_each(?1)",
    )
    .bind(json!(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// Of credits of an earlier version.
async fn set_orders(connection: &mut SqliteConnection, orders: &[(Uuid, String)]) -> StoreResult<()> {
    let rows: Vec<_> = orders.iter().map(|(tx_no, order)| json!([hex(*tx_no), order])).collect();
    sqlx::query(
        "UPDATE credits SET merchant_order_no = paid.value ->> 1 FROM json_each(?1) AS paid
         WHERE tx_no = unhex(paid.value ->> 0) AND merchant_order_no IS NULL",
    )
    .bind(json!(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// With a status of `settling` there is nothing left to ask.
async fn update_requests(
    connection: &mut SqliteConnection,
    learnt: &[(Uuid, RequestState)],
    settling: &[&str],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let row =
        |(order, state): &(Uuid, RequestState)| json!([hex(*order), state.tx_no().map(hex), state.as_str()]);
    let rows: Vec<_> = learnt.iter().map(row).collect();
    sqlx::query(
        "UPDATE requests SET tx_no = unhex(learnt.value ->> 1), status = learnt.value ->> 2, updated_at = ?2,
                ask_at = iif(learnt.value ->> 2 IN (SELECT value FROM json_each(?3)), NULL, ask_at),
                ask_token = iif(learnt.value ->> 2 IN (SELECT value FROM json_each(?3)), NULL, ask_token)
         FROM json_each(?1) AS learnt WHERE merchant_order_no = unhex(learnt.value ->> 0)",
    )
    .bind(json!(rows).to_string())
    .bind(now.timestamp_micros())
    .bind(json!(settling).to_string())
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
    let noted = note_within(&mut transaction, merchant_order_no, answer, now).await;
    transaction.conclude(noted).await
}

async fn note_within(
    connection: &mut SqliteConnection,
    merchant_order_no: Uuid,
    answer: &Recharge,
    now: DateTime<Utc>,
) -> StoreResult<Result<(), Contradiction>> {
    let row: Option<RequestRow> = sqlx::query_as("SELECT * FROM requests WHERE merchant_order_no = ?1")
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
