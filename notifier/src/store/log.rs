//! What both stores decide alike about the notification log.

use super::NotificationFilter;
use crate::domain::Notification;
use crate::domain::notification::{Refused, StateName};

/// A notification goes out again unless its subscription is gone or its state refuses.
pub(super) fn may_resend(notification: &Notification, deleted: bool) -> Result<(), Refused> {
    if deleted { Err(Refused::SubscriptionDeleted) } else { notification.state.resend() }
}

/// The time that orders the list: the same instant in both tables, taken from the one whose index
/// serves the filter.
pub(super) fn time_column(filter: &NotificationFilter) -> &'static str {
    let undelivered = filter.state.is_some_and(|state| state != StateName::Delivered);
    let by_notification = filter.subscription.is_some() || filter.owner.is_some() || undelivered;
    if by_notification { "n.created_at" } else { "e.received_at" }
}
