//! What a notifier is about, without databases, HTTP, queues or clocks.

pub mod ack;
pub mod attempt;
pub mod audit;
pub mod delivery;
pub mod directory;
pub mod endpoint;
pub mod event;
pub mod lease;
pub mod notification;
pub mod pattern;
pub mod replay;
pub mod schedule;
pub mod signing;
pub mod subscription;
pub mod subscription_audit;
pub mod webhook_url;

pub use ack::AckRule;
pub use attempt::{Attempt, Exchange, FailureClass, Outcome, Verdict};
pub use audit::Audit;
pub use delivery::{Delivery, Message};
pub use directory::Directory;
pub use endpoint::{Endpoint, RequestTimeout, SigningSecret};
pub use event::NewEvent;
pub use lease::Lease;
pub use notification::{Notification, NotificationId, NotificationState};
pub use pattern::EventPattern;
pub use replay::{Replay, ReplayFilter};
pub use schedule::Schedule;
pub use signing::Signing;
pub use subscription::{Subscription, SubscriptionId, SubscriptionState};
pub use subscription_audit::{SubscriptionAction, SubscriptionAudit};
