//! Connections that were idle.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Error};
use tokio::time::timeout;

use super::trust;

/// After this time without use a connection is tested before it serves again: the server or a
/// firewall may have ended it. Under load connections are never idle for so long, and none is tested.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// How long the test may take. A connection that fails it is replaced within the same wait.
const TEST_LIMIT: Duration = Duration::from_secs(1);

/// Whether `connection` still serves, for `before_acquire`.
#[expect(clippy::needless_pass_by_value, reason = "the pool hands it over so")]
pub(super) fn serves(
    connection: &mut PgConnection,
    metadata: PoolConnectionMetadata,
) -> BoxFuture<'_, Result<bool, Error>> {
    Box::pin(async move {
        let fresh = metadata.idle_for < TESTED_AFTER;
        Ok(trust::covers(metadata.age) && (fresh || answers(connection, metadata.idle_for).await))
    })
}

/// Whether `connection` answers in time.
pub(super) fn answers(connection: &mut PgConnection, idle_for: Duration) -> BoxFuture<'_, bool> {
    Box::pin(async move {
        let answered = matches!(timeout(TEST_LIMIT, connection.ping()).await, Ok(Ok(())));
        if !answered {
            tracing::debug!(?idle_for, "database.idle_connection_replaced");
        }
        answered
    })
}
