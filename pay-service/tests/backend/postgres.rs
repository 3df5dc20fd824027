//! A Postgres database of the test's own, on the server of `TEST_POSTGRES_URL`.

use std::sync::Arc;

use pay_service::store::{PostgresStore, Store};
use runtime::testing::temporary_postgres;
use sqlx::PgPool;

pub struct Backend {
    pub store: Arc<dyn Store>,
    pool: PgPool,
}

impl Backend {
    pub async fn fresh() -> Self {
        let pool = temporary_postgres().await;
        let store = Arc::new(PostgresStore::migrate(pool.clone()).await.expect("migrated"));
        Self { store, pool }
    }

    /// Makes every insert into `table` fail from now on.
    pub async fn refuse_inserts(&self, table: &str) {
        let trigger = format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} EXECUTE FUNCTION refuse();"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&self.pool).await.expect("a trigger");
    }

    /// Ends `refuse_inserts`.
    pub async fn allow_inserts(&self, table: &str) {
        let trigger = format!("DROP TRIGGER refuse_{table} ON {table}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(trigger)).execute(&self.pool).await.expect("a trigger less");
    }

    /// The database stops answering.
    pub async fn go_down(&self) {
        self.pool.close().await;
    }
}
