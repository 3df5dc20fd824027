//! The outbox suite on Postgres.

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::postgres::{PostgresOutbox, insert};
use messaging::outbox::{OutboxStore, POSTGRES_TABLE, RowLease};
use runtime::Clock;
use runtime::database::PgPool;
use runtime::testing::proxy::Proxy;
use runtime::testing::sessions::until_no_transaction_is_open;
use runtime::testing::{manual_sources, temporary_postgres, temporary_postgres_url};
use sqlx::postgres::PgPoolOptions;
use support::events;
use support::outbox::{Bench, Write};

struct Writer(PgPool);

#[async_trait]
impl Write for Writer {
    async fn insert(&self, events: &[Event], lease: Option<RowLease>, now: DateTime<Utc>, commit: bool) {
        let mut transaction = self.0.begin().await.expect("begins");
        insert(&mut transaction, events, lease, now).await.expect("written");
        if commit {
            transaction.commit().await.expect("committed");
        }
    }
}

async fn fresh() -> Bench {
    let pool = PgPool::from(temporary_postgres().await);
    sqlx::raw_sql(POSTGRES_TABLE).execute(&pool).await.expect("the table is made");
    Bench::new(Arc::new(PostgresOutbox { pool: pool.clone() }), Box::new(Writer(pool)), Box::new(()))
}

outbox_suite!(fresh);

/// Every call after the stall runs on what is left of the one connection.
#[tokio::test]
async fn events_written_after_a_call_was_given_up_in_a_stall_are_in_the_outbox() {
    let url = temporary_postgres_url().await;
    let (proxy, through) = Proxy::before_url(&url).await;
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&through).expect("a URL of Postgres");
    let pool = PgPool::from(pool);
    sqlx::raw_sql(POSTGRES_TABLE).execute(&pool).await.expect("the table is made");
    let (outbox, writer) = (PostgresOutbox { pool: pool.clone() }, Writer(pool));
    let (sources, clock) = manual_sources(1);
    let now = clock.now();
    let event = || events(&sources, "recharge.succeeded", 1);
    let mut written = 0;
    for stalled in ["BEGIN", "COMMIT"] {
        let given_up = event();
        proxy.give_up_at(stalled, writer.insert(&given_up, None, now, true)).await;
        writer.insert(&event(), None, now, true).await;
        writer.insert(&given_up, None, now, true).await;
        written += 2;
    }
    let lease = Duration::from_secs(30);
    let (lost, token) = (sources.ids.next(), sources.ids.next());
    proxy.give_up_at(lost.as_bytes(), outbox.claim(lost, now, now, lease, 1)).await;
    let past = sqlx::PgPool::connect(&url).await.expect("the server answers");
    until_no_transaction_is_open(&past).await;
    let claimed = outbox.claim(token, now + lease, now + lease, lease, 100).await.expect("answered");
    assert_eq!(claimed.len(), written);
    let ids: Vec<_> = claimed.iter().map(|row| row.id).collect();
    proxy.give_up_at(token.as_bytes(), outbox.finish(token, &ids)).await;
    outbox.finish(token, &ids).await.expect("answered when it is asked again");
    until_no_transaction_is_open(&past).await;
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&past).await.expect("a count");
    assert_eq!(left, 0);
}
