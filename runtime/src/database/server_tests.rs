//! Pools on a Postgres behind a proxy that stalls it, ends its connections, or makes them half-open.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::pool::{Limits, PgPool};
use super::{DatabaseUrl, StoreError, idle, open_postgres, outage_class};
use crate::testing::proxy::Proxy;
use crate::testing::sessions::{until_no_transaction_is_open, until_one_waits_for_a_lock};
use crate::testing::temporary_postgres_url;

const SHORT: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(20);

/// A pool behind a proxy, and a connection past it that looks at the same database.
struct Ground {
    proxy: Proxy,
    pool: PgPool,
    direct: sqlx::PgPool,
}

/// As `open_postgres` makes them, but each connection is tested after any time without use.
async fn ground(connections: u32) -> Ground {
    let url = temporary_postgres_url().await;
    let (proxy, through) = Proxy::before_url(&url).await;
    let direct = sqlx::PgPool::connect(&url).await.expect("the server answers");
    sqlx::raw_sql("CREATE TABLE books (entry bigint PRIMARY KEY)").execute(&direct).await.expect("made");
    let options: PgConnectOptions = through.parse().expect("a URL of Postgres");
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .before_acquire(|connection, idle| {
            Box::pin(async move { Ok(idle::answers(connection, idle.idle_for).await) })
        })
        .connect_lazy_with(options);
    let mut pool = PgPool::from(pool);
    pool.limits = Limits { acquire: PATIENCE, statement: PATIENCE, returning: SHORT, ending: SHORT };
    Ground { proxy, pool, direct }
}

impl Ground {
    async fn write(&self, entry: i64) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO books VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(entry)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    async fn write_in_a_transaction(&self, entry: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.pool.begin().await?;
        sqlx::query("INSERT INTO books SELECT $1").bind(entry).execute(&mut *transaction).await?;
        transaction.commit().await
    }

    /// What everybody but the pool sees.
    async fn entries(&self) -> Vec<i64> {
        let entries = sqlx::query_scalar("SELECT entry FROM books ORDER BY entry");
        entries.fetch_all(&self.direct).await.expect("the server answers")
    }

    /// Opens all of the pool's connections and leaves them idle.
    async fn open_all(&self, connections: usize) {
        let mut leases = Vec::new();
        for _ in 0..connections {
            leases.push(self.pool.acquire().await.expect("a connection"));
        }
        leases.into_iter().for_each(super::Lease::release);
        self.until_idle().await;
    }

    async fn until_idle(&self) {
        let wait = async {
            while self.pool.busy() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("each connection is returned or closed");
    }
}

#[tokio::test]
async fn what_is_written_after_a_statement_was_given_up_is_committed() {
    let ground = ground(1).await;
    let mut acknowledged = Vec::new();
    for (round, stalled) in (0..).zip(["BEGIN", "SELECT $1", "COMMIT"]) {
        ground.proxy.give_up_at(stalled, ground.write_in_a_transaction(10 * round)).await;
        for entry in 10 * round + 1..10 * round + 4 {
            ground.write(entry).await.expect("the server answers");
            acknowledged.push(entry);
        }
        assert_eq!(ground.pool.given_up(), usize::try_from(round).expect("small") + 1, "{stalled}");
    }
    let alone = sqlx::query("INSERT INTO books VALUES (99)").execute(&ground.pool);
    ground.proxy.give_up_at("VALUES (99)", alone).await;
    ground.write(100).await.expect("the server answers");
    acknowledged.push(100);
    until_no_transaction_is_open(&ground.direct).await;
    let entries = ground.entries().await;
    assert!(
        acknowledged.iter().all(|entry| entries.contains(entry)),
        "{acknowledged:?}, but only {entries:?}"
    );
    assert!(!entries.contains(&0) && !entries.contains(&10), "given up before the commit: {entries:?}");
}

#[tokio::test]
async fn a_transaction_that_is_dropped_writes_nothing_and_its_connection_serves_no_more() {
    let ground = ground(1).await;
    let mut transaction = ground.pool.begin().await.expect("begins");
    sqlx::query("INSERT INTO books VALUES (1)").execute(&mut *transaction).await.expect("written");
    drop(transaction);
    ground.write(2).await.expect("the server answers");
    until_no_transaction_is_open(&ground.direct).await;
    assert_eq!((ground.entries().await, ground.pool.given_up()), (vec![2], 1));
}

#[tokio::test]
async fn a_refused_row_keeps_its_connection() {
    let ground = ground(1).await;
    let insert = || sqlx::query("INSERT INTO books VALUES (1)").execute(&ground.pool);
    insert().await.expect("the first");
    assert!(insert().await.expect_err("the second").as_database_error().is_some());
    assert_eq!(ground.pool.given_up(), 0);
}

#[tokio::test]
async fn a_transaction_with_a_refused_row_is_rolled_back_and_keeps_its_connection() {
    let ground = ground(1).await;
    let session = async || {
        let pid: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&ground.pool).await.expect("a number");
        pid
    };
    ground.write(1).await.expect("the first");
    let before = session().await;
    let mut transaction = ground.pool.begin().await.expect("begins");
    let done = async {
        for entry in [2, 1] {
            let insert = sqlx::query("INSERT INTO books VALUES ($1)").bind(entry);
            insert.execute(&mut *transaction).await?;
        }
        Ok(())
    };
    let refused = done.await;
    let refused = transaction.conclude(refused).await;
    assert!(matches!(refused, Err(StoreError::Defect(_))), "{refused:?}");
    assert_eq!((session().await, ground.pool.given_up()), (before, 0));
    assert_eq!(ground.entries().await, [1]);
}

#[tokio::test]
async fn a_statement_that_was_given_up_keeps_its_slot_while_it_goes_on() {
    let mut ground = ground(1).await;
    ground.pool.limits = Limits { acquire: SHORT, ending: PATIENCE, ..ground.pool.limits };
    let mut locking = ground.direct.begin().await.expect("begins");
    sqlx::query("LOCK TABLE books").execute(&mut *locking).await.expect("nobody holds it");
    tokio::select! {
        written = ground.write(1) => panic!("the table is locked: {written:?}"),
        () = until_one_waits_for_a_lock(&ground.direct) => {}
    }
    let refused = ground.write(2).await.expect_err("the slot is taken").to_string();
    assert!(refused.contains("all 1 connections are in use"), "{refused}");
    locking.rollback().await.expect("let go");
    ground.until_idle().await;
    ground.write(3).await.expect("on a new connection");
}

#[tokio::test]
async fn idle_connections_that_are_half_open_or_were_closed_are_replaced_and_no_caller_notices() {
    let ground = ground(3).await;
    for (entry, end) in (1..).zip([Proxy::half_open, Proxy::cut]) {
        ground.open_all(3).await;
        end(&ground.proxy);
        for again in 0..3 {
            ground.write(10 * entry + again).await.expect("on a new connection");
        }
    }
    assert_eq!(ground.pool.given_up(), 0);
}

#[tokio::test]
async fn half_open_connections_in_use_leave_the_pool_within_the_limits() {
    let mut ground = ground(2).await;
    ground.pool.limits.statement = SHORT;
    let returned = ground.pool.acquire().await.expect("a connection");
    let given_up = ground.pool.acquire().await.expect("a connection");
    ground.proxy.half_open();
    returned.release();
    drop(given_up);
    ground.until_idle().await;
    ground.pool.limits.statement = PATIENCE;
    ground.write(1).await.expect("on a new connection");
}

#[tokio::test]
async fn a_statement_that_is_never_answered_ends_at_its_limit() {
    let mut ground = ground(1).await;
    ground.write(1).await.expect("the server answers");
    ground.until_idle().await;
    ground.pool.limits.statement = SHORT;
    ground.proxy.hold_answers();
    let silent = StoreError::from(ground.write(2).await.expect_err("no answer"));
    assert!(matches!(silent, StoreError::Unavailable(_)), "{silent:?}");
    ground.proxy.resume();
    ground.pool.limits.statement = PATIENCE;
    ground.write(3).await.expect("on a new connection");
    assert!(ground.entries().await.contains(&3));
}

#[tokio::test]
async fn a_caller_without_a_connection_learns_the_cause() {
    let mut ground = ground(1).await;
    ground.pool.limits.acquire = Duration::from_millis(1500);
    let class = |error: sqlx::Error| (error.to_string(), outage_class(&error));
    let held = ground.pool.acquire().await.expect("a connection");
    let (text, kind) = class(ground.write(1).await.expect_err("none is free"));
    assert!(text.contains("all 1 connections are in use"), "{text}");
    assert_eq!(kind, Some("all connections are in use"));
    held.release();
    ground.proxy.go_down();
    ground.until_idle().await;
    let (text, kind) = class(ground.write(1).await.expect_err("it is down"));
    assert!(kind.is_some(), "{text}");
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = unused.local_addr().expect("bound").port();
    drop(unused);
    let url = format!("postgres://shop:hush@127.0.0.1:{port}/books");
    let DatabaseUrl::Postgres(url) = url.parse().expect("a URL") else { panic!("it is Postgres") };
    let mut refused = open_postgres(&url, "test", 2).expect("a URL of Postgres").steady;
    refused.limits.acquire = Duration::from_millis(1500);
    let (text, kind) = class(refused.begin().await.err().expect("refused"));
    assert!(text.contains("onnection refused") && !text.contains("hush"), "{text}");
    assert_eq!(kind, Some("connection refused"));
}
