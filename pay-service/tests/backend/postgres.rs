//! A Postgres database of the test's own, on the server of `TEST_POSTGRES_URL`.

use std::sync::Arc;

use pay_service::store::{PostgresStore, Store};
use runtime::database::Postgres;
use runtime::testing::temporary_postgres;

pub struct Backend {
    pub store: Arc<dyn Store>,
    connections: Postgres,
}

impl Backend {
    pub async fn fresh() -> Self {
        let connections = Postgres::from(temporary_postgres().await);
        let store = Arc::new(PostgresStore::migrate(connections.clone()).await.expect("migrated"));
        Self { store, connections }
    }

    /// Makes every transaction that inserts into `table` fail, when it commits.
    pub async fn refuse_inserts(&self, table: &str) {
        self.script(format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
             CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON {table} DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse();"
        ))
        .await;
    }

    /// Ends `refuse_inserts`.
    pub async fn allow_inserts(&self) {
        self.script("DROP FUNCTION refuse CASCADE".into()).await;
    }

    async fn script(&self, script: String) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(script))
            .execute(&self.connections.planned)
            .await
            .expect("a valid script");
    }

    /// The database stops answering.
    pub async fn go_down(&self) {
        self.connections.planned.close().await;
        self.connections.steady.close().await;
    }
}
