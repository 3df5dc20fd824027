//! What every session with Postgres begins with, whatever an administrator has made the default of
//! the server, the database or the role. One statement: it goes with the first round trip.

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Executor};

/// What the statements rely on.
const RELIED_ON: [(&str, &str); 11] = [
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("enable_partition_pruning", "on"),
    ("jit", "off"), // no statement of ours is worth compiling
];

/// Limits for what its program has given up: it closes the connection, but the server goes on until it
/// notices. It looks for its client every 5 s (`PostgreSQL` 14 on Linux); where that says nothing, as in a
/// network that lost the connection, a wait for a lock ends a little after the 20 s that a call may take, and
/// a statement a little after the 5 min of upkeep. A transaction that its program has left alone holds
/// locks, so it is ended. Other limits of the server would end reports that are well.
const LIMITS: [(&str, &str); 6] = [
    (CLIENT_CHECK, "5s"),
    ("lock_timeout", "22s"),
    ("statement_timeout", "310s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("idle_session_timeout", "0"),
    ("transaction_timeout", "0"),
];

/// Setting it is an error on servers that can't look.
const CLIENT_CHECK: &str = "client_connection_check_interval";

/// Ends the limits of a session that may take as long as it takes, unless the URL sets them.
const LIFT: &str = "
    SELECT set_config(name, '0', FALSE) FROM pg_settings
    WHERE name IN ('lock_timeout', 'statement_timeout') AND source <> 'client'";

/// Plans are made for the values at hand. A plan kept from when a table was empty would read it from
/// end to end for ever after.
pub(super) const PLANNED: &[(&str, &str)] = &[("plan_cache_mode", "force_custom_plan")];

/// A plan is made once and kept, and can only be the one that stays right however tables grow: from
/// each value by an index to its row.
pub(super) const STEADY: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_indexscan", "on"),
    ("enable_nestloop", "on"),
];

/// The statement that begins a session; it answers whether the session is read-only.
///
/// A limit that `options` of the URL sets stays (`source` is `client`). `synchronous_commit = off`
/// would lose what was answered as committed; the other levels say how many servers must have it,
/// which is the administrator's to decide. Settings that the server's version lacks are passed over.
/// `default_transaction_read_only` is not touched: that is how a server says that it is not to be
/// written to.
pub(super) fn beginning(planner: &[(&str, &str)]) -> String {
    let pinned = RELIED_ON.iter().chain(planner).map(|(name, value)| row(name, value, false, None));
    let limits = LIMITS.iter().map(|(name, value)| row(name, value, true, None));
    let rows: Vec<String> =
        pinned.chain(limits).chain([row("synchronous_commit", "on", true, Some("off"))]).collect();
    format!(
        "SELECT set_config(s.name, pinned.value, FALSE)
         FROM (VALUES {}) AS pinned (name, value, url_wins, instead_of) JOIN pg_settings s USING (name)
         WHERE NOT (pinned.url_wins AND s.source = 'client')
           AND (pinned.instead_of IS NULL OR pinned.instead_of = s.setting)
           AND (s.name <> '{CLIENT_CHECK}' OR version() LIKE '%linux%');
         SELECT current_setting('transaction_read_only')",
        rows.join(", ")
    )
}

fn row(name: &str, value: &str, url_wins: bool, instead_of: Option<&str>) -> String {
    let instead_of = instead_of.map_or("NULL".to_owned(), |setting| format!("'{setting}'"));
    format!("('{name}', '{value}', {url_wins}, {instead_of})")
}

/// Begins a session. Where it `must_write`, one that is read-only is refused.
pub(super) async fn begin(
    connection: &mut PgConnection,
    beginning: &str,
    must_write: bool,
) -> Result<(), sqlx::Error> {
    let rows = connection.fetch_all(AssertSqlSafe(beginning)).await?;
    let read_only: &str = rows.last().map(|row: &PgRow| row.try_get(0)).transpose()?.unwrap_or_default();
    if must_write && read_only == "on" { Err(super::read_only()) } else { Ok(()) }
}

/// Lets the statements and the waits for locks of a session take as long as they take.
pub(super) async fn lift_limits(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute(LIFT).await.map(drop)
}
