//! Opening Postgres.

use std::str::FromStr;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::secret::Secret;

/// How long a caller waits for a free connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Plans are made for the values at hand. A plan kept from when a table was empty would read it from
/// end to end for ever after; and no statement of ours is worth compiling.
const PLANNED: &str = "SET plan_cache_mode = force_custom_plan; SET jit = off";

/// A plan is made once and kept, and can only be the one that stays right however tables grow: from
/// each value by an index to its row.
const STEADY: &str = "SET plan_cache_mode = force_generic_plan; SET jit = off; SET enable_seqscan = off; \
                      SET enable_hashjoin = off; SET enable_mergejoin = off";

/// Connections to one database, in two pools.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// For searches and whatever else depends on its values: each statement is planned when it runs.
    pub planned: PgPool,
    /// For the hot path, whose statements are short, known by heart and all of one kind: they find few
    /// rows, each by an index. Planning them would take longer than running them.
    pub steady: PgPool,
}

/// Opens at most `max_connections` on `url`: half of them, and one at least, for searches, the rest, and
/// one at least, for the hot path. Does not wait for the server: whoever needs it first finds out.
///
/// # Errors
/// When `url` is none of a Postgres.
pub fn open_postgres(url: &Secret, application: &str, max_connections: u32) -> Result<Postgres, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose())?.application_name(application);
    let searches = (max_connections / 2).max(1);
    let rest = max_connections.saturating_sub(searches).max(1);
    let pool = |max_connections| {
        PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
    };
    Ok(Postgres {
        planned: beginning_with(PLANNED, pool(searches)).connect_lazy_with(options.clone()),
        steady: beginning_with(STEADY, pool(rest)).connect_lazy_with(options),
    })
}

/// The same pool, each of whose connections begins with `settings`.
fn beginning_with(settings: &'static str, pool: PgPoolOptions) -> PgPoolOptions {
    pool.after_connect(move |connection, _| {
        Box::pin(async move { connection.execute(settings).await.map(drop) })
    })
}

/// A pool as it comes, as tests open them, and beside it one for the hot path.
impl From<PgPool> for Postgres {
    fn from(planned: PgPool) -> Self {
        let options = PgPoolOptions::new().max_connections(planned.options().get_max_connections());
        let steady =
            beginning_with(STEADY, options).connect_lazy_with(planned.connect_options().as_ref().clone());
        Self { planned, steady }
    }
}
