//! The outbox suite on Postgres.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::postgres::{PostgresOutbox, insert};
use messaging::outbox::{POSTGRES_TABLE, RowLease};
use runtime::database::PgPool;
use runtime::testing::temporary_postgres;
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
