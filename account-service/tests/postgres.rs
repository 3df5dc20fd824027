//! The suite on Postgres, on the server of `TEST_POSTGRES_URL`, and what processes that share one
//! database could do to each other.

mod suite;
mod support;

use account_service::domain::ExceptionFilter;
use runtime::http::Page;
use sqlx::PgPool;
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
    let Database::Postgres(pool) = &database else { unreachable!("it is Postgres") };
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
