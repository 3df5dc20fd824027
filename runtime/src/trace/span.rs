//! Something that took its time, as a collector is told of it.

use chrono::{DateTime, Utc};
use opentelemetry::trace::{SpanContext, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

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

impl From<Span> for SpanData {
    fn from(span: Span) -> Self {
        let context = &span.context;
        let flags = if context.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let attributes = span.attributes.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let error = span.error.map(|class| KeyValue::new("error.type", class));
        Self {
            span_context: SpanContext::new(
                context.trace_id().into(),
                context.span_id().into(),
                flags,
                false,
                TraceState::NONE,
            ),
            parent_span_id: span.parent.map_or(0, |parent| parent.span_id()).into(),
            parent_span_is_remote: span.parent.is_some(),
            span_kind: match span.kind {
                Kind::Producer => SpanKind::Producer,
                Kind::Consumer => SpanKind::Consumer,
                Kind::Client => SpanKind::Client,
            },
            name: span.name.into(),
            start_time: span.started_at.into(),
            end_time: span.ended_at.max(span.started_at).into(),
            attributes: attributes.chain(error).collect(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder("ringback").build(),
        }
    }
}
