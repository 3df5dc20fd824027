//! Who did what to whom, when and why.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What a person can do that is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A notification was made due again at once.
    Resend,
    /// A notification was given up.
    Cancel,
    /// Many notifications were resent; the reason names the replay.
    Replay,
    /// Many notifications were given up; the reason names the cancellation.
    Cancellation,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Resend, Self::Cancel, Self::Replay, Self::Cancellation];

    /// The action as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resend => "resend",
            Self::Cancel => "cancel",
            Self::Replay => "replay",
            Self::Cancellation => "cancellation",
        }
    }

    /// Reads what [`Action::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// One entry of a notification's audit trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The entry's own id.
    pub id: Uuid,
    /// What was done.
    pub action: Action,
    /// Who did it: `operator`, `operator:<name>` or `merchant:<name>`.
    pub actor: String,
    /// Why, as they said.
    pub reason: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}
