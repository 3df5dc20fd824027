//! What a notification that is not final waits for.

/// What a notification waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The next step of its ladder.
    Retry,
    /// The attempt that shows whether its endpoint can be reached again.
    Probe,
    /// The pause that its receiver asked for.
    Receiver,
    /// The `rate_limit` of its subscription.
    RateLimit,
    /// The end of attempts that are under way.
    Concurrency,
    /// Its subscription, which is paused.
    Paused,
    /// Its subscription, which is disabled.
    Disabled,
}

impl WaitsFor {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Retry,
        Self::Probe,
        Self::Receiver,
        Self::RateLimit,
        Self::Concurrency,
        Self::Paused,
        Self::Disabled,
    ];

    /// The word as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Probe => "probe",
            Self::Receiver => "receiver",
            Self::RateLimit => "rate_limit",
            Self::Concurrency => "concurrency",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}
