//! What Postgres says about the sessions of one database.

use std::time::Duration;

use sqlx::PgPool;

/// Waits until no session of this database but `past` is in a transaction; panics when one stays so.
pub async fn until_no_transaction_is_open(past: &PgPool) {
    let open = "SELECT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL)";
    let wait = async {
        while sqlx::query_scalar(open).fetch_one(past).await.expect("the server answers") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("no transaction stays open");
}
