//! Traces: the W3C context that travels with an event, and spans on their way to an OTLP collector.

mod context;
mod export;
mod settings;
mod span;

pub use context::TraceContext;
pub use export::{NoExporter, Posting, Spans};
pub use settings::{OtlpEndpoint, SampleRatio, TraceSettings};
pub use span::{Kind, Span};
