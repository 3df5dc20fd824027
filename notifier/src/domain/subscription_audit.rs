//! Who did what to a subscription, when and why.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::SubscriptionState;
use super::subscription::Patch;

/// Who did what nobody asked for.
const NOTIFIER: &str = "notifier";

/// What can be done to a subscription; all of it is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionAction {
    /// It was made.
    Create,
    /// Something was changed, its state aside.
    Change,
    /// It was made active.
    Activate,
    /// It was paused.
    Pause,
    /// It was disabled.
    Disable,
    /// It was given another key to sign with.
    RotateSecret,
    /// It was deleted.
    Delete,
}

impl SubscriptionAction {
    /// Every action.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Change,
        Self::Activate,
        Self::Pause,
        Self::Disable,
        Self::RotateSecret,
        Self::Delete,
    ];

    /// The action as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Activate => "activate",
            Self::Pause => "pause",
            Self::Disable => "disable",
            Self::RotateSecret => "rotate_secret",
            Self::Delete => "delete",
        }
    }

    /// Reads what [`SubscriptionAction::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// What `patch` does: a change of state is called by its name, whatever else it changes.
    pub fn of(patch: &Patch) -> Self {
        match patch.state {
            None => Self::Change,
            Some(SubscriptionState::Active) => Self::Activate,
            Some(SubscriptionState::Paused) => Self::Pause,
            Some(SubscriptionState::Disabled { .. }) => Self::Disable,
        }
    }
}

/// One entry of a subscription's audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionAudit {
    /// The entry's own id.
    pub id: Uuid,
    /// What was done.
    pub action: SubscriptionAction,
    /// The fields that a change named; never their values, which can hold secrets.
    pub changed: Vec<String>,
    /// Who did it: `operator`, `operator:<name>`, `merchant:<name>`, or `notifier` by itself.
    pub actor: String,
    /// Why, as they said.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

impl SubscriptionAudit {
    /// What `actor` did at `at`, for no given reason.
    pub fn new(id: Uuid, action: SubscriptionAction, actor: impl Into<String>, at: DateTime<Utc>) -> Self {
        Self { id, action, changed: Vec::new(), actor: actor.into(), reason: None, at }
    }

    /// The notifier disables a subscription at `at` because of `reason`.
    pub fn disabled_by_itself(id: Uuid, reason: String, at: DateTime<Utc>) -> Self {
        let changed = vec!["state".to_owned()];
        Self { changed, reason: Some(reason), ..Self::new(id, SubscriptionAction::Disable, NOTIFIER, at) }
    }
}
