//! Opening Postgres.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::secret::Secret;

/// How long a caller waits for a free connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Plans are made for the batch at hand. A plan kept from when a table was empty would read it from
/// end to end for ever after; and no statement of ours is worth compiling.
const PLANNING: &str = "SET plan_cache_mode = force_custom_plan; SET jit = off";

/// Opens a pool of at most `max_connections` on `url`. Does not wait for the server: whoever needs
/// it first finds out.
pub fn open_postgres(url: &Secret, application: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose())?.application_name(application);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(PLANNING).await.map(drop) }))
        .connect_lazy_with(options))
}
