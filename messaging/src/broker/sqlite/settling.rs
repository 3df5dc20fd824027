//! What becomes of the messages that a consumer holds.

use runtime::Ids;
use runtime::duration::HumanDuration;
use serde_json::{Value, json};
use uuid::Uuid;

use super::store::Store;
use crate::broker::{BrokerError, Settlement};

/// Settlements of one consumer, by what happens to the messages.
#[derive(Default)]
pub(super) struct Settled {
    pub acked: Vec<i64>,
    pub requeued: Vec<i64>,
    pub retried: Vec<(i64, HumanDuration, String)>,
    pub dead: Vec<(i64, Uuid, String)>,
}

impl Settled {
    /// Sorts settlements by tag; what is given up gets an id.
    pub(super) fn sort(settlements: Vec<(u64, Settlement)>, ids: &Ids) -> Self {
        let mut settled = Self::default();
        for (tag, settlement) in settlements {
            let id = i64::try_from(tag).unwrap_or_default();
            match settlement {
                Settlement::Ack => settled.acked.push(id),
                Settlement::Requeue => settled.requeued.push(id),
                Settlement::Retry { step, reason } => settled.retried.push((id, step, reason)),
                Settlement::DeadLetter { reason } => settled.dead.push((id, ids.next(), reason)),
            }
        }
        settled
    }
}

impl Store {
    /// Settles messages that `consumer` holds; answers how many it did hold.
    pub(super) async fn settle(&self, consumer: Uuid, settled: &Settled) -> Result<u64, BrokerError> {
        let now = self.now();
        let retried: Vec<_> = settled.retried.iter().map(|retry| retry_as_json(retry, now)).collect();
        let dead: Vec<_> =
            settled.dead.iter().map(|(id, of, reason)| json!([id, of.simple(), now, reason])).collect();
        let mut transaction = self.begin().await?;
        let mut held = 0;
        for (statement, list) in [
            (
                "DELETE FROM messages
                 WHERE id IN (SELECT value FROM json_each(?2)) AND consumer = ?1",
                json!(settled.acked),
            ),
            (
                "UPDATE messages SET consumer = NULL
                 WHERE id IN (SELECT value FROM json_each(?2)) AND consumer = ?1",
                json!(settled.requeued),
            ),
            (
                "UPDATE messages
                 SET queue = queue || '.retry.' || retry.step, returns_to = queue, due_at = retry.due_at,
                     consumer = NULL, handed_out = 0, attempts = attempts + 1, reason = retry.reason
                 FROM (SELECT value ->> 0 AS id, value ->> 1 AS step, value ->> 2 AS due_at,
                              value ->> 3 AS reason FROM json_each(?2)) AS retry
                 WHERE messages.id = retry.id AND consumer = ?1",
                json!(retried),
            ),
            (
                "UPDATE messages
                 SET queue = queue || '.dead', consumer = NULL, handed_out = 0, attempts = attempts + 1,
                     reason = dead.reason, dead_letter_id = unhex(dead.of), dead_lettered_at = dead.now
                 FROM (SELECT value ->> 0 AS id, value ->> 1 AS of, value ->> 2 AS now,
                              value ->> 3 AS reason FROM json_each(?2)) AS dead
                 WHERE messages.id = dead.id AND consumer = ?1",
                json!(dead),
            ),
        ] {
            if list.as_array().is_some_and(|list| !list.is_empty()) {
                let done = sqlx::query(statement).bind(consumer).bind(list.to_string());
                held += done.execute(&mut *transaction).await?.rows_affected();
            }
        }
        transaction.commit().await?;
        Ok(held)
    }
}

/// Message, step, due time, reason.
fn retry_as_json((id, step, reason): &(i64, HumanDuration, String), now: i64) -> Value {
    let wait = i64::try_from(step.0.as_micros()).unwrap_or(i64::MAX);
    json!([id, step, now.saturating_add(wait), reason])
}
