//! What Postgres says about the sessions of one database.

use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};

/// Waits until no session of this database but `past` is in a transaction; panics when one stays so.
pub async fn until_no_transaction_is_open(past: &PgPool) {
    until(past, "NOT EXISTS (SELECT FROM others WHERE xact_start IS NOT NULL)").await;
}

/// Waits until a session of this database waits for a lock; panics when none does.
pub async fn until_one_waits_for_a_lock(past: &PgPool) {
    until(past, "EXISTS (SELECT FROM others WHERE wait_event_type = 'Lock')").await;
}

/// Waits until no session of this database waits for a lock; panics when one goes on to.
pub async fn until_none_waits_for_a_lock(past: &PgPool) {
    until(past, "NOT EXISTS (SELECT FROM others WHERE wait_event_type = 'Lock')").await;
}

async fn until(past: &PgPool, condition: &'static str) {
    let asked = format!(
        "WITH others AS (SELECT * FROM pg_stat_activity
                         WHERE datname = current_database() AND pid <> pg_backend_pid())
         SELECT {condition}"
    );
    let wait = async {
        while !sqlx::query_scalar::<_, bool>(AssertSqlSafe(asked.as_str()))
            .fetch_one(past)
            .await
            .expect("the server answers")
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect(condition);
}
