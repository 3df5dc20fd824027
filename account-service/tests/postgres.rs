//! The suite on Postgres, on the server of `TEST_POSTGRES_URL`, and what processes that share one
//! database could do to each other.

mod suite;
mod support;

use account_service::domain::ExceptionFilter;
use account_service::store::{PostgresStore, Store};
use runtime::database::{PgPool, Postgres};
use runtime::http::Page;
use runtime::testing::counters::rows_read;
use runtime::testing::proxy::Proxy;
use runtime::testing::sessions::until_no_transaction_is_open;
use sqlx::postgres::PgPoolOptions;
use support::database::Database;
use support::{arrival, noon, open_account, paid, tx};

run_suite!(crate::support::database::Database::postgres);

/// Whether a session of this database waits for a lock of one of these kinds.
macro_rules! waiting_for {
    ($kinds:literal) => {
        concat!(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                            AND wait_event_type = 'Lock' AND wait_event IN (",
            $kinds,
            "))"
        )
    };
}

/// Waits until `condition`, which asks the server about its sessions, holds.
async fn until(pool: &PgPool, condition: &'static str) {
    for _ in 0..1000 {
        if sqlx::query_scalar(condition).fetch_one(pool).await.expect("the server answers") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it does not come to this: {condition}");
}

/// A batch has found no account and is held up before it has written its exception; meanwhile the
/// account is opened and the same result credited.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credit_closes_the_exception_of_a_batch_that_was_not_through_when_the_account_was_opened() {
    let database = Database::postgres().await;
    let store = database.store().await;
    let Database::Postgres(Postgres { planned: pool, .. }) = &database else {
        unreachable!("it is Postgres")
    };
    let (known, late) = (arrival(paid(tx(1), "nobody", 1)), arrival(paid(tx(2), "late", 1)));
    store.post(std::slice::from_ref(&known), noon()).await.expect("the store answers");
    let mut gate = pool.begin().await.expect("begins");
    sqlx::query("SELECT FROM exceptions FOR UPDATE").execute(&mut *gate).await.expect("locks");
    let refused = tokio::spawn({
        let (store, batch) = (store.clone(), [known, late.clone()]);
        async move { store.post(&batch, noon()).await }
    });
    until(pool, waiting_for!("'transactionid', 'tuple'")).await;
    let credited = tokio::spawn({
        let store = store.clone();
        async move {
            open_account(&*store, "late").await;
            store.post(&[late], noon()).await
        }
    });
    until(pool, concat!(waiting_for!("'advisory'"), " OR EXISTS (SELECT FROM credits)")).await;
    gate.commit().await.expect("commits");
    refused.await.expect("no panic").expect("the store answers");
    credited.await.expect("no panic").expect("the store answers");
    let filter = ExceptionFilter { tx_no: Some(tx(2)), ..ExceptionFilter::default() };
    let kept = store.exceptions(filter, Page { limit: 10, after: None }).await.expect("the store answers");
    assert!(!kept.iter().any(account_service::domain::Exception::is_open), "{kept:?}");
    assert!(store.credit(tx(2)).await.expect("the store answers").is_some());
}

/// Many accounts with a credit, a request and an exception each, and Postgres is not told.
async fn pour(pool: &PgPool) {
    for statement in [
        "INSERT INTO accounts (account_no, account_name, currency, created_at)
         SELECT 'poured-' || n, 'Poured', 'CNY', now() FROM generate_series(1, 20000) n",
        "INSERT INTO credits (tx_no, account_no, amount, currency, source, credited_at)
         SELECT gen_random_uuid(), account_no, 1, 'CNY', 'queue', now() FROM accounts WHERE account_no LIKE 'poured-%'",
        "INSERT INTO requests (merchant_order_no, account_no, amount, currency, channel, tx_no, status, created_at,
             updated_at)
         SELECT gen_random_uuid(), account_no, 1, 'CNY', 'sandbox', tx_no, 'succeeded', now(), now() FROM credits",
        "INSERT INTO exceptions (id, subject, kind, tx_no, source, detail, recorded, first_seen, last_seen, count, state)
         SELECT gen_random_uuid(), tx_no, 'overflow', tx_no, 'queue', '', '{}', now(), now(), 1, 'open' FROM credits",
    ] {
        sqlx::query(statement).execute(pool).await.expect("rows");
    }
}

/// The hot path keeps its plans, and must not keep bad ones. Counters are a connection's own, so there
/// is one of each kind.
#[tokio::test]
async fn plans_made_while_the_books_were_empty_are_as_good_when_they_are_full() {
    for statistics in ["SELECT 1", "ANALYZE"] {
        hold(statistics).await;
    }
}

/// `statistics` decides whether Postgres knew that nothing was there, or knew nothing.
async fn hold(statistics: &'static str) {
    let url = runtime::testing::temporary_postgres_url().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a server");
    let connections = Postgres::from(pool);
    let store = PostgresStore::migrated(connections.clone()).await.expect("migrates");
    sqlx::query(statistics).execute(&connections.planned).await.expect("statistics");
    let numbers = (0..8).map(|n| format!("account-{n}"));
    for account_no in numbers.clone().take(6) {
        open_account(&store, &account_no).await; // The last two are unknown: exceptions.
    }
    for round in 0..3 {
        let batch =
            numbers.clone().zip(0..).map(|(account_no, n)| arrival(paid(tx(10 * round + n), &account_no, 1)));
        let batch: Vec<_> = batch.collect();
        let before = rows_read(&connections).await;
        store.post(&batch, noon()).await.expect("the store answers");
        let read = rows_read(&connections).await - before;
        assert!(read < 500, "{read} read in round {round}");
        if round == 0 {
            pour(&connections.planned).await;
        }
    }
}

/// Every call after the stall runs on what is left of the one connection.
#[tokio::test]
async fn results_that_are_answered_after_a_batch_was_given_up_in_a_stall_are_credited_once() {
    let url = runtime::testing::temporary_postgres_url().await;
    let (proxy, through) = Proxy::before_url(&url).await;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&through).expect("a URL of Postgres");
    let store = PostgresStore::migrated(pool).await.expect("migrates");
    for (round, stalled) in (0_u128..).zip(["BEGIN", "account-1", "COMMIT"]) {
        let account_no = format!("account-{round}");
        open_account(&store, &account_no).await;
        let result = |n: u128| [arrival(paid(tx(10 * round + n), &account_no, 7))];
        proxy.give_up_at(stalled, store.post(&result(1), noon())).await;
        store.post(&result(2), noon()).await.expect("answered");
        store.post(&result(1), noon()).await.expect("answered when it is redelivered");
    }
    let past = sqlx::PgPool::connect(&url).await.expect("the server answers");
    until_no_transaction_is_open(&past).await;
    let (credits, credited): (i64, i64) = sqlx::query_as("SELECT count(*), sum(amount)::bigint FROM credits")
        .fetch_one(&past)
        .await
        .expect("sums");
    let balances: i64 = sqlx::query_scalar("SELECT sum(balance)::bigint FROM accounts")
        .fetch_one(&past)
        .await
        .expect("a sum");
    assert_eq!((credits, credited, balances), (6, 42, 42));
}
