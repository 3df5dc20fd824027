//! Opening Postgres.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;

use super::postgres_url::Servers;
use super::primary::Follower;
use super::{BadDatabaseUrl, PgPool, PostgresUrl, StoreResult, idle, read_only, session};

/// How long a caller waits for a free connection before the database counts as down.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

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
/// one at least, for the hot path; with several hosts one more, which watches for the primary. Does not
/// wait for the server: the first caller that needs it finds out.
///
/// # Errors
/// When a file that `url` names can't be used any more.
pub fn open_postgres(
    url: &PostgresUrl,
    application: &str,
    max_connections: u32,
) -> Result<Postgres, BadDatabaseUrl> {
    let Servers { hosts, must_write } = url.servers()?;
    let first =
        hosts.first().expect("a URL has a host, if an empty one").clone().application_name(application);
    let searches = (max_connections / 2).max(1);
    let rest = max_connections.saturating_sub(searches).max(1);
    let pool = |max_connections| {
        PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(idle::serves)
    };
    let planned =
        beginning_with(session::PLANNED, must_write, pool(searches)).connect_lazy_with(first.clone());
    let steady = beginning_with(session::STEADY, must_write, pool(rest)).connect_lazy_with(first);
    if hosts.len() > 1 {
        let pools = [planned.clone(), steady.clone()];
        tokio::spawn(Follower::new(Servers { hosts, must_write }, pools).run());
    }
    Ok(Postgres { planned: planned.into(), steady: steady.into() })
}

impl Postgres {
    /// What was opened on these connections; where that failed they are closed, and nothing follows
    /// their primary any longer.
    pub async fn kept_by<T, E>(self, opened: Result<T, E>) -> Result<T, E> {
        if opened.is_err() {
            self.planned.close().await;
            self.steady.close().await;
        }
        opened
    }
}

/// Whether the server behind `pool` takes writes, for readiness.
pub async fn takes_writes(pool: &PgPool) -> StoreResult<()> {
    let asked = sqlx::query_scalar("SELECT current_setting('transaction_read_only')");
    let setting: String = asked.fetch_one(pool).await?;
    if setting == "on" { Err(read_only().into()) } else { Ok(()) }
}

/// The same pool, each of whose sessions begins with our settings and these of the planner.
fn beginning_with(planner: &[(&str, &str)], must_write: bool, pool: PgPoolOptions) -> PgPoolOptions {
    let beginning: Arc<str> = session::beginning(planner).into();
    pool.after_connect(move |connection, _| {
        let beginning = beginning.clone();
        Box::pin(async move { session::begin(connection, &beginning, must_write).await })
    })
}

/// A pool as it comes, as tests open them, and beside it one for the hot path.
impl From<sqlx::PgPool> for Postgres {
    fn from(planned: sqlx::PgPool) -> Self {
        let options = PgPoolOptions::new().max_connections(planned.options().get_max_connections());
        let steady = beginning_with(session::STEADY, false, options)
            .connect_lazy_with(planned.connect_options().as_ref().clone());
        Self { planned: planned.into(), steady: steady.into() }
    }
}
