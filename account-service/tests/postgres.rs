//! The suite on Postgres, on the server of `TEST_POSTGRES_URL`, and what processes that share one
//! database could do to each other.

mod suite;
mod support;

use std::sync::Arc;
use std::time::Duration;

use account_service::domain::ExceptionFilter;
use account_service::store::{PostgresStore, Store};
use chrono::TimeDelta;
use runtime::Clock;
use runtime::background::{Progress, Worker};
use runtime::database::{PgPool, Postgres};
use runtime::http::Page;
use runtime::testing::counters::rows_read;
use runtime::testing::proxy::Proxy;
use runtime::testing::sessions::{until_no_transaction_is_open, until_one_waits_for_a_lock};
use sqlx::postgres::PgPoolOptions;
use support::database::Database;
use support::service::World;
use support::{arrival, noon, open_account, paid, pay_service, recorded, tx};

run_suite!(crate::support::database::Database::postgres);

/// Less than the time after which a store call is given up.
const PATIENCE: Duration = Duration::from_secs(10);

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
        tokio::time::sleep(Duration::from_millis(10)).await;
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

/// The backend that serves the only connection of a pool.
async fn backend(pool: &PgPool) -> i32 {
    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(pool).await.expect("a number")
}

/// A collision is expected where processes share the books, so it must not cost a connection.
#[tokio::test]
async fn a_batch_that_collides_with_another_process_is_posted_again_on_the_same_connection() {
    let url = runtime::testing::temporary_postgres_url().await;
    let pool = PgPoolOptions::new().max_connections(1).connect(&url).await.expect("a server");
    let connections = Postgres::from(pool);
    let store = PostgresStore::migrated(connections.clone()).await.expect("migrates");
    for account_no in ["A", "B"] {
        open_account(&store, account_no).await;
    }
    let before = backend(&connections.steady).await;
    // Of another account, so that no lock keeps the two apart but that of the `tx_no`.
    let other = sqlx::PgPool::connect(&url).await.expect("the server answers");
    let mut credited = other.begin().await.expect("begins");
    let credit = "INSERT INTO credits (tx_no, account_no, amount, currency, source, credited_at)
                  SELECT $1, account_no, 1, currency, 'queue', now() FROM accounts WHERE account_no = 'B'";
    sqlx::query(credit).bind(tx(1)).execute(&mut *credited).await.expect("credited");
    let batch = [arrival(paid(tx(1), "A", 1))];
    let posted = async { store.post(&batch, noon()).await.expect("the store answers") };
    let commits = async {
        until_one_waits_for_a_lock(&other).await;
        credited.commit().await.expect("commits");
    };
    tokio::join!(posted, commits);
    assert_eq!(
        store.credit(tx(1)).await.expect("the store answers").expect("it is there").account_no.as_str(),
        "B"
    );
    assert_eq!((backend(&connections.steady).await, connections.steady.given_up()), (before, 0));
}

/// The lock of another session is waited for neither by the clock nor by what else is ahead.
#[tokio::test]
async fn a_request_that_another_session_holds_is_passed_over_and_brought_back_a_minute_later() {
    let database = Database::postgres().await;
    let Database::Postgres(Postgres { planned: pool, .. }) = &database else {
        unreachable!("it is Postgres")
    };
    let pool = pool.clone();
    let world = World::new(database).await;
    let mut follow_clock = world.another(2, Arc::new(pay_service::client("http://127.0.0.1:9"))).follow_clock;
    open_account(&*world.store, "A").await;
    let later = world.clock.now() + TimeDelta::days(30);
    for n in 1..=2 {
        recorded(&*world.store, tx(n), 100, later).await;
    }
    let ahead = async || {
        let count = sqlx::query_scalar("SELECT count(*) FROM requests WHERE ask_at >= $1").bind(later);
        let count: i64 = count.fetch_one(&pool).await.expect("a count");
        count
    };
    let mut follow = async || while follow_clock.run_once().await.expect("a round") == Progress::More {};
    let mut holding = pool.begin().await.expect("begins");
    let hold = sqlx::query("SELECT FROM requests WHERE merchant_order_no = $1 FOR UPDATE").bind(tx(1));
    hold.execute(&mut *holding).await.expect("locks");
    tokio::time::timeout(PATIENCE, follow()).await.expect("it waits for no lock");
    assert_eq!((world.store.last_seen().await.expect("answers").is_some(), ahead().await), (true, 1));
    holding.rollback().await.expect("let go");
    world.clock.advance(Duration::from_mins(1));
    follow().await;
    assert_eq!(ahead().await, 0);
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
