//! What operators are told, written in the transaction that causes it (law 1).

use chrono::{DateTime, Utc};
use messaging::Event;
use messaging::outbox::sqlite::insert;
use runtime::database::StoreResult;
use sqlx::SqliteConnection;

use crate::domain::OperatorEvent;
use crate::domain::attempt::AttemptResult;
use crate::store::operator_events::{ExhaustedRow, exhausted};

/// Tells `events`, which happen at `now`.
pub(super) async fn tell(
    connection: &mut SqliteConnection,
    events: &[OperatorEvent],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let events: Vec<Event> = events.iter().map(|event| event.event(now)).collect();
    insert(connection, &events, None, now).await
}

/// What is to be told of the notifications that counted results have ended.
pub(super) async fn of_exhausted(
    connection: &mut SqliteConnection,
    counted: &[&AttemptResult],
) -> StoreResult<Vec<OperatorEvent>> {
    let ended = exhausted(counted);
    let mut told = Vec::new();
    for notification in ended.keys() {
        let row: ExhaustedRow = sqlx::query_as(
            "SELECT n.id, n.subscription_id, s.name, s.merchant, e.id AS event_id, e.type AS event_type,
                 e.subject
             FROM notifications n JOIN events e ON e.key = n.event_key
             JOIN subscriptions s ON s.id = n.subscription_id WHERE n.id = ?1",
        )
        .bind(notification)
        .fetch_one(&mut *connection)
        .await?;
        told.extend(row.event(&ended));
    }
    Ok(told)
}
