//! What operators are told of results, the same in both databases.

use std::collections::HashMap;

use uuid::Uuid;

use crate::domain::attempt::{AttemptResult, Verdict};
use crate::domain::operator_event::{Concerned, is_for_operators};
use crate::domain::{Attempt, NotificationId, OperatorEvent, SubscriptionId};

/// The notifications whose ladder ended with one of these results, each with its last attempt.
pub(super) fn exhausted<'a>(counted: &[&'a AttemptResult]) -> HashMap<Uuid, &'a Attempt> {
    let ended = counted.iter().filter(|result| result.verdict == Verdict::Exhausted);
    ended.map(|result| (result.notification.0, &result.attempt)).collect()
}

/// What is to be told of an exhausted notification.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct ExhaustedRow {
    id: Uuid,
    subscription_id: Uuid,
    name: String,
    merchant: Option<String>,
    event_id: String,
    event_type: String,
    subject: Option<String>,
}

impl ExhaustedRow {
    /// The event; none of a notification that was for operators itself, which would go on for ever.
    pub(super) fn event(self, ended: &HashMap<Uuid, &Attempt>) -> Option<OperatorEvent> {
        let attempt = ended.get(&self.id).filter(|_| !is_for_operators(&self.event_type))?;
        let id = SubscriptionId(self.subscription_id);
        Some(OperatorEvent::NotificationExhausted {
            subscription: Concerned { id, name: self.name, merchant: self.merchant },
            notification: NotificationId(self.id),
            event_id: self.event_id,
            event_type: self.event_type,
            subject: self.subject,
            attempts: attempt.number,
            failure_class: attempt.outcome.failure_class(),
        })
    }
}
