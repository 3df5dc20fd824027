//! The outbox suite on `SQLite`.

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::sqlite::{SqliteOutbox, insert};
use messaging::outbox::{RowLease, SQLITE_TABLE};
use runtime::database::Sqlite;
use runtime::testing::temporary_sqlite;
use support::outbox::{Bench, Write};

struct Writer(Sqlite);

#[async_trait]
impl Write for Writer {
    async fn insert(&self, events: &[Event], lease: Option<RowLease>, now: DateTime<Utc>, commit: bool) {
        let mut transaction = self.0.writer.begin_with("BEGIN IMMEDIATE").await.expect("begins");
        insert(&mut transaction, events, lease, now).await.expect("written");
        if commit {
            transaction.commit().await.expect("committed");
        }
    }
}

async fn fresh() -> Bench {
    let (db, folder) = temporary_sqlite().await;
    sqlx::raw_sql(SQLITE_TABLE).execute(&db.writer).await.expect("the table is made");
    Bench::new(Arc::new(SqliteOutbox { db: db.clone() }), Box::new(Writer(db)), Box::new(folder))
}

outbox_suite!(fresh);
