//! Something that took its time, as a collector is told of it.

use chrono::{DateTime, Utc};
use opentelemetry::Value;

use super::TraceContext;

/// What a span's process did with the others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It handed something to a queue.
    Producer,
    /// It took something from a queue.
    Consumer,
    /// It called somebody and waited for the answer.
    Client,
}

/// A finished span. Attributes never hold a secret, a payload or a URL beyond its host.
#[derive(Debug, Clone)]
pub struct Span {
    /// What was done.
    pub name: &'static str,
    /// See [`Kind`].
    pub kind: Kind,
    /// Its own place in the trace.
    pub context: TraceContext,
    /// What it lies below; `None` for the first of a trace.
    pub parent: Option<TraceContext>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// What it was about.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, in a word that statistics can count; `None` where it did not.
    pub error: Option<&'static str>,
}
